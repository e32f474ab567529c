"""Tests of the command `list`."""

from __future__ import annotations

import pytest

from rl_lab.cli.listing import list_command
from rl_lab.experiment.registry import agents


def test_papers_of_all_agents_begin_in_one_column(capsys: pytest.CaptureFixture[str]):
    list_command(["agents"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(agents())
    columns = set()
    for line in lines:
        name = line.split()[0]
        assert line.endswith(agents()[name].paper)
        columns.add(len(line) - len(agents()[name].paper))
    assert columns == {max(map(len, agents())) + 2}


def test_lines_for_a_terminal_break_between_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    list_command([])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    words = " ".join(lines).split()
    for text in (*agents(), "MontezumaRevenge", "MountainCarContinuous-v0", "LostSales-v0"):
        assert text in words


def test_a_file_receives_one_environment_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    list_command(["envs"])
    lines = capsys.readouterr().out.splitlines()
    for name in ("  Pong", "  CartPole-v1", "  LostSales-v0"):
        assert name in lines


def test_presets_of_an_agent_include_those_of_the_file_that_it_extends(capsys: pytest.CaptureFixture[str]) -> None:
    list_command(["presets", "double_dqn"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("double_dqn --preset default: ")
    assert any(line.startswith("double_dqn --preset paper: ") for line in lines)
    assert "Pong" in lines[0].split(": ")[1].split(", ")


def test_an_agent_without_presets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    list_command(["presets"])
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert shown == set(agents())
