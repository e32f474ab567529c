"""The evaluator's games."""

import json
import weakref

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_envs import NumberedSteps

from agents.core.types import EnvSpaces
from agents.dqn import DQN, DQNConfig
from envs.stream import Stream
from rl_lab.training.evaluation import evaluate

CPU = torch.device("cpu")


def untrained(num_envs):
    return DQN(DQNConfig(hidden=4), EnvSpaces((3,), torch.float32, 2, num_envs), seed=0, device=CPU)


def stream_of(*lengths):
    makers = [lambda n=n: NumberedSteps(lengths=(n,)) for n in lengths]
    return Stream(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP))


def test_each_environment_plays_a_fixed_share():
    """Games of 1 step and of 9: five games in two environments are 3 and 2, not the first five to end."""
    result = evaluate(
        untrained(2), stream_of(1, 9), episodes=5, epsilon=0.0, seed=0, device=CPU, value_scaling=(0.9, 0)
    )
    assert result.lengths == [1, 1, 1, 9, 9]
    assert json.loads(json.dumps(result.to_dict()))["episodes"] == 5


def test_scores_are_raw_sums_and_epsilon_is_the_evaluators_own():
    """Reward 0.001 t + action: a greedy agent of constant choice, and one that always draws at random."""
    agent = untrained(1)
    state = agent.generator.get_state()
    greedy = evaluate(agent, stream_of(100), episodes=3, epsilon=0.0, seed=0, device=CPU, value_scaling=(0.9, 0))
    random = evaluate(agent, stream_of(100), episodes=3, epsilon=1.0, seed=0, device=CPU, value_scaling=(0.9, 0))
    assert torch.equal(agent.generator.get_state(), state)
    times = sum(0.001 * t for t in range(1, 101))
    chosen = [round(score - times, 3) for score in greedy.returns]
    drawn = [round(score - times, 3) for score in random.returns]
    assert all(0 <= c <= 100 and c == int(c) for c in chosen)
    assert all(25 < d < 75 for d in drawn)


def test_a_long_game_keeps_no_pictures(monkeypatch):
    stream, seen, alive = stream_of(50), [], []
    receive = stream.recv

    def recv():
        row = receive()
        seen.append(weakref.ref(row.obs if row.obs.base is None else row.obs.base))  # who owns the memory
        return row

    def count():
        alive.append(sum(obs() is not None for obs in seen))

    monkeypatch.setattr(stream, "recv", recv)
    evaluate(untrained(1), stream, episodes=1, epsilon=0.0, seed=0, device=CPU, value_scaling=(0.9, 0), each_row=count)
    assert len(alive) >= 50
    assert max(alive) <= 2


def test_values_are_compared_with_the_discounted_returns_that_came():
    """Games that terminate and games that are truncated, rewards clipped; a terminated return ends with 0, a truncated with V."""
    agent = untrained(2)
    result = evaluate(agent, stream_of(7, -5), episodes=4, epsilon=0.0, seed=0, device=CPU, value_scaling=(0.8, 0.5))
    stream, carry = stream_of(7, -5), agent.initial_carry(2)
    row, expected, realised = stream.reset(0), [], []
    games = [[], []]  # (value, clipped reward) of the present game
    for _ in range(2 * 8):  # two games of 7 steps, and their dead rows
        with torch.no_grad():
            thought, carry = agent.policy_output(torch.from_numpy(row.obs), torch.from_numpy(row.is_first), carry)
        now, action = row, thought.action.numpy()
        stream.send(action)
        row = stream.recv()
        for i in range(2):
            if now.is_last[i]:
                ret = float(thought.value[i]) if i == 1 else 0.0
                for value, reward in reversed(games[i]):
                    ret = reward + 0.8 * ret
                    expected.append(value)
                    realised.append(ret)
                games[i] = []
            else:
                games[i].append((float(thought.value[i]), min(0.001 * len(games[i]) + 0.001 + action[i], 0.5)))
    assert len(expected) == 2 * 7 + 2 * 5
    assert result.value == pytest.approx(np.mean(expected), rel=1e-5)
    assert result.realised == pytest.approx(np.mean(realised), rel=1e-5)
