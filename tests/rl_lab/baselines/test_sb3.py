"""Stable-Baselines3's agents through our command line, environments and evaluation."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from toy_envs import NumberedSteps

from envs.make import make_stream, resolve
from envs.stream import Stream, spread_seeds
from rl_lab import api
from rl_lab.baselines.sb3_envs import StreamVecEnv
from rl_lab.errors import LabError
from rl_lab.training.faults import how_to_resume

ALGORITHMS = {"sb3_dqn": DQN, "sb3_ppo": PPO, "sb3_a2c": A2C}


@pytest.mark.parametrize("agent", ALGORITHMS)
def test_it_trains_and_scores_what_evaluate_policy_says(agent, train):
    run = train(agent, steps=2000)
    assert any("loss" in line or "value_loss" in line for line in run.metrics())
    assert any("train/return" in line for line in run.metrics())
    ours = api.evaluate(run, episodes=6, epsilon=0.0, seed=5)
    theirs = []
    model = ALGORITHMS[agent].load(run.path / "checkpoints" / "sb3.zip")
    model.policy.load_state_dict(api.load(run).network.state_dict())  # the best, where the zip is the last
    for seed in spread_seeds(5, 6):
        vec = DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1"))])
        vec.seed(int(seed))
        returns, _ = evaluate_policy(model, vec, n_eval_episodes=1, return_episode_rewards=True)
        theirs += returns
    assert ours.returns == theirs
    with pytest.raises(LabError, match="a run of Stable-Baselines3 cannot go on exactly"):
        api.resume(run, quiet=True)
    assert how_to_resume(run).endswith(f"train {agent} --env CartPole-v1 --init-from {run}")


def test_pong_reaches_it_as_our_agents_see_it(train):
    run = train("sb3_dqn", env="Pong", steps=150, eval_every=0, eval_episodes=1, buffer_size=200, frame_stack=4)
    assert run.env_spec.protocol == "classic"
    assert len(api.evaluate(run, episodes=1).returns) == 1


def test_the_last_observation_is_in_the_info_and_the_next_first_one_in_its_place():
    lengths = (3, -5, 1, -1, 8)
    streams = [
        Stream(SyncVectorEnv([NumberedSteps], autoreset_mode=AutoresetMode.NEXT_STEP), life_loss=True) for _ in range(2)
    ]
    env = StreamVecEnv(streams, frame_stack=2, reward_clip=0.5)
    obs = env.reset()
    episode, step, lives, rng = [0, 0], [0, 0], [3, 3], np.random.default_rng(0)
    for _ in range(60):
        action = rng.integers(0, 2, 2)
        before, (obs, reward, done, infos) = obs, env.step(action)
        for i in range(2):
            step[i] += 1
            length = lengths[episode[i] % 5]
            over = step[i] == abs(length)
            lost = bool(action[i]) and lives[i] > 1
            lives[i] -= lost
            assert reward[i] == pytest.approx(min(0.001 * step[i] + action[i], 0.5))
            assert done[i] == (over or lost)
            assert infos[i]["TimeLimit.truncated"] == (over and length < 0)
            seen = infos[i]["terminal_observation"] if done[i] else obs[i]
            assert seen[4:].tolist() == [episode[i], step[i]]
            assert seen[:3].tolist() == before[i][3:].tolist()
            if over:
                episode[i], step[i], lives[i] = episode[i] + 1, 0, 3
                assert obs[i].tolist() == [0, 0, 0, before[i][3], episode[i], 0]
    env.close()


def test_atari_episodes_begin_anew():
    """The frame after a game's end is a first one: nothing of the old game is in the stack."""
    env_spec = resolve("Pong")
    env = StreamVecEnv([make_stream(env_spec, 1) for _ in range(2)], frame_stack=4, reward_clip=1)
    obs, over = env.reset(), 0
    assert not obs[:, :3].any()
    for _ in range(1100):
        obs, _, done, _ = env.step(np.array([0, 3]))
        assert torch.as_tensor(obs[:, 3]).any()
        for i in np.flatnonzero(done):
            over += 1
            assert not obs[i, :3].any()
    assert over >= 2
    env.close()


def test_what_it_computes_in_is_what_its_run_says(train):
    assert train("sb3_dqn", steps=200, precision="bfloat16").config.run.precision == "float32"
