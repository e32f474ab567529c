"""Tests of the warnings about schedules that do not fit the length of a run."""

from __future__ import annotations

from typing import Any

import pytest

from envs.make import resolve as resolve_env
from rl_lab.experiment import config
from rl_lab.experiment.registry import agents

OWN_AGENTS = sorted(name for name in agents() if not name.startswith(("sb3_", "tabular_")))


def warnings(agent: str, env: str, **settings: Any) -> list[str]:
    """Return the warnings of a run with these settings."""
    return config.warnings(config.resolve(agent, resolve_env(env), settings))


@pytest.mark.parametrize("env", ["Pong", "CartPole-v1", "Acrobot-v1"])
def test_the_settings_of_the_lab_fit_their_runs(env: str):
    spec = resolve_env(env)
    for agent in OWN_AGENTS:
        assert config.warnings(config.resolve(agent, spec, {})) == [], agent


@pytest.mark.parametrize("env", ["FrozenLake-v1", "Blackjack-v1"])
def test_the_settings_of_tabular_agents_fit_their_runs(env: str):
    assert warnings("tabular_sarsa", env) == []


@pytest.mark.parametrize("agent", ["ppo", "dqn", "pqn"])
def test_a_learning_rate_that_ends_long_before_the_run_is_named(agent: str):
    """Settings for 200,000 steps, in a run that a person makes five times as long."""
    (warning,) = warnings(agent, "Acrobot-v1", steps=1_000_000)
    assert warning.startswith("schedules are too short for 1,000,000 steps: lr is ")
    assert warning.endswith(" from agent step 200,000 on; --lr-steps 1000000 would fit")
    assert warnings(agent, "Acrobot-v1", steps=1_000_000, lr_steps=1_000_000) == []
    assert warnings(agent, "Acrobot-v1", steps=1_000_000, lr_steps=0) == []
    assert warnings(agent, "Acrobot-v1", steps=1_000_000, lr=1e-3, lr_end=1e-3) == []  # nothing changes


def test_schedules_that_a_short_run_cuts_are_named_with_flags_that_fit():
    """dqn on Acrobot: epsilon falls from 1 to 0.02 over 10,000 steps, lr from 5e-4 to 5e-5 over 200,000."""
    expected = (
        "schedules are too long for 5,000 steps: epsilon ends at 0.51 instead of 0.02, lr ends at 0.000489 instead of"
        " 5e-05; --epsilon-steps 3000 --lr-steps 5000 would fit"  # 3,000 is half way between learning_starts and 5,000
    )
    assert warnings("dqn", "Acrobot-v1", steps=5_000) == [expected]
    assert warnings("dqn", "Acrobot-v1", steps=5_000, epsilon_steps=3_000, lr_steps=5_000) == []
    assert warnings("dqn", "Acrobot-v1", steps=10_000, lr_steps=0) == []  # epsilon reaches its end in the last step


def test_epsilon_that_ends_early_in_a_long_run_is_no_mistake():
    assert warnings("dqn", "Acrobot-v1", steps=10_000_000, lr_steps=0) == []


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (50_000, "priority_beta ends at 0.55 instead of 1"),
        (5_000_000, "priority_beta is 1 from agent step 200,000 on"),
    ],
)
def test_beta_counts_only_with_priorities(steps: int, text: str):
    """Beta of rainbow on Acrobot rises over 200,000 steps."""
    (warning,) = warnings("rainbow", "Acrobot-v1", steps=steps, lr_steps=0)
    assert warning.endswith(f" steps: {text}; --priority-beta-steps {steps} would fit")
    assert warnings("rainbow", "Acrobot-v1", steps=steps, lr_steps=0, priority_alpha=0) == []


def test_noisy_layers_replace_epsilon():
    short = {"steps": 50_000, "learning_starts": 1_000, "priority_alpha": 0}
    assert warnings("rainbow", "Breakout", **short, noisy=True) == []
    (warning,) = warnings("rainbow", "Breakout", **short, noisy=False)
    assert warning.endswith("epsilon ends at 0.802 instead of 0.01; --epsilon-steps 25500 would fit")


def test_a_hold_that_would_outlast_the_new_schedule_is_set_to_0():
    """dqn on Pong: lr falls between the steps 75,000 and 250,000."""
    (warning,) = warnings("dqn", "Pong", steps=60_000)
    assert warning.endswith(" lr ends at 0.001 instead of 0.0001; --lr-hold 0 --lr-steps 60000 would fit")


def test_epsilon_of_tabular_agents_is_named():
    (warning,) = warnings("tabular_sarsa", "FrozenLake-v1", steps=10_000)
    assert warning.endswith("epsilon ends at 0.82 instead of 0.1; --epsilon-steps 5000 would fit")


def test_a_run_without_learning_has_one_warning():
    assert len(warnings("dqn", "Acrobot-v1", steps=900)) == 1
