"""The evaluator's games."""

import json

import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.base import RowSpec
from agents.dqn import DQN, DQNConfig
from envs.stream import Stream
from envs.toy import NumberedSteps
from rl_lab.evaluation import evaluate

CPU = torch.device("cpu")


def untrained(num_envs):
    return DQN(DQNConfig(hidden=4), RowSpec((3,), torch.float32, 2, num_envs), seed=0, device=CPU)


def stream_of(*lengths):
    makers = [lambda n=n: NumberedSteps(lengths=(n,)) for n in lengths]
    return Stream(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP))


def test_each_environment_plays_a_fixed_share():
    """Games of 1 step and of 9: five games in two environments are 3 and 2, not the first five to end."""
    result = evaluate(untrained(2), stream_of(1, 9), episodes=5, epsilon=0.0, seed=0, device=CPU)
    assert result.lengths == [1, 1, 1, 9, 9]
    assert json.loads(json.dumps(result.to_dict()))["episodes"] == 5


def test_scores_are_raw_sums_and_epsilon_is_the_evaluators_own():
    """Reward 0.001 t + action: a greedy agent of constant choice, and one that always draws at random."""
    agent = untrained(1)
    state = agent.generator.get_state()
    greedy = evaluate(agent, stream_of(100), episodes=3, epsilon=0.0, seed=0, device=CPU)
    random = evaluate(agent, stream_of(100), episodes=3, epsilon=1.0, seed=0, device=CPU)
    assert torch.equal(agent.generator.get_state(), state)
    times = sum(0.001 * t for t in range(1, 101))
    chosen = [round(score - times, 3) for score in greedy.returns]
    drawn = [round(score - times, 3) for score in random.returns]
    assert all(0 <= c <= 100 and c == int(c) for c in chosen)
    assert all(25 < d < 75 for d in drawn)
