"""What the studies of tabular agents share: many independent runs at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.tabular import Tabular
from rl_lab import api, build, config

CPU = torch.device("cpu")


def independent_runs(
    agent: str, env: str, *, runs: int, episodes: int, seed: int = 1, **settings: Any
) -> tuple[NDArray[np.float64], Tabular]:
    """The returns [runs, episodes] of the first episodes of so many runs, and the agent that holds their tables.

    Runs whose episodes are short go on learning until the last one is through.
    """
    card = api.resolve_env(env)
    given = {"num_envs": runs, "seed": seed, "steps": 10**9, "independent": True, **settings}
    resolved = config.resolve(agent, card, given)
    learner = build.make_agent(resolved, card, CPU)
    assert isinstance(learner, Tabular)
    loop = build.make_loop(resolved, card, learner, CPU)
    found: list[list[float]] = [[] for _ in range(runs)]
    while min(map(len, found)) < episodes:
        for game in loop.step().episodes:
            found[game.env].append(game.score)
    loop.close()
    return np.array([scores[:episodes] for scores in found]), learner
