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
