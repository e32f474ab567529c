"""This project's DQN on Pong: python lab.py WARM_UP_STEPS DEVICE NUM_ENVS PRECISION [graphs]."""

from __future__ import annotations

import sys
from collections import defaultdict

from serve import serve

from rl_lab import api
from rl_lab.experiment import config, factory
from rl_lab.system.device import resolve_device
from rl_lab.system.memory_budget import keep_freed_memory
from rl_lab.training.metrics_window import MetricsWindow
from rl_lab.training.overlapped_loop import OverlappedLoop


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    device_name = sys.argv[2]
    num_envs = int(sys.argv[3])
    settings = {
        "env": "Pong",
        "device": device_name,
        "num_envs": num_envs,
        "precision": sys.argv[4],
        "lr": 1e-4,
        "filters": 32,  # the Nature network, as in the other contenders
        "hidden": 512,
        "batch_size": 32,
        "replay_ratio": 8.0,
        "n_step": 1,
        "target_every": 250,
        "target_tau": 0.0,  # copy the target network, as the other contenders do
        "replay_size": 100_000,
        "learning_starts": warm_up_steps // 2,
        "epsilon_start": 0.01,
        "epsilon_end": 0.01,
        "cuda_graphs": sys.argv[5:] == ["graphs"],
    }
    keep_freed_memory()
    env_spec = api.resolve_env("Pong")
    device = resolve_device(device_name)
    resolved = config.resolve("dqn", env_spec, settings)
    agent = factory.make_agent(resolved, env_spec, device)
    loop = OverlappedLoop(agent, factory.make_envs(resolved, env_spec, num_envs), device, seed=1)
    window = MetricsWindow()
    shares: dict[str, float] = defaultdict(float)

    def train(steps: int) -> tuple[int, int]:
        """Make at least `steps` agent steps. Return the agent steps and the updates made."""
        updates_before = agent.gauges()["updates"]
        num_steps = 0
        while num_steps < steps:
            step = loop.step()
            window.add(step)
            num_steps += step.num_active
        window.close()
        shares.update(loop.seconds)
        shares.update(agent.seconds)
        return num_steps, int(agent.gauges()["updates"] - updates_before)

    train(warm_up_steps)
    serve(train, shares)


if __name__ == "__main__":
    main()
