"""Tests of the choice of threads and precision by the time of updates."""

from __future__ import annotations

import time
from functools import partial

import pytest
import torch

from agents.core.agent import Agent, MeasurableUpdates
from envs.make import resolve
from rl_lab import api
from rl_lab.experiment import config, training_plan
from rl_lab.experiment.factory import env_spaces
from rl_lab.experiment.registry import agents
from rl_lab.experiment.training_plan import TrainingPlan, plan_training
from rl_lab.system import cores as cores_module
from rl_lab.system.update_speed import UpdateSpeed, choose, describe, measure_updates, torch_threads

F32, BF16 = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ({(F32, 1): 24, (F32, 2): 14, (BF16, 1): 12, (BF16, 2): 8}, (BF16, 2)),
        ({(F32, 1): 24, (F32, 2): 23, (BF16, 1): 22, (BF16, 2): 21}, (F32, 1)),
        ({(F32, 1): 77, (F32, 2): 76, (BF16, 1): 69, (BF16, 2): 270}, (F32, 1)),
        ({(F32, 1): 80, (F32, 2): 76, (BF16, 1): 69, (BF16, 2): 270}, (BF16, 1)),
        ({(F32, 1): 10, (F32, 2): 9, (F32, 3): 8, (F32, 4): 4, (F32, 5): 3.5}, (F32, 4)),
    ],
)
def test_the_fewest_threads_within_15_percent_of_the_best_are_chosen(
    milliseconds: dict[tuple[torch.dtype, int], float], expected: tuple[torch.dtype, int]
):
    speeds = [UpdateSpeed(dtype, threads, ms / 1000) for (dtype, threads), ms in milliseconds.items()]
    chosen = choose(speeds)
    assert (chosen.dtype, chosen.threads) == expected


class SleepingUpdates:
    """Updates that take given times, and record the precision and the number of threads of each call."""

    def __init__(self, seconds: dict[torch.dtype, float]):
        self.calls: list[tuple[torch.dtype, int]] = []
        self.updates = {dtype: partial(self._update, dtype, duration) for dtype, duration in seconds.items()}

    def _update(self, dtype: torch.dtype, seconds: float) -> None:
        self.calls.append((dtype, torch.get_num_threads()))
        time.sleep(seconds)


def test_updates_are_measured_in_turn_with_their_threads():
    before = torch.get_num_threads()
    sleeping = SleepingUpdates({F32: 0.02, BF16: 0.01})
    speeds = measure_updates(sleeping.updates, [1, 2], 0.3)
    assert torch.get_num_threads() == before
    assert sleeping.calls[:4] == [(F32, 2), (BF16, 2), (F32, 1), (BF16, 1)]
    rounds = sleeping.calls[4:]
    assert rounds[:4] == [(F32, 1), (F32, 2), (BF16, 1), (BF16, 2)]
    assert rounds == rounds[:4] * (len(rounds) // 4)
    assert [(speed.dtype, speed.threads) for speed in speeds] == rounds[:4]
    assert speeds[0].seconds >= 0.02
    assert 0.01 <= speeds[2].seconds < speeds[0].seconds


def test_slow_updates_are_measured_once():
    sleeping = SleepingUpdates({F32: 0.02})
    measure_updates(sleeping.updates, [1, 2], 0.01)
    assert sleeping.calls == [(F32, 2), (F32, 1), (F32, 1), (F32, 2)]


@pytest.mark.parametrize(("fast", "slow"), [(F32, BF16), (BF16, F32)])
def test_a_hopelessly_slow_precision_is_measured_once_and_not_chosen(fast: torch.dtype, slow: torch.dtype):
    sleeping = SleepingUpdates({fast: 0.005, slow: 0.1})
    speeds = measure_updates(sleeping.updates, [1, 2], 0.5)
    assert [threads for dtype, threads in sleeping.calls if dtype == slow] == [2, 1]
    assert [(speed.dtype, speed.threads) for speed in speeds] == [(fast, 1), (fast, 2), (slow, 1)]
    assert speeds[2].seconds >= 0.1
    assert choose(speeds).dtype == fast


def test_description_lists_all_variants():
    speeds = [UpdateSpeed(F32, 1, 0.0241), UpdateSpeed(F32, 2, 0.014), UpdateSpeed(BF16, 1, 0.009)]
    assert describe(speeds) == "float32 24.1 with 1, 14.0 with 2; bfloat16 9.0 with 1"


@pytest.mark.parametrize("agent", [name for name in agents() if not name.startswith(("sb3", "tabular"))])
@pytest.mark.parametrize("env", ["CartPole-v1", "Taxi-v4", "Pong", "Pendulum-v1"])
def test_example_update_changes_the_network_on_batches_of_the_run(
    agent: str, env: str, monkeypatch: pytest.MonkeyPatch
):
    env_spec = resolve(env)
    abilities = agents()[agent].abilities
    if not (abilities.continuous_actions if env_spec.is_continuous else abilities.discrete_actions):
        pytest.skip("the agent has other actions")
    settings = config.resolve(agent, env_spec, {"batch_size": 4, "filters": 2, "hidden": 8}).settings
    agent_class = agents()[agent].load()
    assert isinstance(agent_class, MeasurableUpdates)
    update = agent_class.example_update(settings, env_spaces(env_spec, 2), device=torch.device("cpu"), dtype=F32)
    made = getattr(update, "func").__self__  # noqa: B009  # pyright does not know that it is a partial
    online = made.online_network if hasattr(made, "online_network") else made.network
    weights = [parameter.clone() for parameter in online.parameters()]
    update()
    update()
    assert made.updates == 2
    assert any(not torch.equal(old, new) for old, new in zip(weights, online.parameters(), strict=True))


def plan_with(monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], cores: int = 2) -> tuple[str, int, int]:
    """Return precision, threads and the number of measured variants of a plan for dqn on small pictures."""
    measured: list[int] = []

    def measure(updates: dict[torch.dtype, object], threads: range | list[int]) -> list[UpdateSpeed]:
        speeds = [UpdateSpeed(dtype, n, 1 / n) for dtype in updates for n in threads]
        measured.append(len(speeds))
        return speeds

    monkeypatch.setattr(training_plan, "measure_updates", measure)
    monkeypatch.setattr(cores_module, "num_cores", lambda: cores)
    resolved = config.resolve("dqn", resolve("Pong"), {"device": "cpu", "replay_size": 100, "filters": 2, **settings})
    with torch_threads(cores):
        run = plan_training(resolved, resolve("Pong")).config.run
    return run.precision, run.torch_threads, sum(measured)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("float32", 2, 4)),
        ({"precision": "bfloat16"}, ("bfloat16", 2, 2)),
        ({"torch_threads": 1}, ("float32", 1, 2)),
        ({"torch_threads": 3, "precision": "float32"}, ("float32", 3, 0)),
        ({"collectors": 1}, ("float32", 1, 2)),
        ({"collectors": 4}, ("float32", 1, 2)),
        ({"collectors": 4, "address": "head:6379"}, ("float32", 2, 4)),
    ],
)
def test_only_what_the_settings_leave_open_is_measured(
    settings: dict[str, object], expected: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch
):
    assert plan_with(monkeypatch, settings) == expected


def test_threads_and_precision_are_saved_and_used_by_a_resumed_run(train, monkeypatch: pytest.MonkeyPatch):
    used: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    run = train(steps=200, eval_every=0, eval_episodes=1, torch_threads=1)
    assert run.config.run.torch_threads == 1
    assert used[0] == 1
    plan = plan_training(run.config, run.env_spec)
    assert plan.compute.threads == 1
    assert not plan.compute.measured


def test_initial_weights_are_made_with_the_threads_of_the_run(train, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    make_agent = TrainingPlan.make_agent

    def make_and_note(plan: TrainingPlan) -> Agent:
        seen.append(torch.get_num_threads())
        return make_agent(plan)

    monkeypatch.setattr(TrainingPlan, "make_agent", make_and_note)
    before = torch.get_num_threads()
    run = train(steps=200, eval_every=0, eval_episodes=1, torch_threads=3)
    api.resume(run, steps=300, quiet=True)
    assert seen == [3, 3]
    assert torch.get_num_threads() == before
