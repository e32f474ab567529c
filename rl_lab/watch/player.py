"""An agent that plays one game after another, and reports each step with the agent's input and output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.agent import Agent
from agents.core.frame_stack import stack_frames
from agents.core.types import Carry, PolicyOutput, ValueScaling
from envs.stream import Row
from rl_lab.analysis.saliency import Heatmap, SaliencyMethod, saliency_map
from rl_lab.experiment.config import Config
from rl_lab.system.device import on_device
from rl_lab.watch.images import RgbImage
from rl_lab.watch.rendered_env import RenderedEnv

CPU = torch.device("cpu")
CURVE_LENGTH = 300  # rows of the game in the curves of values and returns


@dataclass(frozen=True)
class PlayerStep:
    """One row of a game: the screens, the agent's input and output, and the action."""

    screens: list[RgbImage]  # the screens since the previous step, oldest first; the last one shows this row
    stacked_obs: NDArray[np.generic]  # [k, *frame]: the stacked observations, the input of the network
    scores: NDArray[np.float32]  # [A]: Q(s, .), or the probabilities pi(. | s) if `is_policy`
    is_policy: bool
    action: int  # the action that is taken
    greedy_action: int  # the action that the agent takes without exploration
    distribution: NDArray[np.float32] | None  # [A, atoms]: probabilities of returns, from distributional agents
    state_norm: float | None  # the norm of the recurrent state, from recurrent agents
    saliency: Heatmap | None  # [H, W] of the newest observation
    values: NDArray[np.float32]  # V of the latest rows of this game, this row included
    returns: NDArray[np.float32]  # the discounted return of each of these rows, as far as its rewards are known
    score: float  # sum of the raw rewards of this game so far
    step_number: int  # agent steps of this game so far
    game_number: int  # counted from 1
    is_last: bool  # this row is the last one of the game


class Player:
    """Play the games of a seed. Iterating over a player yields the steps of its games.

    The games are the ones that an evaluation with one environment and the same seed plays (`eval --episodes 1`).

    Attributes:
        saliency_method: The method for the heatmaps of the next steps; may be changed between two steps.
        restart: Set to True between two steps to begin again with the first game of the seed.
        repeat_step: Set to True between two steps to receive the same row again, with the agent's present output.
    """

    def __init__(
        self,
        agent: Agent,
        config: Config,
        env: RenderedEnv,
        *,
        epsilon: float,
        seed: int,
        saliency_method: SaliencyMethod = "off",
        device: torch.device = CPU,
    ) -> None:
        self.agent = agent
        self.env = env
        self.epsilon = epsilon
        self.seed = seed
        self.device = device
        self.saliency_method: SaliencyMethod = saliency_method
        self.restart = False
        self.repeat_step = False
        self.value_scaling = agent.value_scaling
        self.frame_stack = getattr(config.settings, "frame_stack", 1)

    def __iter__(self) -> Iterator[PlayerStep]:
        while True:
            self.restart = False
            yield from self._play()
            if not self.restart:
                return

    def _play(self) -> Iterator[PlayerStep]:
        """Yield the steps from the first game on, until `restart` is set."""
        rng = np.random.default_rng(self.seed)
        row, screens = self.env.reset(self.seed)
        carry: Carry = self.agent.initial_carry(1)
        history = self._empty_history()
        game = _GameRecord(1, self.value_scaling)
        while True:
            obs = on_device(row.obs, self.device)
            is_first = on_device(row.is_first, self.device)
            stack, next_history = stack_frames(obs, is_first, history)
            random_action = self._draw_random_action(rng)
            while True:  # yield the row once, and again as often as `repeat_step` is set
                self.repeat_step = False
                heatmap = saliency_map(self.saliency_method, self.agent, obs, is_first, carry)
                with torch.no_grad():
                    output, next_carry = self.agent.policy_output(obs, is_first, carry)
                player_step = _make_step(row, screens, stack, output, random_action, heatmap, game)
                yield player_step
                if not self.repeat_step:
                    break
                screens = screens[-1:]  # a repeated step shows only the screen of the row
            if self.restart:
                return
            row, screens = self.env.step(player_step.action)
            if player_step.is_last:
                game = _GameRecord(game.number + 1, self.value_scaling)
            else:
                game.add(float(output.value[0]), row)
            history = next_history
            carry = next_carry

    def _empty_history(self) -> Tensor:
        """Return the observations before the first row, for the frame stack: zeros [1, k - 1, *frame]."""
        env_spec = self.env.env_spec
        shape = (1, self.frame_stack - 1, *env_spec.frame)
        return torch.zeros(shape, dtype=getattr(torch, env_spec.dtype), device=self.device)

    def _draw_random_action(self, rng: np.random.Generator) -> int | None:
        """Return a random action with probability epsilon, otherwise None.

        An action is drawn in both cases, as in an evaluation, so that both play the same games.
        """
        is_random = rng.random(1)[0] < self.epsilon
        action = int(rng.integers(self.env.env_spec.num_actions, size=1)[0])
        return action if is_random else None


class _GameRecord:
    """The score of one game so far, and the values and rewards of its rows."""

    def __init__(self, number: int, value_scaling: ValueScaling) -> None:
        self.number = number
        self.gamma = value_scaling.gamma
        self.reward_limit = value_scaling.reward_clip or np.inf
        self.score = 0.0
        self.num_steps = 0
        self.values: list[float] = []
        self.rewards: list[float] = []  # as the agent learns from them: clipped
        self.terminated: list[bool] = []

    def add(self, value: float, next_row: Row) -> None:
        """Add the value V of a row, and the reward that arrived with the next row."""
        reward = next_row.reward[0]
        self.values.append(value)
        self.rewards.append(float(reward.clip(-self.reward_limit, self.reward_limit)))
        self.terminated.append(bool(next_row.terminated[0]))
        self.score += float(reward)
        self.num_steps += 1

    def latest_values(self, value: float) -> NDArray[np.float32]:
        """Return V of the latest rows, f32[T]. The last entry is `value`, V of the present row."""
        return np.array([*self.values[-CURVE_LENGTH:], value], np.float32)

    def latest_returns(self, value: float) -> NDArray[np.float32]:
        """Return the discounted returns of the latest rows, f32[T].

        The return of row t is r_t + gamma r_t+1 + gamma^2 r_t+2 + ... up to the present row. `value`, V of the present
        row, stands for the rewards after it.
        """
        latest = slice(-CURVE_LENGTH, None)
        discounted_return = value
        returns = [value]
        for reward, terminated in zip(self.rewards[latest][::-1], self.terminated[latest][::-1], strict=True):
            following = 0.0 if terminated else discounted_return
            discounted_return = reward + self.gamma * following
            returns.append(discounted_return)
        return np.array(returns[::-1], np.float32)


def _make_step(
    row: Row,
    screens: list[RgbImage],
    stack: Tensor,
    output: PolicyOutput,
    random_action: int | None,
    heatmap: Heatmap | None,
    game: _GameRecord,
) -> PlayerStep:
    """Return the step of a row. The agent takes its greedy action if `random_action` is None."""
    value = float(output.value[0])
    greedy_action = int(output.action[0])
    distribution = output.distribution
    state_norm = output.state_norm
    return PlayerStep(
        screens=screens,
        stacked_obs=stack[0].cpu().numpy(),
        scores=output.scores[0].cpu().numpy(),
        is_policy=output.is_policy,
        action=greedy_action if random_action is None else random_action,
        greedy_action=greedy_action,
        distribution=None if distribution is None else distribution[0].cpu().numpy(),
        state_norm=None if state_norm is None else float(state_norm[0]),
        saliency=heatmap,
        values=game.latest_values(value),
        returns=game.latest_returns(value),
        score=game.score,
        step_number=game.num_steps,
        game_number=game.number,
        is_last=bool(row.is_last[0]),
    )
