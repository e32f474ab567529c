"""Tests of the table of a sweep's trials."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest

from rl_lab.sweep import trial_table
from rl_lab.sweep.trial_table import TrialTable


def trial(trial_id: str, **settings: float) -> SimpleNamespace:
    """Return what the table reads of a trial of Tune that waits."""
    params = {"path": trial_id, "settings": settings}
    return SimpleNamespace(
        trial_id=trial_id, config=params, status="PENDING", last_result=None, num_failures=0, node_ip=None
    )


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the trials whose parameters were checked."""
    names: list[str] = []

    def from_params(params: dict, trial_id: str) -> SimpleNamespace:
        names.append(trial_id)
        run = SimpleNamespace(env="CartPole-v1", seed=1)
        config = SimpleNamespace(agent="dqn", run=run)
        return SimpleNamespace(path=Path(params["path"]), label="", config=config)

    monkeypatch.setattr(trial_table.TrialSpec, "from_params", from_params)
    return names


def test_parameters_of_a_trial_are_checked_once(parsed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The check of all settings of many trials would take a part of a core from the trainings."""
    table = TrialTable("group test")
    trials = [trial("a", lr=1e-3), trial("b", lr=2e-3)]
    for _ in range(3):
        table.on_step_end(0, trials)  # type: ignore[arg-type]
        table.table.next_update = 0.0  # type: ignore[union-attr]  # do not wait for a second
    table.on_experiment_end(trials)  # type: ignore[arg-type]
    assert parsed == ["a", "b"]


def test_changed_parameters_are_checked_again(parsed: list[str]) -> None:
    """A population changes the settings of its members, perhaps in place."""
    table = TrialTable("group test")
    member = trial("a", lr=1e-3)
    assert table._row(member).settings == {"lr": "0.001"}  # type: ignore[arg-type]
    member.config["settings"]["lr"] = 5e-3
    assert table._row(member).settings == {"lr": "0.005"}  # type: ignore[arg-type]
    member.config = copy.deepcopy(member.config)
    table._row(member)  # type: ignore[arg-type]
    assert parsed == ["a", "a"]


def test_a_stopped_sweep_prints_the_last_state_of_a_trial_once(
    parsed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """After a signal, Tune sets the status of a trial to TERMINATED and forgets its node."""
    table = TrialTable("group test")
    running = trial("a")
    running.status = "RUNNING"
    running.node_ip = "10.0.0.1"
    table.on_step_end(0, [running])  # type: ignore[arg-type]
    running.status = "TERMINATED"
    running.node_ip = None
    table.on_experiment_end([running])  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == ["dqn CartPole-v1 s1 running"]
