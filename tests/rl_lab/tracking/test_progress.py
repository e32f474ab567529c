"""The progress of a run: two lines on a terminal, one line elsewhere."""

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rl_lab.tracking.progress import ProgressDisplay, ProgressStatus

FULL = ProgressStatus(
    step=370_000,
    steps_per_s=1234.4,
    return_100=195.333,
    epsilon=0.01,
    entropy=None,
    last_eval=200.0,
    best_eval=210.0,
    solved_at=250_000,
)


def screen_lines(status: ProgressStatus, total: int, width: int) -> list[str]:
    """Return the lines that a terminal of `width` columns shows."""
    display = ProgressDisplay(total)
    output = io.StringIO()
    display.console = Console(file=output, width=width, highlight=False)
    display.status = status
    display.console.print(display._render())
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_80_columns_show_all_numbers_in_two_lines() -> None:
    lines = screen_lines(FULL, 1_000_000, 80)
    assert len(lines) == 2
    for text in ("━", " 37%", "370,000 steps", "1,234 steps/s", "ETA 0:08:30", "solved at 250,000"):
        assert text in lines[0]
    assert lines[1] == "return of 100 games 195.33  eval 200.00, best 210.00  epsilon 0.010"


def test_an_evaluation_in_progress_is_shown_first() -> None:
    status = ProgressStatus(return_100=1.0, last_eval=2.0, activity="evaluating: 3/10 episodes, row 120")
    assert screen_lines(status, 100, 80)[1] == "evaluating: 3/10 episodes, row 120  return of 100 games 1.00  eval 2.00"
    assert "evaluating: 3/10 episodes" in status.line(100)


def test_numbers_that_do_not_exist_yet_are_left_out() -> None:
    assert ProgressStatus().line(100) == "step 0/100  0 steps/s  ETA -:--:--"


@given(
    width=st.integers(40, 200),
    score=st.floats(-1e7, 1e7),
    step=st.integers(0, 10**9),
    activity=st.sampled_from(["", "evaluating: 3/10 episodes, row 1,200"]),
)
def test_no_number_is_cut_at_any_width(width: int, score: float, step: int, activity: str) -> None:
    """The second line is a prefix of the list of complete parts."""
    status = ProgressStatus(step, 100.0, score, 0.5, None, score, score, None, activity)
    line = status.score_line(width)
    parts = [activity] if activity else []
    parts += [f"return of 100 games {score:.2f}", f"eval {score:.2f}, best {score:.2f}", "epsilon 0.500"]
    assert line in set(itertools.accumulate(parts, lambda a, b: f"{a}  {b}"))
    assert len(line) <= width


@pytest.mark.parametrize(("step", "percent"), [(0, 0), (999, 99), (1000, 100), (1007, 100)])
def test_percent_is_100_only_at_the_end(step: int, percent: int) -> None:
    assert ProgressStatus(step).percent(1000) == percent


def test_lines_above_the_bar_are_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats the output as a terminal
    display = ProgressDisplay(100)
    output = io.StringIO()
    display.console = Console(file=output, width=20, force_terminal=True, no_color=True)
    display.print_line("one two three four five /a/path/that/is/longer/than/a/line")
    assert output.getvalue().splitlines() == [
        "one two three four",
        "  five",
        "  /a/path/that/is/longer/than/a/line",
    ]


def test_without_a_terminal_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    text = "word " * 50
    ProgressDisplay(100).print_line(text)
    assert capsys.readouterr().out.rstrip("\n") == text
