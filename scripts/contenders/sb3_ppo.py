"""Stable-Baselines3's PPO on Pong: python sb3_ppo.py WARM_UP_STEPS DEVICE NUM_ENVS."""

from __future__ import annotations

import sys

import ale_py
import gymnasium as gym
from serve import TimeShares, serve
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

ROLLOUT_ROWS = 128
MINIBATCH_SIZE = 256


def make_model(device: str, num_envs: int) -> PPO:
    """Return the algorithm with the settings of the comparison, which are those of rl-baselines3-zoo for Atari.

    There is one difference: learning rate and clip range are constant.
    """
    gym.register_envs(ale_py)
    env = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=num_envs, seed=1), n_stack=4)
    return PPO(
        "CnnPolicy",
        env,
        learning_rate=2.5e-4,
        n_steps=ROLLOUT_ROWS,
        batch_size=MINIBATCH_SIZE,
        n_epochs=4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.1,
        ent_coef=0.01,
        vf_coef=0.5,
        max_grad_norm=0.5,
        device=device,
        seed=1,
    )


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    num_envs = int(sys.argv[3])
    model = make_model(device=sys.argv[2], num_envs=num_envs)
    updates_per_epoch = ROLLOUT_ROWS * num_envs // MINIBATCH_SIZE

    def train(steps: int) -> tuple[int, int]:
        """Learn for at least `steps` agent steps, in whole rollouts. Return the agent steps and the updates made."""
        steps_before = model.num_timesteps
        epochs_before = model._n_updates  # Stable-Baselines3's PPO counts epochs
        model.learn(steps, reset_num_timesteps=False)
        num_epochs = model._n_updates - epochs_before
        return model.num_timesteps - steps_before, num_epochs * updates_per_epoch

    model.learn(warm_up_steps)
    shares = TimeShares()
    shares.measure("acting", model.policy, "forward")
    shares.measure("acting", model.policy, "predict_values")
    shares.measure("emulation", model.env, "step")
    # As in our agent, the choice of minibatches is part of "updating".
    shares.measure("sampling", model.rollout_buffer, "add")
    shares.measure("sampling", model.rollout_buffer, "compute_returns_and_advantage")
    shares.measure("sampling", model.rollout_buffer, "swap_and_flatten")
    shares.measure("updating", model, "train")
    serve(train, shares)


if __name__ == "__main__":
    main()
