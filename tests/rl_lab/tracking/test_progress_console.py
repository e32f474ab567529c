"""The console of progress displays in a notebook."""

import sys
import types
from typing import Any

import pytest
from rich.progress import Progress

from rl_lab.tracking.progress_console import ProgressConsole


class Output:
    """The part of ipywidgets.Output that rich uses: a context in which outputs replace the previous ones."""

    entered = 0

    def __enter__(self) -> None:
        Output.entered += 1

    def __exit__(self, *_: object) -> None:
        pass

    def clear_output(self, wait: bool = False) -> None:
        pass


@pytest.fixture
def shown(monkeypatch: Any) -> list[object]:
    """Install stand-ins for IPython and ipywidgets, and return what they display."""
    shown: list[object] = []
    modules: dict[str, Any] = {name: types.ModuleType(name) for name in ("IPython", "IPython.display", "ipywidgets")}
    modules["IPython.display"].display = shown.append
    modules["ipywidgets"].Output = Output
    modules["ipywidgets"].__spec__ = types.SimpleNamespace(name="ipywidgets")
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return shown


def test_a_notebook_shows_a_bar_in_one_output(shown: list[object]):
    console = ProgressConsole(force_jupyter=True)
    assert console.is_terminal
    with Progress(console=console) as bar:
        task = bar.add_task("", total=10)
        bar.update(task, completed=10, refresh=True)
    assert sum(isinstance(output, Output) for output in shown) == 1
    assert Output.entered > 1  # drawn more than once in the same place


def test_a_notebook_without_ipywidgets_gets_lines(monkeypatch: Any):
    monkeypatch.setattr("rl_lab.tracking.progress_console.find_spec", lambda name: None)
    assert not ProgressConsole(force_jupyter=True).is_terminal


def test_a_file_gets_lines():
    assert not ProgressConsole(force_jupyter=False, force_terminal=False).is_terminal
    assert ProgressConsole(force_jupyter=False, force_terminal=True).is_terminal
