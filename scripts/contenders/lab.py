"""This project's DQN on Pong: python lab.py WARM_UP_STEPS DEVICE NUM_ENVS PRECISION [graphs]."""

from __future__ import annotations

import sys
from collections import defaultdict

from serve import serve

from rl_lab import api
from rl_lab.experiment import config, factory
from rl_lab.system.device import keep_freed_memory, resolve_device
from rl_lab.training.loop import Loop
from rl_lab.training.metrics import Window

warm_up, device, num_envs, precision = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
settings = {
    "device": device,
    "num_envs": num_envs,
    "precision": precision,
    "lr": 1e-4,
    "filters": 32,  # the Nature network, as the others have it
    "hidden": 512,
    "batch_size": 32,
    "replay_ratio": 8.0,
    "n_step": 1,
    "target_every": 250,
    "target_tau": 0.0,  # copies, as the others make them
    "replay_size": 100_000,
    "learning_starts": warm_up // 2,
    "epsilon_start": 0.01,
    "epsilon_end": 0.01,
    "cuda_graphs": sys.argv[5:] == ["graphs"],
}
keep_freed_memory()
env_spec = api.resolve_env("Pong")
resolved = config.resolve("dqn", env_spec, {"env": "Pong", **settings})
agent = factory.make_agent(resolved, env_spec, resolve_device(device))
loop = Loop(agent, factory.make_envs(resolved, env_spec, num_envs), resolve_device(device), seed=1)
window = Window()
shares: dict[str, float] = defaultdict(float)


def train(steps: int) -> tuple[int, int]:
    updates, done = agent.gauges()["updates"], 0
    while done < steps:
        tick = loop.step()
        window.add(tick)
        done += tick.num_active
    window.close()
    shares.update({**loop.seconds, **agent.seconds})
    return done, int(agent.gauges()["updates"] - updates)


train(warm_up)
serve(train, shares)
