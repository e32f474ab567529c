"""Tianshou's DQN on Pong, set up as its own Atari example: python tianshou_dqn.py WARM_UP_STEPS DEVICE NUM_ENVS."""

from __future__ import annotations

import sys

import ale_py
import gymnasium as gym
import numpy as np
from serve import Shares, serve
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import ShmemVectorEnv
from tianshou.env.atari.atari_network import DQNet, ScaledObsInputActionReprNet
from tianshou.utils.torch_utils import policy_within_training_step

warm_up, device, num_envs = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def make_env() -> gym.Env:
    gym.register_envs(ale_py)
    env = gym.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
    env = gym.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    env = gym.wrappers.TransformReward(env, lambda reward: float(np.sign(float(reward))))
    return gym.wrappers.FrameStackObservation(env, 4)


if __name__ == "__main__":
    env = ShmemVectorEnv([make_env] * num_envs)
    env.seed(1)
    one = make_env()
    model = ScaledObsInputActionReprNet(DQNet(c=4, h=84, w=84, action_shape=one.action_space.n)).to(device)
    policy = DiscreteQLearningPolicy(
        model=model, action_space=one.action_space, observation_space=one.observation_space, eps_training=0.01
    )
    algorithm = DQN(
        policy=policy, optim=AdamOptimizerFactory(lr=1e-4), gamma=0.99, target_update_freq=250, is_double=False
    )
    buffer = VectorReplayBuffer(
        100_000, buffer_num=num_envs, ignore_obs_next=True, save_only_last_obs=True, stack_num=4
    )
    collector = Collector(algorithm, env, buffer, exploration_noise=True)
    collector.reset()

    def train(steps: int, learn: bool = True) -> tuple[int, int]:
        done = updates = 0
        with policy_within_training_step(policy):
            while done < steps:
                done += collector.collect(n_step=num_envs).n_collected_steps
                for _ in range(num_envs // 4 if learn else 0):
                    algorithm.update(buffer, sample_size=32)
                    updates += 1
        return done, updates

    train(warm_up // 2, learn=False)
    train(warm_up // 2)
    shares = Shares()
    for name, owner, method in (
        ("acting", policy, "forward"),
        ("emulation", env, "step"),
        ("sampling", buffer, "sample"),
        ("sampling", buffer, "add"),
        ("updating", algorithm, "update"),
    ):
        shares.timed(name, owner, method)
    serve(train, shares)
