"""Stable-Baselines3's DQN on Pong: python sb3_dqn.py WARM_UP_STEPS DEVICE NUM_ENVS."""

from __future__ import annotations

import sys

import ale_py
import gymnasium as gym
from serve import TimeShares, serve
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack


def make_model(warm_up_steps: int, device: str, num_envs: int) -> DQN:
    """Return the algorithm with the settings of the comparison."""
    gym.register_envs(ale_py)
    env = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=num_envs, seed=1), n_stack=4)
    return DQN(
        "CnnPolicy",
        env,
        learning_rate=1e-4,
        buffer_size=100_000,
        learning_starts=warm_up_steps // 2,
        batch_size=32,
        train_freq=4 if num_envs == 1 else 1,
        gradient_steps=max(1, num_envs // 4),
        target_update_interval=1_000,
        exploration_initial_eps=0.01,
        exploration_final_eps=0.01,
        optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False},
        device=device,
        seed=1,
    )


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    model = make_model(warm_up_steps, device=sys.argv[2], num_envs=int(sys.argv[3]))

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
    serve(train, shares)


if __name__ == "__main__":
    main()
