"""Tests of sweeps whose files are damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.make import resolve
from rl_lab.errors import LabError
from rl_lab.experiment import config
from rl_lab.experiment.run import Run
from rl_lab.sweep.status import sweep_rows
from rl_lab.sweep.sweep import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """A grid of two runs, which exist."""
    env_spec = resolve("CartPole-v1")
    trials = []
    for seed in (1, 2):
        settings = {"seed": seed, "group": "study", "runs_dir": str(tmp_path / "runs"), "env": "CartPole-v1"}
        run = Run.create(config.resolve("dqn", env_spec, settings), env_spec)
        trials.append({"path": str(run.path)})
    sweep = Sweep("grid", "20260101-000000", "study", str(tmp_path / "runs"), 1.0, 0.0, 3, {"trials": trials})
    sweep.write()
    return sweep


def test_a_damaged_run_is_a_row_with_its_error(sweep: Sweep):
    damaged = Path(sweep.request["trials"][0]["path"])
    (damaged / "config.yaml").write_text("agent: dqn\na_key_of_2030: 1\n")
    rows = {row.name: row for row in sweep_rows(sweep)}
    assert rows[damaged.name].state == "unreadable"
    assert "unknown setting 'a_key_of_2030'" in rows[damaged.name].error
    assert [row.state for name, row in rows.items() if name != damaged.name] == ["not done"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: "[" * 50_000,
        lambda content: "[]",
        lambda content: "3",
        lambda content: "{}",
        lambda content: json.dumps({**content, "kind": "lattice"}),
        lambda content: json.dumps({**content, "group": 3}),
        lambda content: json.dumps({**content, "retries": "many"}),
        lambda content: json.dumps({**content, "asked": []}),
        lambda content: json.dumps({**content, "asked": {"trials": 3}}),
        lambda content: json.dumps({**content, "asked": {"trials": [{}]}}),
    ],
)
def test_a_damaged_sweep_is_one_line(change: Callable[[Any], str], sweep: Sweep):
    file = sweep.path / "sweep.json"
    file.write_text(change(json.loads(file.read_text())))
    with pytest.raises(LabError, match=r"is no sweep: .*sweep.json") as error:
        Sweep.read(str(sweep.path))
    assert "\n" not in str(error.value)
