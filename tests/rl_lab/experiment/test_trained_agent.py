"""`predict` of a trained agent: its games equal those of the stream, in which the agent receives converted rows."""

from typing import Any

import gymnasium
import masked_env
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array

import rl_lab
from envs.make import adapt, make_stream
from envs.stream import spread_seeds
from rl_lab import api
from rl_lab.errors import EnvError, LabError
from rl_lab.experiment.factory import make_cpu_agent
from rl_lab.experiment.trained_agent import TrainedAgent

SPACES: dict[str, tuple[gymnasium.Space[Any], gymnasium.Space[Any]]] = {
    "TwoParts": (Box(-1, 1, (3,), np.float64), MultiDiscrete([3, 2], start=[1, 0])),
    "Bounds": (Box(-1, 1, (3,), np.float32), Box(np.array([-2.0, 5.0]), np.array([2.0, 9.0]), dtype=np.float64)),
    "Mixed": (Dict(grid=Box(0, 9, (5, 5, 2), np.uint8), state=Discrete(4)), Discrete(3, start=2)),
    "Pair": (Tuple((Box(-1, 1, (2,), np.float32), Discrete(3))), Discrete(2)),
    "States": (Discrete(16), Discrete(4)),
}


class RandomEnv(gymnasium.Env):
    """Random observations of a space; the reward tells which action was taken."""

    def __init__(self, kind: str) -> None:
        self.observation_space, self.action_space = SPACES[kind]
        self.num_steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.num_steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action) or self.action_space.contains(int(np.asarray(action)))
        self.num_steps += 1
        weights = np.arange(1, np.size(action) + 1)
        reward = float(np.sum(weights * np.ravel(action)))
        return self.observation_space.sample(), reward, self.num_steps == 7, False, {}


def make_random(**kwargs: Any) -> gymnasium.Env:
    """Return the environment, as Gymnasium's registry calls it."""
    return RandomEnv(kwargs["kind"])


for kind in SPACES:
    gymnasium.register(f"Predict{kind}-v0", entry_point=make_random, kwargs={"kind": kind})

CASES = [
    ("dqn", "CartPole-v1", {"frame_stack": 3}),
    ("drqn", "CartPole-v1", {"mask_velocity": True, "hidden": 8}),
    ("recurrent_ppo", "PredictBounds-v0", {"hidden": 8, "frame_stack": 2, "core": "gru"}),
    ("ppo", "PredictTwoParts-v0", {}),
    ("dqn", "PredictMixed-v0", {"hidden": 8}),
    ("dqn", "PredictPair-v0", {}),
    ("dqn", "PredictStates-v0", {}),
    ("ppo", "Pendulum-v1", {}),
]


def make_trained(agent: str, env: str, settings: dict[str, Any]) -> TrainedAgent:
    """Return an agent with random weights."""
    config, env_spec = api.resolve_run(agent, env, settings)
    env_spec = adapt(env_spec, mask_velocity=config.run.mask_velocity)
    return TrainedAgent(make_cpu_agent(config, env_spec), env_spec, epsilon=0.5)


def steps_in_stream(trained: TrainedAgent, seed: int, steps: int) -> list[tuple[float, bool]]:
    """Return the rewards of the greedy agent in a stream of one environment, and whether the episode ended."""
    stream = make_stream(trained.env_spec, 1)
    row = stream.reset(seed)
    carry = trained.agent.initial_carry(1)
    taken = []
    while len(taken) < steps:
        obs = torch.as_tensor(row.obs)
        action, carry = trained.agent.act(obs, torch.as_tensor(row.is_first), carry, explore=False)
        stream.send(action.numpy())
        is_last = bool(row.is_last[0])
        row = stream.recv()
        if not is_last:
            taken.append((float(row.reward[0]), bool(row.is_last[0])))
    stream.close()
    return taken


def steps_by_predict(trained: TrainedAgent, seed: int, steps: int) -> list[tuple[float, bool]]:
    """Return the same of the same games, played with `predict` in the environment itself."""
    env = gymnasium.make(trained.env_spec.id)
    obs, info = env.reset(seed=int(spread_seeds(seed, 1)[0]))
    state = None
    episode_start = True
    taken = []
    while len(taken) < steps:
        masks = info.get("action_mask")
        action, state = trained.predict(obs, state, episode_start, deterministic=True, action_masks=masks)
        obs, reward, terminated, truncated, info = env.step(action)
        episode_start = terminated or truncated
        taken.append((float(reward), episode_start))
        if episode_start:
            obs, info = env.reset()
    return taken


@pytest.mark.parametrize(("agent", "env", "settings"), CASES)
def test_games_equal_those_of_the_stream(agent: str, env: str, settings: dict[str, Any]):
    trained = make_trained(agent, env, settings)
    expected = steps_in_stream(trained, seed=3, steps=60)
    np.testing.assert_allclose(steps_by_predict(trained, seed=3, steps=60), expected, atol=1e-5)


@pytest.mark.parametrize(("agent", "env", "settings"), CASES)
def test_several_observations_give_the_actions_of_each(agent: str, env: str, settings: dict[str, Any]):
    trained = make_trained(agent, env, settings)
    space = gymnasium.make(env).observation_space
    space.seed(1)
    samples = [space.sample() for _ in range(5)]
    batch = concatenate(space, samples, create_empty_array(space, 5))
    actions, _ = trained.predict(batch)
    single = [trained.predict(sample)[0] for sample in samples]
    np.testing.assert_allclose(actions, np.stack(single), atol=1e-6)


def test_hidden_velocities_do_not_reach_the_agent():
    trained = make_trained("drqn", "CartPole-v1", {"mask_velocity": True, "hidden": 8})
    rng = np.random.default_rng(0)
    slow = rng.normal(size=(50, 4)).astype(np.float32)
    fast = slow.copy()
    fast[:, [1, 3]] = rng.normal(scale=100, size=(50, 2))
    states = [trained.predict(obs)[1] for obs in (slow, fast)]
    assert states[0] is not None
    assert states[1] is not None
    np.testing.assert_array_equal(states[0][1], states[1][1])  # the recurrent state
    assert fast[0, 1] != 0  # the caller's array is unchanged


def test_masked_actions_are_never_chosen():
    trained = make_trained("dqn", "Masked-v0", {})
    for deterministic in (True, False):
        states = np.arange(masked_env.NUM_STATES)
        masks = np.stack([masked_env.legal(int(state)) for state in states])
        for _ in range(20):
            actions, _ = trained.predict(states, deterministic=deterministic, action_masks=masks)
            assert masks[states, actions].all()


def test_random_actions_of_a_value_agent_have_the_probability_epsilon():
    trained = make_trained("dqn", "CartPole-v1", {})
    obs = np.zeros((4000, 4), np.float32)
    greedy, _ = trained.predict(obs)
    actions, _ = trained.predict(obs, deterministic=False)
    assert np.mean(actions != greedy) == pytest.approx(0.5 / 2, abs=0.03)  # half of the random actions are greedy


def test_random_actions_of_a_policy_follow_its_probabilities():
    trained = make_trained("ppo", "CartPole-v1", {})
    obs = np.tile(np.array([0.1, -2.0, 0.2, 3.0], np.float32), (4000, 1))
    output, _ = trained.policy_output(
        torch.as_tensor(obs), torch.ones(4000, dtype=torch.bool), trained.initial_carry(4000)
    )
    actions, _ = trained.predict(obs, deterministic=False)
    assert actions.mean() == pytest.approx(output.scores[0, 1].item(), abs=0.03)
    assert not trained.agent.acting_records  # type: ignore[attr-defined]


def test_one_action_is_not_an_array_and_feedforward_agents_have_no_state():
    trained = make_trained("dqn", "CartPole-v1", {})
    action, state = trained.predict(np.zeros(4, np.float32))
    assert np.ndim(action) == 0
    assert state is None
    actions, _ = trained.predict(np.zeros((3, 4), np.float32))
    assert actions.shape == (3,)


def test_the_demo_takes_preprocessed_images():
    trained = rl_lab.load("demo")
    action, state = trained.predict(np.zeros((84, 84), np.uint8))
    assert int(action) in range(6)
    assert state is not None
    with pytest.raises(EnvError, match=r"shape \[210, 160, 3\]; .* on Pong and needs .*uint8\[84, 84\]"):
        trained.predict(np.zeros((210, 160, 3), np.uint8))


def test_wrong_shapes_are_refused():
    trained = make_trained("dqn", "CartPole-v1", {"frame_stack": 3})
    with pytest.raises(EnvError, match=r"shape \[5\]; the agent was trained on CartPole-v1 and needs \[4\]"):
        trained.predict(np.zeros(5, np.float32))
    with pytest.raises(EnvError, match="without action masks"):
        trained.predict(np.zeros(4, np.float32), action_masks=np.ones(2))
    _, state = trained.predict(np.zeros((2, 4), np.float32))
    with pytest.raises(LabError, match="state holds arrays"):
        trained.predict(np.zeros((3, 4), np.float32), state)
