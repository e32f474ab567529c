"""An agent playing one game after another, moment by moment, with what it sees and thinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from agents.core.agent import Agent
from agents.core.frame_stack import stack_frames
from envs.stream import Row
from rl_lab.analysis.saliency import Heat, Saliency, saliency
from rl_lab.experiment.config import Config
from rl_lab.experiment.factory import value_scaling
from rl_lab.system.device import on_device
from rl_lab.watch.game import Game, Screen

CPU = torch.device("cpu")
LOOK_BACK = 300  # rows of the values that a moment tells


@dataclass(frozen=True)
class Moment:
    """One row of a game: what was on the screen before it, what the agent saw, thought and did."""

    screens: list[Screen]  # since the moment before; the last one is now
    seen: NDArray[np.generic]  # [k, *frame]: as the network gets it
    scores: NDArray[np.float32]  # [A]: Q(s, .) or pi(. | s)
    is_policy: bool  # whether it is pi
    action: int  # what it did
    greedy: int  # what it would do without exploring
    distribution: NDArray[np.float32] | None  # [A, atoms]
    state_norm: float | None
    saliency: Heat | None  # [H, W] of a frame: where the scores come from
    values: NDArray[np.float32]  # V of the last rows of this game, this one included
    realised: NDArray[np.float32]  # the discounted returns that came after them, as far as they are known
    score: float  # of this game so far
    step: int  # of this game
    game: int  # from 1
    over: bool  # the game ends here


class Player:
    """Plays the games of a seed, which are those that `eval --episodes 1` begins with; iterate for the moments."""

    def __init__(
        self,
        agent: Agent,
        config: Config,
        game: Game,
        *,
        epsilon: float,
        seed: int,
        saliency: Saliency = "off",
        device: torch.device = CPU,
    ) -> None:
        self.agent, self.game, self.epsilon, self.seed, self.device = agent, game, epsilon, seed, device
        self.saliency: Saliency = saliency
        self.restart = False  # to be set between two moments: begin the seed's games anew
        self.again = False  # and this one: tell the same moment again, as the agent sees it now
        self.gamma, self.reward_clip = value_scaling(config)
        self.stack = getattr(config.settings, "frame_stack", 1)

    def __iter__(self) -> Iterator[Moment]:
        while True:
            self.restart = False
            yield from self._games()
            if not self.restart:
                return

    def _games(self) -> Iterator[Moment]:
        """The games of the seed from the first one on, until it is asked to begin anew."""
        rng = np.random.default_rng(self.seed)
        env_spec, agent = self.game.env_spec, self.agent
        row, screens = self.game.reset(self.seed)
        carry = agent.initial_carry(1)
        history = torch.zeros(
            (1, self.stack - 1, *env_spec.frame), dtype=getattr(torch, env_spec.dtype), device=self.device
        )
        told: list[tuple[float, float, bool]] = []  # V, reward and whether it terminated, of this game's rows
        score, step, number = 0.0, 0, 1
        while True:
            obs, is_first = on_device(row.obs, self.device), on_device(row.is_first, self.device)
            seen, next_history = stack_frames(obs, is_first, history)
            explores, random = rng.random(1)[0] < self.epsilon, int(rng.integers(env_spec.num_actions, size=1)[0])
            while True:
                self.again = False
                heat = saliency(self.saliency, agent, obs, is_first, carry)
                with torch.no_grad():
                    thought, next_carry = agent.policy_output(obs, is_first, carry)
                greedy, value = int(thought.action[0]), float(thought.value[0])
                action = random if explores else greedy
                yield Moment(
                    screens=screens,
                    seen=seen[0].cpu().numpy(),
                    scores=thought.scores[0].cpu().numpy(),
                    is_policy=thought.is_policy,
                    action=action,
                    greedy=greedy,
                    distribution=None if thought.distribution is None else thought.distribution[0].cpu().numpy(),
                    state_norm=None if thought.state_norm is None else float(thought.state_norm[0]),
                    saliency=heat,
                    values=np.array([v for v, _, _ in told[-LOOK_BACK:]] + [value], np.float32),
                    realised=self._realised(told[-LOOK_BACK:], value),
                    score=score,
                    step=step,
                    game=number,
                    over=bool(row.is_last[0]),
                )
                if not self.again:
                    break
                screens = screens[-1:]
            if self.restart:
                return
            begins, history, carry = bool(row.is_last[0]), next_history, next_carry
            row, screens = self.game.step(action)
            if begins:
                told, score, step, number = [], 0.0, 0, number + 1
            else:
                told.append((value, self._learned(row), bool(row.terminated[0])))
                score, step = score + float(row.reward[0]), step + 1

    def _learned(self, row: Row) -> float:
        limit = self.reward_clip or np.inf
        return float(row.reward[0].clip(-limit, limit))

    def _realised(self, told: list[tuple[float, float, bool]], value: float) -> NDArray[np.float32]:
        """r_t + gamma r_t+1 + ... of each row, and V(now) for what has not come yet."""
        after, out = value, [value]
        for _, reward, terminated in reversed(told):
            after = reward + self.gamma * (0.0 if terminated else after)
            out.append(after)
        return np.array(out[::-1], np.float32)
