"""Stable-Baselines3's DQN on Pong: python sb3_dqn.py WARM_UP_STEPS DEVICE NUM_ENVS."""

from __future__ import annotations

import sys

import ale_py
import gymnasium as gym
from serve import Shares, serve
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

warm_up, device, num_envs = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
gym.register_envs(ale_py)
env = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=num_envs, seed=1), n_stack=4)
model = DQN(
    "CnnPolicy",
    env,
    learning_rate=1e-4,
    buffer_size=100_000,
    learning_starts=warm_up // 2,
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


def train(steps: int) -> tuple[int, int]:
    before, updates = model.num_timesteps, model._n_updates
    model.learn(steps, reset_num_timesteps=False)
    return model.num_timesteps - before, model._n_updates - updates


model.learn(warm_up)
shares = Shares()
for name, owner, method in (
    ("acting", model.policy, "predict"),
    ("emulation", model.env, "step"),
    ("sampling", model.replay_buffer, "sample"),
    ("sampling", model.replay_buffer, "add"),
    ("updating", model, "train"),
):
    shares.timed(name, owner, method)
serve(train, shares)
