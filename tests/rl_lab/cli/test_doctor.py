"""Tests of the command `doctor`."""

from __future__ import annotations

import pytest

from rl_lab.cli import doctor
from rl_lab.system import diagnosis


@pytest.mark.parametrize(
    ("problems", "last_line", "code"),
    [([], "no problems found", 0), (["wandb is not installed"], "PROBLEM: wandb is not installed", 1)],
    ids=["no problem", "one problem"],
)
def test_doctor_says_whether_there_are_problems(
    problems: list[str],
    last_line: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(diagnosis, "describe_machine", lambda: ["rl_lab 0"])
    monkeypatch.setattr(diagnosis, "find_problems", lambda: problems)
    monkeypatch.setattr(doctor, "_describe_updates", lambda: [])
    with pytest.raises(SystemExit) as stopped:
        doctor.doctor_command([])
    assert stopped.value.code == code
    assert capsys.readouterr().out.splitlines() == ["rl_lab 0", last_line]


def test_doctor_prints_the_machine_before_it_measures_updates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    printed_before: list[str] = []

    def measure() -> list[str]:
        printed_before.append(capsys.readouterr().out)
        return ["updates"]

    monkeypatch.setattr(diagnosis, "describe_machine", lambda: ["rl_lab 0"])
    monkeypatch.setattr(diagnosis, "find_problems", lambda: [])
    monkeypatch.setattr(doctor, "_describe_updates", measure)
    with pytest.raises(SystemExit):
        doctor.doctor_command([])
    assert printed_before == ["rl_lab 0\n"]
    assert capsys.readouterr().out == "updates\nno problems found\n"
