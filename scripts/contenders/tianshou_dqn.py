"""Tianshou's DQN on Pong, set up as in its Atari example: python tianshou_dqn.py WARM_UP_STEPS DEVICE NUM_ENVS."""

from __future__ import annotations

import sys

import ale_py
import gymnasium as gym
import numpy as np
from serve import TimeShares, serve
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import ShmemVectorEnv
from tianshou.env.atari.atari_network import DQNet, ScaledObsInputActionReprNet
from tianshou.utils.torch_utils import policy_within_training_step


def make_env() -> gym.Env:
    """Return one environment, for a worker process."""
    gym.register_envs(ale_py)
    env = gym.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
    env = gym.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    env = gym.wrappers.TransformReward(env, lambda reward: float(np.sign(float(reward))))
    return gym.wrappers.FrameStackObservation(env, 4)


def make_policy(device: str) -> DiscreteQLearningPolicy:
    """Return the policy with the Nature network."""
    env = make_env()
    network = ScaledObsInputActionReprNet(DQNet(c=4, h=84, w=84, action_shape=env.action_space.n)).to(device)
    return DiscreteQLearningPolicy(
        model=network, action_space=env.action_space, observation_space=env.observation_space, eps_training=0.01
    )


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    num_envs = int(sys.argv[3])
    env = ShmemVectorEnv([make_env] * num_envs)
    env.seed(1)
    policy = make_policy(device=sys.argv[2])
    algorithm = DQN(
        policy=policy, optim=AdamOptimizerFactory(lr=1e-4), gamma=0.99, target_update_freq=250, is_double=False
    )
    buffer = VectorReplayBuffer(
        100_000, buffer_num=num_envs, ignore_obs_next=True, save_only_last_obs=True, stack_num=4
    )
    collector = Collector(algorithm, env, buffer, exploration_noise=True)
    collector.reset()

    def train(steps: int, learn: bool = True) -> tuple[int, int]:
        """Make at least `steps` agent steps. Return the agent steps and the updates made."""
        num_steps = 0
        num_updates = 0
        updates_per_row = num_envs // 4 if learn else 0
        with policy_within_training_step(policy):
            while num_steps < steps:
                num_steps += collector.collect(n_step=num_envs).n_collected_steps
                for _ in range(updates_per_row):
                    algorithm.update(buffer, sample_size=32)
                    num_updates += 1
        return num_steps, num_updates

    train(warm_up_steps // 2, learn=False)
    train(warm_up_steps // 2)
    shares = TimeShares()
    shares.measure("acting", policy, "forward")
    shares.measure("emulation", env, "step")
    shares.measure("sampling", buffer, "sample")
    shares.measure("sampling", buffer, "add")
    shares.measure("updating", algorithm, "update")
    serve(train, shares)


if __name__ == "__main__":
    main()
