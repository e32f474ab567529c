"""Tests of evaluation: which episodes count, their scores, random actions, memory, and value estimates."""

import json
import weakref
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from torch import Tensor
from toy_envs import ContinuousSteps, NumberedSteps

import rl_lab
from agents.configs.dqn import DQNConfig
from agents.core.types import Carry, EnvSpaces, PolicyOutput, ValueScaling
from agents.dqn import DQN
from agents.nn.normalization import find_normalization
from envs.stream import Row, Stream
from rl_lab import api
from rl_lab.errors import Fault
from rl_lab.training import evaluation, hooks
from rl_lab.training.evaluation import Evaluation, EvaluationProgress, evaluate

CPU = torch.device("cpu")


def untrained_agent(num_envs: int, **settings: Any) -> DQN:
    return DQN(DQNConfig(hidden=4, **settings), EnvSpaces((3,), torch.float32, 2, num_envs), seed=0, device=CPU)


def stream_of(*lengths: int) -> Stream:
    """Return a stream with one environment per length; a negative length ends in a truncation."""
    makers = [lambda length=length: NumberedSteps(lengths=(length,)) for length in lengths]
    return Stream(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP))


def test_each_environment_plays_a_fixed_share_of_the_episodes():
    """With episodes of 1 and of 9 steps, five episodes in two environments are 3 and 2, not the first five that end."""
    result = evaluate(untrained_agent(2), stream_of(1, 9), episodes=5, epsilon=0.0, seed=0, device=CPU)
    assert result.lengths == [1, 1, 1, 9, 9]
    assert json.loads(json.dumps(result.to_dict()))["episodes"] == 5


def test_scores_are_sums_of_raw_rewards_and_random_actions_do_not_use_the_agents_generator():
    """The reward is 0.001 t + action: epsilon 0 takes constant actions here, epsilon 1 draws each action."""
    agent = untrained_agent(1)
    state = agent.generator.get_state()
    greedy = evaluate(agent, stream_of(100), episodes=3, epsilon=0.0, seed=0, device=CPU)
    random = evaluate(agent, stream_of(100), episodes=3, epsilon=1.0, seed=0, device=CPU)
    assert torch.equal(agent.generator.get_state(), state)
    sum_of_times = sum(0.001 * t for t in range(1, 101))
    greedy_ones = [round(score - sum_of_times, 3) for score in greedy.returns]
    random_ones = [round(score - sum_of_times, 3) for score in random.returns]
    assert all(0 <= ones <= 100 and ones == int(ones) for ones in greedy_ones)
    assert all(25 < ones < 75 for ones in random_ones)


class DivergedAgent:
    """An agent whose continuous actions are NaN."""

    value_scaling = ValueScaling()

    def initial_carry(self, n: int) -> Carry:
        """Return nothing to carry."""
        return ()

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return NaN for all entries of an action."""
        action = torch.full((len(obs), 2), torch.nan)
        return PolicyOutput(action, action, torch.zeros(len(obs)), is_policy=True), carry


def test_actions_that_are_not_finite_are_a_fault():
    stream = Stream(SyncVectorEnv([ContinuousSteps], autoreset_mode=AutoresetMode.NEXT_STEP))
    with pytest.raises(Fault, match="the actions are not finite any more: lower lr, or set grad_clip"):
        evaluate(DivergedAgent(), stream, episodes=1, epsilon=0.0, seed=0, device=CPU)


def test_evaluation_does_not_keep_observations(monkeypatch: pytest.MonkeyPatch):
    stream = stream_of(50)
    references: list[weakref.ref[Any]] = []
    num_alive: list[int] = []
    receive = stream.recv

    def recv() -> Row:
        row = receive()
        owner = row.obs if row.obs.base is None else row.obs.base  # the array that owns the memory
        references.append(weakref.ref(owner))
        return row

    def count_alive(_: EvaluationProgress) -> None:
        num_alive.append(sum(reference() is not None for reference in references))

    monkeypatch.setattr(stream, "recv", recv)
    evaluate(untrained_agent(1), stream, episodes=1, epsilon=0.0, seed=0, device=CPU, after_row=count_alive)
    assert len(num_alive) >= 50
    assert max(num_alive) <= 2


ENDLESS = 10**9


def evaluate_greedily(stream: Stream, **options: Any) -> Evaluation:
    """Evaluate an untrained agent whose values depend on the observation."""
    agent = untrained_agent(stream.num_envs, gamma=0.8)
    return evaluate(agent, stream, epsilon=0.0, seed=0, device=CPU, **options)


def test_episode_without_an_end_is_cut_and_the_other_episodes_stay_as_they_are():
    """Environment 0 never ends. The three environments play 2, 2 and 1 of the 5 episodes."""
    progress: list[EvaluationProgress] = []
    result = evaluate_greedily(stream_of(ENDLESS, 4, 6), episodes=5, max_steps=50, after_row=progress.append)
    without_limit = evaluate_greedily(stream_of(4, 6), episodes=3)
    assert result.lengths == [50, 50, 4, 4, 6]
    assert result.lengths[2:] == without_limit.lengths
    assert result.num_cut == 2
    assert result.to_dict()["cut"] == 2
    assert "5 games of 23 steps, 2 of them cut" in str(result)
    assert progress[-1] == EvaluationProgress(5, 5, 101)  # with the row of the reset
    actions = result.returns[0] - sum(0.001 * t for t in range(1, 51))
    assert actions == pytest.approx(round(actions), abs=1e-4)


def test_cut_episode_has_the_value_statistics_of_a_truncated_episode():
    """An environment that truncates its only episode after 50 steps is the oracle."""
    cut = evaluate_greedily(stream_of(ENDLESS, 8), episodes=2, max_steps=50)
    truncated = evaluate_greedily(stream_of(-50, 8), episodes=2)
    assert (cut.returns, cut.lengths) == (truncated.returns, truncated.lengths)
    assert (cut.value, cut.realised) == (truncated.value, truncated.realised)
    assert (cut.num_cut, truncated.num_cut) == (2 - 1, 0)


@pytest.mark.parametrize("length", [50, -50])
def test_limit_that_no_episode_exceeds_changes_nothing(length: int):
    plain = evaluate_greedily(stream_of(length, 7, -3), episodes=7)
    assert evaluate_greedily(stream_of(length, 7, -3), episodes=7, max_steps=50) == plain
    assert evaluate_greedily(stream_of(length, 7, -3), episodes=7, max_steps=49).num_cut == 3


def test_long_evaluation_has_the_same_statistics_in_pieces(monkeypatch: pytest.MonkeyPatch):
    plain = evaluate_greedily(stream_of(40, -30), episodes=6)
    monkeypatch.setattr("rl_lab.training.evaluation.COMPACTED_ROWS", 7)
    assert evaluate_greedily(stream_of(40, -30), episodes=6) == plain


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_value_is_compared_with_the_discounted_return_that_followed(scale: float):
    """Two environments, one whose episodes terminate and one whose episodes are truncated, with clipped rewards.

    The return of a terminated episode ends with 0, that of a truncated one with the value of its last observation.
    """
    agent = untrained_agent(2, gamma=0.8, reward_clip=0.5, reward_scale=scale)
    result = evaluate(agent, stream_of(7, -5), episodes=4, epsilon=0.0, seed=0, device=CPU)

    stream = stream_of(7, -5)
    carry = agent.initial_carry(2)
    row = stream.reset(0)
    values: list[float] = []
    returns: list[float] = []
    episodes: list[list[tuple[float, float]]] = [[], []]  # (value, clipped reward) of the running episode
    for _ in range(2 * 8):  # two episodes of 7 steps, each with its last observation
        with torch.no_grad():
            output, carry = agent.policy_output(torch.from_numpy(row.obs), torch.from_numpy(row.is_first), carry)
        previous_row = row
        action = output.action.numpy()
        stream.send(action)
        row = stream.recv()
        for i in range(2):
            value = float(output.value[i])
            if not previous_row.is_last[i]:
                reward = min(scale * (0.001 * len(episodes[i]) + 0.001 + action[i]), 0.5)
                episodes[i].append((value, reward))
                continue
            discounted = value if i == 1 else 0.0
            for earlier_value, reward in reversed(episodes[i]):
                discounted = reward + 0.8 * discounted
                values.append(earlier_value)
                returns.append(discounted)
            episodes[i] = []
    assert len(values) == 2 * 7 + 2 * 5
    assert result.value == pytest.approx(np.mean(values), rel=1e-5)
    assert result.realised == pytest.approx(np.mean(returns), rel=1e-5)


class Countdown(gymnasium.Env):
    """An environment with episodes of random lengths. The observation is the number of steps left, every reward is 1.

    The lengths are from 1 to `max_length`.
    """

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self.observation_space = Box(0, np.inf, (1,), np.float32)
        self.action_space = Discrete(2)
        self.left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, self.max_length + 1))
        return np.array([self.left], np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return np.array([self.left], np.float32), 1.0, self.left == 0, False, {}


class ExactAgent:
    """An agent that knows V = 1 + gamma + ... + gamma^(left - 1) of every state of `Countdown`."""

    value_scaling = ValueScaling(gamma=0.9)

    def initial_carry(self, n: int) -> Carry:
        return ()

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        left = obs[:, 0]
        value = (1 - 0.9**left) / (1 - 0.9)
        return PolicyOutput(torch.zeros(len(left), dtype=torch.int64), torch.zeros(len(left), 2), value), carry


@pytest.mark.parametrize(("episodes", "seed"), [(3, 0), (4, 1), (7, 2), (20, 3)])
def test_value_and_realised_are_means_over_the_states_of_the_counted_episodes(episodes: int, seed: int):
    """An environment with short episodes plays many more than its share while another plays a long one."""
    makers = [lambda length=length: Countdown(length) for length in (2, 5, 60)]
    stream = Stream(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP))
    result = evaluate(ExactAgent(), stream, episodes=episodes, epsilon=0.0, seed=seed, device=CPU)
    values: list[float] = []
    for length in result.lengths:
        values += [sum(0.9**i for i in range(left)) for left in range(length, 0, -1)]
    assert result.value == pytest.approx(np.mean(values), rel=1e-5)
    assert result.realised == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("agent_name", ["dqn", "reinforce"])
def test_evaluation_of_a_run_uses_the_statistics_of_training(agent_name: str, train: Any):
    """Episodes, values and returns are those of the evaluation that training made with its own agent.

    With statistics that are not those of training, the agent plays other episodes.
    """
    run = train(agent_name, normalize_obs=True, normalize_reward=True, steps=1000, eval_episodes=3, eval_epsilon=0)
    line = next(line for line in reversed(run.metrics()) if "eval/value" in line)
    loaded = api.load_agent(run, which="last")
    statistics = find_normalization(loaded.network)
    assert statistics is not None
    assert 500 < float(statistics.count) < 1200
    seed = np.random.SeedSequence([run.config.run.seed, line["global_step"]]).generate_state(1)[0] >> 1
    options = api.EvaluationOptions(episodes=3, seed=int(seed))
    result = api.evaluate_agent(run, loaded, options)
    assert result.mean == line["eval/return_mean"]
    assert (result.value, result.realised) == pytest.approx((line["eval/value"], line["eval/realised"]), rel=1e-5)
    assert result.realised < 0.5 * result.mean
    statistics.mean += 1
    assert api.evaluate_agent(run, loaded, options).value != pytest.approx(result.value, rel=1e-3)


class SeedRecorder(NumberedSteps):
    """An environment that records the seeds of its resets, in training and in evaluations."""

    in_evaluation = False
    training_seeds: ClassVar[set[int]] = set()
    evaluation_seeds: ClassVar[set[int]] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if seed is not None:
            seeds = SeedRecorder.evaluation_seeds if SeedRecorder.in_evaluation else SeedRecorder.training_seeds
            seeds.add(seed)
        return super().reset(seed=seed, options=options)


def evaluate_recorded(*args: Any, **options: Any) -> Evaluation:
    """Evaluate, and let the environments know."""
    SeedRecorder.in_evaluation = True
    try:
        return evaluate(*args, **options)
    finally:
        SeedRecorder.in_evaluation = False


def test_evaluations_use_no_environment_seed_of_training(train: Any, monkeypatch: pytest.MonkeyPatch):
    """Evaluations are those during training, and those of `evaluate` with the seed of training and with another one."""
    monkeypatch.setattr(hooks, "evaluate", evaluate_recorded)
    monkeypatch.setattr(evaluation, "evaluate", evaluate_recorded)
    run = train(env=SeedRecorder, seed=5, num_envs=4, steps=600, eval_every=200)
    during_training = set(SeedRecorder.evaluation_seeds)
    for seed in (5, 6):
        rl_lab.evaluate(run, env=SeedRecorder, seed=seed, episodes=4)
    assert len(during_training) >= 3 * 4
    assert len(SeedRecorder.evaluation_seeds - during_training) == 2 * 4
    assert len(SeedRecorder.training_seeds) >= 4
    assert not SeedRecorder.training_seeds & SeedRecorder.evaluation_seeds
