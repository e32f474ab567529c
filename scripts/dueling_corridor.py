"""Policy evaluation by single-stream and dueling networks on a corridor: Wang et al. 2015, figure 3.

    python scripts/dueling_corridor.py docs/dueling-corridor.png [--seeds 10] [--updates 8000]

Two vertical corridors of 10 states joined by a horizontal one of 50; 5, 10 or 20 actions, of which all beyond the four directions
do nothing. The policy is fixed: the optimal action, and with probability .001 a random one. Both networks have 50 hidden units a
layer (the dueling one 25 in each stream) and learn by expected SARSA, TD(0), from the same transitions; the error is the sum over
states and actions of (Q - Q^pi)^2, with Q^pi by dynamic programming. Prints the median and quartiles over the seeds.
"""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pictures import png
from torch import nn

from agents.core.targets import td_target
from agents.nn.heads import DuelingHead
from agents.nn.init import initialize_weights

VERTICAL, HORIZONTAL = 10, 50
GAMMA, EPSILON = 0.99, 0.001


class Corridor:
    """The states as cells, from the bottom of the left corridor to the bottom of the right one; reward 1 for arriving there."""

    MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))

    def __init__(self, actions: int) -> None:
        left = [(VERTICAL - row, 0) for row in range(VERTICAL)]
        middle = [(0, column) for column in range(HORIZONTAL)]
        right = [(row + 1, HORIZONTAL - 1) for row in range(VERTICAL)]
        self.cells = [*left, *middle, *right]
        place = {cell: i for i, cell in enumerate(self.cells)}
        self.goal, n = len(self.cells) - 1, len(self.cells)
        self.next = np.tile(np.arange(n)[:, None], (1, actions))
        for i, (row, column) in enumerate(self.cells):
            for action, (down, right_) in enumerate(self.MOVES):
                self.next[i, action] = place.get((row + down, column + right_), i)
        self.reward = (self.next == self.goal).astype(np.float64)
        self.best = np.array([next(a for a in range(4) if self.next[i, a] == i + 1) for i in range(n - 1)] + [0])
        self.policy = np.full((n, actions), EPSILON / actions)
        self.policy[np.arange(n), self.best] += 1 - EPSILON

    def exact(self) -> NDArray[np.float64]:
        """Q^pi [states, actions]: the fixed point of r + gamma sum_a pi(a | s') Q(s', a); nothing comes after the goal."""
        q = np.zeros(self.next.shape)
        while True:
            v = (self.policy * q).sum(1)
            v[self.goal] = 0.0
            new = self.reward + GAMMA * v[self.next]
            new[self.goal] = 0.0
            if np.abs(new - q).max() < 1e-12:
                return new
            q = new

    def features(self) -> torch.Tensor:
        """A cell as two one-hot vectors, its row and its column."""
        rows, columns = torch.tensor(self.cells).T
        return torch.cat([F.one_hot(rows, VERTICAL + 1), F.one_hot(columns, HORIZONTAL)], 1).float()


class Network(nn.Module):
    """Features -> Q: three layers, the last two in one stream or in two."""

    def __init__(self, inputs: int, actions: int, *, dueling: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU())
        self.head = DuelingHead(50, actions) if dueling else nn.Linear(50, actions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


def errors(world: Corridor, *, dueling: bool, seed: int, updates: int, every: int) -> list[float]:
    """The squared error every so many updates, of one network that walks the corridor and learns from each step of 32 walkers."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    exact, features = torch.from_numpy(world.exact()), world.features()
    states, actions = world.next.shape
    policy = torch.from_numpy(world.policy).float()
    network = initialize_weights(Network(features.shape[1], actions, dueling=dueling), "orthogonal")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    place, found = rng.integers(0, states - 1, 32), []
    for t in range(updates + 1):
        if t % every == 0:
            with torch.no_grad():
                found.append(float(((network(features) - exact)[:-1] ** 2).sum()))
        action = np.where(rng.random(32) < EPSILON, rng.integers(0, actions, 32), world.best[place])
        then = world.next[place, action]
        with torch.no_grad():
            value = (policy[then] * network(features[then])).sum(1)
            alive = torch.from_numpy(then != world.goal).float()
            y = td_target(torch.from_numpy(world.reward[place, action]).float(), GAMMA * alive, value)
        q = network(features[place]).gather(1, torch.from_numpy(action)[:, None]).squeeze(1)
        optimizer.zero_grad()
        F.mse_loss(q, y).backward()
        optimizer.step()
        place = np.where(then == world.goal, 0, then)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=png, help="PNG to write")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=8000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    every = args.updates // 40
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), sharey=True, constrained_layout=True)
    for axis, actions in zip(axes, (5, 10, 20), strict=True):
        world = Corridor(actions)
        for name, dueling in (("single stream", False), ("dueling", True)):
            curves = np.array(
                [
                    errors(world, dueling=dueling, seed=seed, updates=args.updates, every=every)
                    for seed in range(args.seeds)
                ]
            )
            low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
            x = np.arange(len(middle)) * every
            (line,) = axis.semilogy(x, middle, label=name)
            axis.fill_between(x, low, high, color=line.get_color(), alpha=0.25)
            half, end = len(x) // 2, len(x) - 1
            for i in (half, end):
                print(f"{actions} actions, {name}, {x[i]} updates: ", end="")
                print(f"{middle[i]:.4f} ({low[i]:.4f} to {high[i]:.4f}), {args.seeds} seeds", flush=True)
        axis.set_title(f"{actions} actions")
        axis.set_xlabel("updates")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("squared error, summed over states and actions")
    axes[0].legend()
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
