"""The progress bar of a notebook, with a stand-in for IPython's display."""

import sys
import types
from typing import Any

import pytest

from rl_lab.tracking import progress
from rl_lab.tracking.progress import ProgressDisplay, ProgressStatus

Content = dict[str, str]


class Handle:
    """IPython's DisplayHandle: replaces an output."""

    def __init__(self, outputs: list[Content], index: int) -> None:
        self.outputs = outputs
        self.index = index

    def update(self, content: Content, *, raw: bool) -> None:
        assert raw
        self.outputs[self.index] = content


@pytest.fixture
def outputs(monkeypatch: Any) -> list[Content]:
    """Make the process a notebook, and return the outputs of its cell."""
    outputs: list[Content] = []

    def display(content: Content, *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        outputs.append(content)
        return Handle(outputs, len(outputs) - 1)

    module: Any = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "is_notebook", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)  # as ipykernel's stream says
    return outputs


def test_the_bar_is_redrawn_in_one_output(outputs: list[Content], capsys: Any):
    with ProgressDisplay(200) as display:
        display.show(ProgressStatus(step=0))
        display.print_line("eval at step 50")
        display.show(ProgressStatus(step=50, steps_per_s=10, last_eval=1.5, activity="evaluating: 1 < 2"))
    assert len(outputs) == 1
    bar, speed, scores = outputs[0]["text/plain"].splitlines()
    assert bar.rstrip() == "━" * 10
    assert len(bar) == 40
    assert speed.split() == ["25%", "50", "steps", "10", "steps/s", "ETA", "0:00:15"]
    assert scores == "evaluating: 1 < 2  eval 1.50"
    assert '<progress value="25" max="100"' in outputs[0]["text/html"]
    assert "evaluating: 1 &lt; 2  eval 1.50" in outputs[0]["text/html"]
    assert capsys.readouterr().out == "eval at step 50\n"


def test_two_runs_have_two_bars(outputs: list[Content]):
    for step in (10, 20):
        with ProgressDisplay(100) as display:
            display.show(ProgressStatus(step=step))
    assert [output["text/plain"].count("━") for output in outputs] == [4, 8]


def test_quiet_shows_no_bar(outputs: list[Content], capsys: Any):
    with ProgressDisplay(100, quiet=True) as display:
        display.show(ProgressStatus(step=10))
    assert outputs == []
    assert capsys.readouterr().out == ""


def test_a_file_gets_lines(capsys: Any):
    with ProgressDisplay(100) as display:
        display.show(ProgressStatus(step=10))
    assert capsys.readouterr().out == "step 10/100  0 steps/s  ETA -:--:--\n"
