"""The table of `compare` on terminals of different widths."""

import pytest
from rich.console import Console

from rl_lab.cli import comparison_report
from rl_lab.compare.comparison import GroupSummary
from rl_lab.compare.statistics import Estimate
from rl_lab.tracking import fitted_table

ALL = [
    *("agent", "env", "seeds", "final", "best", "normalised", "target", "seeds at", "steps to", "minutes to"),
    "steps/s",
]


def summary(agent: str) -> GroupSummary:
    """Return a row with a target and without an optimum."""
    score = Estimate(469.4, 401.25, 500.0)
    scaled = Estimate(0.98, 0.84, 1.05)
    return GroupSummary(
        agent, "CartPole-v1", [1, 2, 3, 4, 5], score, score, 475.0, 5, 120_000.0, 3.5, 1234.0, scaled, None, None
    )


def print_table(
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    *,
    wide: bool = False,
    terminal: bool = True,
    label: str = "double_dqn lr=0.001",
) -> None:
    """Print the table of two groups on a console of a given width."""
    for module in (fitted_table, comparison_report):
        monkeypatch.setattr(
            module,
            "Console",
            lambda **options: Console(**{"width": width, **options}, force_terminal=terminal, color_system=None),
        )
    comparison_report._print_table([summary("dqn"), summary(label)], wide=wide)


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_a_terminal_shows_one_line_for_each_group(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(monkeypatch, width)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "CartPole-v1" in line]
    assert [row.split()[0] for row in rows] == ["dqn", "double_dqn"]
    assert all("469.40 (401.25 to 500.00)" in row for row in rows)


def test_the_columns_left_out_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(monkeypatch, 80)
    out = " ".join(capsys.readouterr().out.split())
    assert "--wide shows more columns: best, normalised, target," in out
    assert "optimum" not in out, "a column without numbers is not left out: it does not exist"


def test_labels_of_many_settings_are_numbered_and_stand_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"setting_{number}=0.000123" for number in range(8)]
    print_table(monkeypatch, 80, label=" ".join(["dqn", *settings]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    rows = [line for line in out.splitlines() if "CartPole-v1" in line]
    assert [row.split("CartPole-v1")[0].strip() for row in rows] == ["dqn", "dqn 1"]
    assert all("469.40 (401.25 to 500.00)" in row for row in rows)
    assert " ".join(["dqn 1:", *settings]) in " ".join(out.split())


@pytest.mark.parametrize(("wide", "terminal"), [(True, True), (False, False)])
def test_wide_and_files_have_all_columns_in_one_line(
    wide: bool, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(monkeypatch, 80, wide=wide, terminal=terminal)
    heading, *rows = capsys.readouterr().out.splitlines()
    for name in ALL:
        assert name in heading
    assert len(rows) == 2
