"""This project's agents on Pong.

At equal work, AGENT is dqn or ppo:

    python lab.py WARM_UP_STEPS DEVICE AGENT NUM_ENVS PRECISION [graphs]

As the command `train dqn --env Pong` trains, apart from evaluations and checkpoints:

    python lab.py WARM_UP_STEPS DEVICE dqn shipped
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from serve import serve

from rl_lab import api
from rl_lab.experiment.factory import make_envs
from rl_lab.experiment.training_plan import TrainingPlan, plan_training
from rl_lab.system.printable import count_of
from rl_lab.training.metrics_window import MetricsWindow
from rl_lab.training.overlapped_loop import OverlappedLoop


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    is_shipped = sys.argv[4] == "shipped"
    settings = shipped_settings(warm_up_steps) if is_shipped else equal_work_settings(warm_up_steps)
    plan = plan_training(*api.resolve_run(sys.argv[3], "Pong", {"env": "Pong", "device": sys.argv[2], **settings}))
    torch.set_num_threads(plan.compute.threads)
    agent = plan.make_agent()
    run = plan.config.run
    loop = OverlappedLoop(agent, make_envs(plan.config, plan.env_spec, run.num_envs), plan.device, run.seed)
    window = MetricsWindow()
    shares: dict[str, float] = {}

    def train(steps: int) -> tuple[int, int]:
        """Make at least `steps` agent steps, and end with a row that brought updates.

        So the policy gradient, which makes all updates after a rollout, is measured over whole rollouts.

        Returns:
            The agent steps and the updates made.
        """
        updates_before = agent.gauges()["updates"]
        num_steps = 0
        has_updated = False
        while num_steps < steps or not has_updated:
            step = loop.step()
            window.add(step)
            num_steps += step.num_active
            has_updated = step.metrics is not None
        window.close()
        shares.update(loop.seconds)
        shares.update(agent.seconds)
        return num_steps, int(agent.gauges()["updates"] - updates_before)

    train(warm_up_steps)
    serve(train, shares, setup=describe_setup(plan) if is_shipped else "")


def equal_work_settings(warm_up_steps: int) -> dict[str, Any]:
    """Return the settings of the comparison at equal work, for the agent and the options of the command line."""
    num_envs = int(sys.argv[4])
    settings = dqn_settings(warm_up_steps) if sys.argv[3] == "dqn" else ppo_settings(num_envs)
    return {
        **settings,
        "num_envs": num_envs,
        "precision": sys.argv[5],
        "torch_threads": torch.get_num_threads(),  # PyTorch's default, as in the other contenders
        "cuda_graphs": sys.argv[6:] == ["graphs"],
    }


def dqn_settings(warm_up_steps: int) -> dict[str, Any]:
    """Return the settings of DQN (see sb3_dqn.py)."""
    return {
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
    }


def ppo_settings(num_envs: int) -> dict[str, Any]:
    """Return the settings of PPO (see sb3_ppo.py)."""
    return {
        "lr": 2.5e-4,
        "lr_steps": 0,
        "optimizer": "adam",
        "optimizer_eps": 1e-5,
        "grad_clip": 0.5,
        "filters": 32,
        "hidden": 512,
        "frame_stack": 4,
        "reward_clip": 1.0,
        "gamma": 0.99,
        "trace_decay": 0.95,
        "batch_size": 128 * num_envs,
        "minibatch_size": 256,
        "epochs": 4,
        "ratio_clip": 0.1,
        "standardize": "minibatch",
        "value_weight": 0.5,
        "entropy_weight": 0.01,
    }


def shipped_settings(warm_up_steps: int) -> dict[str, Any]:
    """Return the settings that differ from the defaults: learning starts, and epsilon ends, halfway in the warm-up."""
    return {"learning_starts": warm_up_steps // 2, "epsilon_steps": warm_up_steps // 2}


def describe_setup(plan: TrainingPlan) -> str:
    """Return what the measured speed depends on: environments, precision, threads, network and updates."""
    run = plan.config.run
    settings = plan.config.settings
    return (
        f"{count_of(run.num_envs, 'environment')}, {run.precision}, {count_of(run.torch_threads, 'thread')},"
        f" {settings.filters} filters, {settings.hidden} hidden units,"
        f" one update of {settings.batch_size} per {settings.batch_size / settings.replay_ratio:g} agent steps"
    )


if __name__ == "__main__":
    main()
