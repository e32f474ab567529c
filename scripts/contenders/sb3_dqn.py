"""Stable-Baselines3's DQN on Pong.

At equal work: python sb3_dqn.py WARM_UP_STEPS DEVICE NUM_ENVS. With the settings of rl-baselines3-zoo for Atari, which
include one environment (configs/sb3_dqn.yaml): python sb3_dqn.py WARM_UP_STEPS DEVICE shipped.
"""

from __future__ import annotations

import sys

import ale_py
import gymnasium as gym
import torch
from serve import TimeShares, serve
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

STEPS_PER_UPDATE = 4


def make_model(warm_up_steps: int, device: str, num_envs: int, *, is_shipped: bool) -> DQN:
    """Return the algorithm.

    With one environment, the settings of the comparison at equal work differ from those of rl-baselines3-zoo in the
    replay buffer: it stores the frames once, not twice. In both, learning starts halfway in the warm-up, and epsilon is
    constant.

    Args:
        warm_up_steps: Agent steps of the warm-up.
        device: Name of the device.
        num_envs: Number of environments.
        is_shipped: Use the replay buffer of rl-baselines3-zoo.
    """
    gym.register_envs(ale_py)
    env = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=num_envs, seed=1), n_stack=4)
    return DQN(
        "CnnPolicy",
        env,
        learning_rate=1e-4,
        buffer_size=100_000,
        learning_starts=warm_up_steps // 2,
        batch_size=32,
        train_freq=STEPS_PER_UPDATE if num_envs == 1 else 1,
        gradient_steps=max(1, num_envs // STEPS_PER_UPDATE),
        target_update_interval=1_000,
        exploration_initial_eps=0.01,
        exploration_final_eps=0.01,
        optimize_memory_usage=not is_shipped,
        replay_buffer_kwargs={"handle_timeout_termination": is_shipped},
        device=device,
        seed=1,
    )


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    is_shipped = sys.argv[3] == "shipped"
    num_envs = 1 if is_shipped else int(sys.argv[3])
    model = make_model(warm_up_steps, device=sys.argv[2], num_envs=num_envs, is_shipped=is_shipped)

    def train(steps: int) -> tuple[int, int]:
        """Learn for `steps` agent steps. Return the agent steps and the updates made."""
        steps_before = model.num_timesteps
        updates_before = model._n_updates
        model.learn(steps, reset_num_timesteps=False)
        return model.num_timesteps - steps_before, model._n_updates - updates_before

    model.learn(warm_up_steps)
    shares = TimeShares()
    shares.measure("acting", model.policy, "predict")
    shares.measure("emulation", model.env, "step")
    shares.measure("sampling", model.replay_buffer, "sample")
    shares.measure("sampling", model.replay_buffer, "add")
    shares.measure("updating", model, "train")
    serve(train, shares, setup=describe_setup(model) if is_shipped else "")


def describe_setup(model: DQN) -> str:
    """Return what the measured speed depends on: environments, precision, threads, network and updates."""
    threads = torch.get_num_threads()
    return (
        f"{model.n_envs} environment, float32, {threads} {'thread' if threads == 1 else 'threads'},"
        " 32 filters, 512 hidden units,"
        f" one update of {model.batch_size} per {STEPS_PER_UPDATE} agent steps"
    )


if __name__ == "__main__":
    main()
