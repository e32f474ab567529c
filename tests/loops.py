"""Loops of agents over toy environments, as the tests of several agents want them."""

import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_envs import NumberedSteps

from agents.core.types import EnvSpaces
from agents.dqn import DQN
from envs.stream import Stream
from rl_lab.training.overlapped_loop import OverlappedLoop

CPU = torch.device("cpu")


def toy_loop(config, num_envs, env=NumberedSteps, seed=1, cls=DQN):
    """An untrained agent and its loop over `num_envs` toy environments."""
    stream = Stream(SyncVectorEnv([env] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP))
    rows = EnvSpaces(stream.obs_shape, torch.float32, stream.num_actions, num_envs)
    agent = cls(config, rows, seed=seed, device=CPU)
    return agent, OverlappedLoop(agent, stream, CPU, seed)


def in_step(loop, other, rows):
    """Let the loop go on for so many rows, and another agent see and do the same as the loop's."""
    for _ in range(rows):
        row, step = loop.row, loop.pending
        assert step is not None
        other.act(torch.from_numpy(row.obs), torch.from_numpy(row.is_first), loop.carry, explore=True)
        other.observe(step)
        loop.step()
