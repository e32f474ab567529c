"""Policy evaluation with a single-stream and a dueling network on a corridor (Wang et al. 2015, section 4.1, figure 3).

    python scripts/dueling_corridor.py docs/dueling-corridor.png [--seeds 10] [--updates 8000]

Two vertical corridors of 10 states are joined by a horizontal corridor of 50 states. The agent walks from the lower
end of the left corridor to the lower end of the right one, where it receives a reward of 1. There are 5, 10 or 20
actions; all actions beyond the four directions have no effect. The policy pi takes the optimal action, and with
probability 0.001 a random one.

Both networks have layers of 50 hidden units (the dueling network 25 in each stream). They learn Q^pi from the same
transitions with Expected SARSA targets, y = r + gamma sum_a pi(a | s') Q(s', a). The error is

    sum_{s, a} (Q(s, a) - Q^pi(s, a))^2,

where Q^pi is computed by dynamic programming. The script prints its median and quartiles over the seeds.
"""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pictures import png
from torch import nn

from agents.core.targets import td_target
from agents.nn.heads import DuelingHead
from agents.nn.init import initialize_weights

VERTICAL = 10  # states of a vertical corridor
HORIZONTAL = 50  # states of the horizontal corridor
NUM_ACTIONS = (5, 10, 20)
GAMMA = 0.99
EPSILON = 0.001
WALKERS = 32  # the walkers make a step each per update: a batch of 32 transitions
HIDDEN = 50
NETWORKS = {"single stream": False, "dueling": True}  # name -> whether the network is dueling
MEASUREMENTS = 40  # of the error, during the updates
TOLERANCE = 1e-12  # of dynamic programming


class Corridor:
    """The environment and the policy.

    State i is the i-th cell on the way from the start to the goal. The optimal action leads from state i to i + 1.
    """

    MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # (rows, columns) of the four directions

    def __init__(self, num_actions: int) -> None:
        left = [(VERTICAL - row, 0) for row in range(VERTICAL)]
        middle = [(0, column) for column in range(HORIZONTAL)]
        right = [(row + 1, HORIZONTAL - 1) for row in range(VERTICAL)]
        self.cells = [*left, *middle, *right]
        num_states = len(self.cells)
        self.goal = num_states - 1
        self.next_state = self._transitions(num_actions)  # [states, actions]
        self.reward = (self.next_state == self.goal).astype(np.float64)  # [states, actions]
        self.optimal_action = np.array([*map(self._action_to_next_cell, range(num_states - 1)), 0])  # [states]
        self.policy = np.full((num_states, num_actions), EPSILON / num_actions)  # [states, actions]: pi(a | s)
        self.policy[np.arange(num_states), self.optimal_action] += 1 - EPSILON

    def _transitions(self, num_actions: int) -> NDArray[np.int64]:
        """Return the next state of each state and action. A move into a wall leaves the state unchanged."""
        states = np.arange(len(self.cells))
        next_state = np.tile(states[:, None], (1, num_actions))
        state_of_cell = {cell: state for state, cell in enumerate(self.cells)}
        for state, (row, column) in enumerate(self.cells):
            for action, (rows, columns) in enumerate(self.MOVES):
                next_state[state, action] = state_of_cell.get((row + rows, column + columns), state)
        return next_state

    def _action_to_next_cell(self, state: int) -> int:
        """Return the first action that leads to the next cell on the way."""
        return next(action for action in range(len(self.MOVES)) if self.next_state[state, action] == state + 1)

    def exact_q(self) -> NDArray[np.float64]:
        """Return Q^pi [states, actions], the fixed point of Q = r + gamma sum_a pi(a | s') Q(s', a).

        Q is 0 at the goal, because the episode ends there.
        """
        q = np.zeros(self.next_state.shape)
        while True:
            value = (self.policy * q).sum(1)
            value[self.goal] = 0.0
            new_q = self.reward + GAMMA * value[self.next_state]
            new_q[self.goal] = 0.0
            if np.abs(new_q - q).max() < TOLERANCE:
                return new_q
            q = new_q

    def features(self) -> torch.Tensor:
        """Return the features [states, F]: the row and the column of the cell as one-hot vectors."""
        rows, columns = torch.tensor(self.cells).T
        return torch.cat([F.one_hot(rows, VERTICAL + 1), F.one_hot(columns, HORIZONTAL)], 1).float()


class ValueNetwork(nn.Module):
    """Three layers, of which the last is one stream or two (dueling)."""

    def __init__(self, num_features: int, num_actions: int, *, dueling: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(num_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.head = DuelingHead(HIDDEN, num_actions) if dueling else nn.Linear(HIDDEN, num_actions)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return Q [B, actions] for features [B, F]."""
        return self.head(self.encoder(features))


def measure_errors(world: Corridor, *, dueling: bool, seed: int, updates: int, every: int) -> list[float]:
    """Train a network and return its squared error before the first update and after each `every` updates."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    exact_q = torch.from_numpy(world.exact_q())
    features = world.features()
    num_states, num_actions = world.next_state.shape
    policy = torch.from_numpy(world.policy).float()
    network = initialize_weights(ValueNetwork(features.shape[1], num_actions, dueling=dueling), "orthogonal")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    state = rng.integers(0, num_states - 1, WALKERS)
    errors = []
    for update in range(updates + 1):
        if update % every == 0:
            with torch.no_grad():
                errors.append(float(((network(features) - exact_q)[:-1] ** 2).sum()))
        is_random = rng.random(WALKERS) < EPSILON
        action = np.where(is_random, rng.integers(0, num_actions, WALKERS), world.optimal_action[state])
        next_state = world.next_state[state, action]
        with torch.no_grad():
            next_value = (policy[next_state] * network(features[next_state])).sum(1)
            discount = GAMMA * torch.from_numpy(next_state != world.goal).float()
            target = td_target(torch.from_numpy(world.reward[state, action]).float(), discount, next_value)
        q = network(features[state]).gather(1, torch.from_numpy(action)[:, None]).squeeze(1)
        optimizer.zero_grad()
        F.mse_loss(q, target).backward()
        optimizer.step()
        state = np.where(next_state == world.goal, 0, next_state)
    return errors


def plot_errors(axes: Axes, num_actions: int, *, seeds: int, updates: int) -> None:
    """Measure both networks with a number of actions, plot medians and quartiles, and print two of them."""
    world = Corridor(num_actions)
    every = updates // MEASUREMENTS
    for name, dueling in NETWORKS.items():
        curves = [
            measure_errors(world, dueling=dueling, seed=seed, updates=updates, every=every) for seed in range(seeds)
        ]
        low, median, high = np.quantile(np.array(curves), [0.25, 0.5, 0.75], axis=0)
        x = np.arange(len(median)) * every
        (line,) = axes.semilogy(x, median, label=name)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.25)
        for i in (len(x) // 2, len(x) - 1):
            print(f"{num_actions} actions, {name}, {x[i]} updates: ", end="")
            print(f"{median[i]:.4f} ({low[i]:.4f} to {high[i]:.4f}), {seeds} seeds", flush=True)
    axes.set_title(f"{num_actions} actions")
    axes.set_xlabel("updates")
    axes.grid(alpha=0.3)


def main() -> None:
    """Measure all numbers of actions and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG file to write")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--updates", type=int, default=8000, help="updates of each network")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figure, all_axes = plt.subplots(1, len(NUM_ACTIONS), figsize=(13, 4), sharey=True, constrained_layout=True)
    for axes, num_actions in zip(all_axes, NUM_ACTIONS, strict=True):
        plot_errors(axes, num_actions, seeds=args.seeds, updates=args.updates)
    all_axes[0].set_ylabel("squared error, summed over states and actions")
    all_axes[0].legend()
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
