"""Tests of Stable-Baselines3's agents on this project's environments, command line and evaluation."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from toy_envs import NumberedSteps

from envs.make import make_stream, resolve
from envs.stream import Stream, spread_seeds
from rl_lab import api
from rl_lab.baselines.sb3_envs import StreamVecEnv
from rl_lab.errors import LabError
from rl_lab.training.faults import how_to_resume

ALGORITHMS: dict[str, Any] = {
    "sb3_dqn": DQN,
    "sb3_ppo": PPO,
    "sb3_a2c": A2C,
    "sb3_qrdqn": QRDQN,
    "sb3_recurrent_ppo": RecurrentPPO,
}


@pytest.mark.parametrize("agent", ALGORITHMS)
def test_evaluation_equals_evaluate_policy(agent, train):
    settings = {"normalize": False} if agent == "sb3_recurrent_ppo" else {}
    run = train(agent, steps=2000, **settings)
    assert any("loss" in line or "value_loss" in line for line in run.metrics())
    assert any("train/return" in line for line in run.metrics())
    ours = api.evaluate(run, episodes=6, epsilon=0.0, seed=5)
    model = ALGORITHMS[agent].load(run.path / "checkpoints" / "sb3.zip")
    # The zip file holds the last weights; `api.evaluate` loads the best ones.
    model.policy.load_state_dict(api.load_agent(run).network.state_dict())
    theirs: list[Any] = []
    for seed in spread_seeds(5, 6):
        env = DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1"))])
        env.seed(int(seed))
        returns, _ = evaluate_policy(model, env, n_eval_episodes=1, return_episode_rewards=True)
        assert isinstance(returns, list)
        theirs += returns
    assert ours.returns == theirs
    with pytest.raises(LabError, match="a run of Stable-Baselines3 cannot be resumed exactly"):
        api.resume(run, quiet=True)
    assert how_to_resume(run).endswith(f"train {agent} --env CartPole-v1 --init-from {run}")


def test_normalization_is_that_of_vecnormalize(train):
    run = train("sb3_ppo", env="MountainCar-v0", steps=2000, normalize=True, num_envs=2, n_steps=64)
    folder = run.path / "checkpoints"
    model = PPO.load(folder / "sb3.zip")
    plain_env = DummyVecEnv([lambda: gymnasium.make("MountainCar-v0")])
    env = VecNormalize.load(str(folder / "sb3_vecnormalize.pkl"), plain_env)
    assert isinstance(env.obs_rms, RunningMeanStd)
    agent = api.load_agent(run, which="last")
    rng = np.random.default_rng(0)
    obs = rng.uniform([-1.2, -0.07], [0.6, 0.07], (50, 2)).astype(np.float32)
    theirs = model.policy.predict_values(torch.as_tensor(env.normalize_obs(obs)))
    ours, _ = agent.policy_output(torch.as_tensor(obs), torch.ones(50, dtype=torch.bool), agent.initial_carry(50))
    torch.testing.assert_close(ours.value, theirs.squeeze(1), rtol=1e-3, atol=1e-4)
    statistics = agent.network.state_dict()
    assert env.obs_rms.count == pytest.approx(2000 + 2, abs=0.01)  # with the two observations of the reset
    assert float(statistics["normalization.count"]) == env.obs_rms.count
    assert env.obs_rms.var[1] < 0.01  # of velocities


def test_pong_has_the_same_protocol_as_for_other_agents(train):
    run = train("sb3_dqn", env="Pong", steps=150, eval_every=0, eval_episodes=1, buffer_size=200, frame_stack=4)
    assert run.env_spec.protocol == "classic"
    assert len(api.evaluate(run, episodes=1).returns) == 1


@pytest.mark.parametrize("ends_at_lost_life", [True, False])
def test_step_returns_last_observation_in_info_and_first_observation_of_next_episode(ends_at_lost_life):
    lengths = (3, -5, 1, -1, 8)
    streams = [
        Stream(SyncVectorEnv([NumberedSteps], autoreset_mode=AutoresetMode.NEXT_STEP), life_loss=True) for _ in range(2)
    ]
    env = StreamVecEnv(streams, frame_stack=2, reward_clip=0.5, ends_at_lost_life=ends_at_lost_life)
    obs: Any = env.reset()
    episode = [0, 0]
    step = [0, 0]
    lives = [3, 3]
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.integers(0, 2, 2)
        previous = obs
        obs, reward, done, infos = env.step(action)
        assert isinstance(obs, np.ndarray)
        for i in range(2):
            step[i] += 1
            length = lengths[episode[i] % 5]
            ends = step[i] == abs(length)
            loses_life = bool(action[i]) and lives[i] > 1
            lives[i] -= loses_life
            assert reward[i] == pytest.approx(min(0.001 * step[i] + action[i], 0.5))
            assert done[i] == (ends or (loses_life and ends_at_lost_life))
            assert infos[i]["TimeLimit.truncated"] == (ends and length < 0)
            reached = infos[i]["terminal_observation"] if done[i] else obs[i]
            assert reached[4:].tolist() == [episode[i], step[i]]
            assert reached[:3].tolist() == previous[i][3:].tolist()
            if ends:
                episode[i] += 1
                step[i] = 0
                lives[i] = 3
                assert obs[i].tolist() == [0, 0, 0, previous[i][3], episode[i], 0]
    env.close()


def test_stack_after_atari_episode_holds_only_the_first_frame():
    env_spec = resolve("Pong")
    env = StreamVecEnv([make_stream(env_spec, 1) for _ in range(2)], frame_stack=4, reward_clip=1, is_image=True)
    obs: Any = env.reset()
    num_episodes = 0
    assert not obs[:, :3].any()
    for _ in range(1100):
        obs, _, done, _ = env.step(np.array([0, 3]))
        assert isinstance(obs, np.ndarray)
        assert torch.as_tensor(obs[:, 3]).any()
        for i in np.flatnonzero(done):
            num_episodes += 1
            assert not obs[i, :3].any()
    assert num_episodes >= 2
    env.close()


def test_run_records_float32_whatever_precision_is_requested(train):
    assert train("sb3_dqn", steps=200, precision="bfloat16").config.run.precision == "float32"
