"""Tests that tabular agents learn Blackjack, against the exact value of their policies (tests/blackjack.py)."""

from __future__ import annotations

import blackjack
import gymnasium
import pytest
import torch

from envs.make import make_stream, resolve
from rl_lab.experiment import config as configuration
from rl_lab.experiment.factory import make_agent
from rl_lab.training.overlapped_loop import OverlappedLoop

CPU = torch.device("cpu")


def test_best_policy_is_the_published_one():
    """Sutton and Barto 2018, figure 5.2."""
    value, actions = blackjack.solve()
    assert -0.06 < value < -0.03
    assert actions[(12, 4, False)] == blackjack.STICK
    assert actions[(12, 3, False)] == blackjack.HIT
    assert actions[(16, 6, False)] == blackjack.STICK
    assert actions[(16, 7, False)] == blackjack.HIT
    assert actions[(17, 1, False)] == blackjack.STICK
    assert actions[(18, 8, True)] == blackjack.STICK
    assert actions[(18, 9, True)] == blackjack.HIT


def test_value_of_a_bad_policy_is_that_of_simulated_games():
    """The value of sticking at 20 and 21 only (Sutton and Barto 2018, example 5.1), against the environment itself."""
    value, _ = blackjack.solve(lambda state: blackjack.STICK if state[0] >= 20 else blackjack.HIT)
    env = gymnasium.make("Blackjack-v1")
    env.reset(seed=1)
    total = 0.0
    games = 20_000
    for _ in range(games):
        (player, _, _), _ = env.reset()
        terminated = False
        while not terminated:
            (player, _, _), reward, terminated, _, _ = env.step(int(player < 20))
            total += float(reward)
    assert value == pytest.approx(total / games, abs=0.02)


def learned_value(agent_name: str, seed: int) -> float:
    """Train an agent with its own settings, and return the exact value of its greedy policy."""
    env_spec = resolve("Blackjack-v1")
    config = configuration.resolve(agent_name, env_spec, {"seed": seed})
    agent = make_agent(config, env_spec, CPU)
    loop = OverlappedLoop(agent, make_stream(env_spec, config.run.num_envs, seed=seed), CPU, seed=seed)
    steps = 0
    while steps < config.run.steps:
        steps += loop.step().num_active
    loop.close()

    def greedy(state: blackjack.State) -> int:
        total, dealer_card, usable = state
        obs = torch.zeros(1, 45)
        obs[0, [total, 32 + dealer_card, 32 + 11 + int(usable)]] = 1
        output, _ = agent.policy_output(obs, torch.ones(1, dtype=torch.bool), ())
        return int(output.action)

    return blackjack.solve(greedy)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "agent", ["tabular_q_learning", "tabular_sarsa", "tabular_expected_sarsa", "tabular_sarsa_lambda"]
)
def test_tabular_agent_plays_nearly_as_well_as_the_best_policy(agent):
    best, _ = blackjack.solve()
    assert learned_value(agent, seed=1) > best - 0.02
