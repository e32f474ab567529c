"""Play one game after another with an agent, and report each step with the agent's input and output.

A game is one episode. In the comments, k is the number of stacked observations, A the number of actions, and V(s_t) the
discounted return that the agent expects from row t on (`PolicyOutput.value`). If the agent learned from scaled or
clipped rewards (`ValueScaling`), the returns are sums of such rewards too, so that returns and V can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.action_masks import ILLEGAL
from agents.core.agent import Agent
from agents.core.frame_stack import stack_frames
from agents.core.types import Carry, PolicyOutput, ValueScaling
from envs.stream import Row, spread_seeds
from rl_lab.analysis.saliency import Heatmap, SaliencyMethod, saliency_map
from rl_lab.experiment.config import Config
from rl_lab.system.device import on_device
from rl_lab.training.evaluation import random_legal_actions, seed_unlike_training
from rl_lab.watch.images import RgbImage
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.vector_entries import vector_part

CPU = torch.device("cpu")
Action = int | NDArray[np.float32]
"""The number of a discrete action, or a continuous action f32[D] with entries in [-1, 1]."""

CURVE_LENGTH = 300  # rows before the present one in the curves, which have up to CURVE_LENGTH + 1 entries


@dataclass(frozen=True)
class PlayerStep:
    """One row of a game: the screens, the agent's input and output, and the action."""

    screens: list[RgbImage]  # images of the game since the previous step, oldest first; the last one shows this row
    stacked_obs: NDArray[np.generic]  # [k, *obs_shape]: the input of the network, oldest observation first
    action_scores: NDArray[np.float32]
    """[A]: Q(s, .), or the probabilities pi(. | s) if `is_policy`; with continuous actions [D], the greedy action. An
    action that is not allowed has the value -inf."""
    is_policy: bool  # True if the action scores are probabilities, or belong to continuous actions
    action: Action  # the action that is taken, greedy or random
    greedy_action: Action  # the action that the agent takes without exploration
    distribution: NDArray[np.float32] | None
    """[A, atoms]: the probability of each atom, that is of each possible return. None if the agent has none."""
    state_norm: float | None  # norm of the recurrent state; None if the agent is not recurrent
    obs_magnitudes: NDArray[np.float32]
    """[D]: the largest magnitude of each entry of `vector_part` in this game, up to this row."""
    saliency: Heatmap | None  # [H, W]: saliency of the newest observation; None if the method is "off"
    values: NDArray[np.float32]
    """[L]: V of the latest rows of this game, oldest first, with L <= CURVE_LENGTH + 1. The last entry is this row."""
    returns: NDArray[np.float32]
    """[L]: the discounted returns of the same rows, up to this row. V of this row replaces the rewards after it."""
    score: float  # sum of the raw rewards of this game before this row: neither clipped nor discounted
    step_number: int  # agent steps of this game before this row
    game_number: int  # counted from 1
    is_last: bool  # this row is the last one of the game; its action has no effect
    is_cut: bool = False  # the game was cut at this row, because it has reached the maximum number of steps
    action_std: NDArray[np.float32] | None = None
    """[D]: standard deviation of each entry of a continuous action, from stochastic policies."""

    @property
    def is_greedy(self) -> bool:
        """Return True if the action that is taken is the greedy one."""
        return np.array_equal(self.action, self.greedy_action)


class Player:
    """Play the games of a seed. Iterating over a player yields the steps of its games, and never ends.

    The first game is the one that `eval --episodes 1` plays, if weights, seed, epsilon and device are the same. Later
    games may differ, because an evaluation may reset its environment with a new seed. A player does so only after it
    has cut a game.

    The caller sets the attributes below after it has received a step and before it requests the next one.

    Attributes:
        saliency_method: The method for the heatmaps of the next steps.
        restart: True: the next step is the first one of the first game. The player then sets the attribute to False.
        repeat_step: True: the next step is the same row again, with the agent's output under its present weights. The
            player sets the attribute to False before every step. `restart` takes precedence over `repeat_step`.
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
        max_steps: int | None = None,
    ) -> None:
        """Prepare the first game.

        Args:
            agent: The agent.
            config: The configuration of the agent's run.
            env: The environment.
            epsilon: Probability of a random action.
            seed: Seed of the games and of random actions.
            saliency_method: The method for the heatmaps.
            device: Device of the agent.
            max_steps: Agent steps after which a game is cut. None is the run's setting `eval_max_steps`.
        """
        self.agent = agent
        self.env = env
        self.epsilon = epsilon
        self.seed = seed_unlike_training(seed, config.run.seed)
        self.device = device
        self.saliency_method: SaliencyMethod = saliency_method
        self.restart = False
        self.repeat_step = False
        self.frame_stack = getattr(config.settings, "frame_stack", 1)
        self.max_steps = max_steps or config.run.eval_max_steps

    def __iter__(self) -> Iterator[PlayerStep]:
        while True:
            self.restart = False
            yield from self._play_until_restart()

    def _play_until_restart(self) -> Iterator[PlayerStep]:
        """Yield the steps from the first game on, until `restart` is set."""
        rng = np.random.default_rng(self.seed)
        row, screens = self.env.reset(self.seed)
        carry: Carry = self.agent.initial_carry(1)
        # Only the agent can read its carry. So the player keeps a history too, to report the stacked observations.
        history = self._empty_history()
        game = _GameRecord(1)
        while True:
            obs = on_device(row.obs, self.device)
            is_first = on_device(row.is_first, self.device)
            game.add_obs(vector_part(self.env.env_spec, row.obs[0]))
            stack, next_history = stack_frames(obs, is_first, history)
            random_action = self._draw_random_action(rng, row)
            while True:  # yield the row once, and again as often as `repeat_step` is set
                self.repeat_step = False
                heatmap = saliency_map(
                    self.saliency_method, self.agent, obs, is_first, carry, self.env.env_spec.action_parts
                )
                with torch.no_grad():
                    output, next_carry = self.agent.policy_output(obs, is_first, carry)
                player_step = _make_step(row, screens, stack, output, random_action, heatmap, game, self.max_steps)
                yield player_step
                if self.restart:
                    return
                if not self.repeat_step:
                    break
                screens = screens[-1:]  # a repeated step shows only the screen of the row
            if player_step.is_cut:
                row, screens = self.env.reset(int(spread_seeds([self.seed, game.number], 1)[0]))
                carry = self.agent.initial_carry(1)
                history = self._empty_history()
                game = _GameRecord(game.number + 1)
                continue
            next_row, screens = self.env.step(player_step.action)
            if player_step.is_last:
                # The action of a last row has no effect: the reward that arrives with the next row is always 0.
                game = _GameRecord(game.number + 1)
            else:
                score = self.env.stream.running_episode(0).score
                # The scaling is read for every row, because the caller may load other weights between two rows.
                game.add(float(output.value[0]), next_row, score, self.agent.value_scaling)
            row = next_row
            history = next_history
            carry = next_carry

    def _empty_history(self) -> Tensor:
        """Return the history for `stack_frames` before the first row: zeros [1, k - 1, *obs_shape]."""
        env_spec = self.env.env_spec
        shape = (1, self.frame_stack - 1, *env_spec.frame)
        return torch.zeros(shape, dtype=getattr(torch, env_spec.dtype), device=self.device)

    def _draw_random_action(self, rng: np.random.Generator, row: Row) -> Action | None:
        """Return a random legal action with probability epsilon, otherwise None.

        An action is drawn in both cases, as in an evaluation, so that the random generators of both stay equal.
        """
        is_random = rng.random(1)[0] < self.epsilon
        action = _to_action(random_legal_actions(rng, self.env.stream, row)[0])
        return action if is_random else None


class _GameRecord:
    """The score of one game so far, and the values and rewards of its rows before the present row."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.gamma = 1.0  # discount per agent step; known once there is a row
        self.score = 0.0
        self.num_steps = 0
        self.obs_magnitudes = np.zeros((), np.float32)  # [D] once an observation was added
        self.values: list[float] = []  # V of each row
        self.rewards: list[float] = []  # reward for the action of each row, scaled and clipped as in training
        self.terminated: list[bool] = []  # do not bootstrap after the row

    def add(self, value: float, next_row: Row, score: float, scaling: ValueScaling) -> None:
        """Add a row.

        Args:
            value: V of the row.
            next_row: The next row, with the consequences of the row's action.
            score: Score of the game up to the next row.
            scaling: Discount and reward scaling of the agent at this row.
        """
        limit = scaling.reward_clip or np.inf
        reward = next_row.reward[0] * scaling.reward_scale
        self.gamma = scaling.gamma
        self.values.append(value)
        self.rewards.append(float(reward.clip(-limit, limit)))
        self.terminated.append(bool(next_row.terminated[0]))
        self.score = score
        self.num_steps += 1

    def add_obs(self, vector: NDArray[np.float32]) -> None:
        """Include the vector [D] of the present row's observation in the magnitudes."""
        self.obs_magnitudes = np.maximum(self.obs_magnitudes, np.abs(vector))

    def latest_values(self, value: float) -> NDArray[np.float32]:
        """Return V of the latest rows, f32[L] with L <= CURVE_LENGTH + 1.

        Args:
            value: V of the present row, the last entry.
        """
        return np.array([*self.values[-CURVE_LENGTH:], value], np.float32)

    def latest_returns(self, value: float) -> NDArray[np.float32]:
        """Return the discounted returns of the latest rows, f32[L], with scaled and clipped rewards.

        The last entry is V of the present row T. The return of an earlier row t is

            G_t = r_t + gamma G_{t+1},    G_T = V(s_T),    and G_{t+1} is replaced by 0 if row t terminated

        Args:
            value: V of the present row.
        """
        latest = slice(-CURVE_LENGTH, None)
        discounted_return = value
        newest_first = [value]
        for reward, terminated in zip(self.rewards[latest][::-1], self.terminated[latest][::-1], strict=True):
            next_return = 0.0 if terminated else discounted_return
            discounted_return = reward + self.gamma * next_return
            newest_first.append(discounted_return)
        return np.array(newest_first[::-1], np.float32)


def _make_step(
    row: Row,
    screens: list[RgbImage],
    stack: Tensor,
    output: PolicyOutput,
    random_action: Action | None,
    heatmap: Heatmap | None,
    game: _GameRecord,
    max_steps: int,
) -> PlayerStep:
    """Return the step of a row. The action is `random_action`, or the greedy action if `random_action` is None."""
    is_cut = game.num_steps >= max_steps and not row.is_last[0]
    value = float(output.value[0])
    greedy_action = _to_action(output.action[0].cpu().numpy())
    distribution = output.distribution
    state_norm = output.state_norm
    action_std = output.action_std
    return PlayerStep(
        screens=screens,
        stacked_obs=stack[0].cpu().numpy(),
        action_scores=output.scores[0].masked_fill(output.scores[0] <= ILLEGAL / 2, -np.inf).cpu().numpy(),
        is_policy=output.is_policy,
        action=greedy_action if random_action is None else random_action,
        greedy_action=greedy_action,
        distribution=None if distribution is None else distribution[0].cpu().numpy(),
        state_norm=None if state_norm is None else float(state_norm[0]),
        obs_magnitudes=game.obs_magnitudes,
        saliency=heatmap,
        values=game.latest_values(value),
        returns=game.latest_returns(value),
        score=game.score,
        step_number=game.num_steps,
        game_number=game.number,
        is_last=bool(row.is_last[0]) or is_cut,
        is_cut=is_cut,
        action_std=None if action_std is None else action_std[0].cpu().numpy(),
    )


def _to_action(array: NDArray[Any]) -> Action:
    """Return an action i64[] or f32[D]."""
    return array if array.ndim else int(array)
