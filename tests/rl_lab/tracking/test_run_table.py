"""The table of several runs."""

import io
from pathlib import Path

from rich.console import Console

from rl_lab.experiment.run import Run
from rl_lab.tracking.run_table import RunRow, RunTable, render_table

ERROR = "RuntimeError: [enforce fail at alloc_cpu.cpp:117] see [/tmp/x]"


def make_console() -> tuple[Console, io.StringIO]:
    """Return a console that is no terminal, and the text that is printed on it."""
    output = io.StringIO()
    return Console(file=output, width=200), output


def test_table_shows_brackets_unchanged():
    console, output = make_console()
    console.print(render_table([RunRow("lr=[1]", "failed", None, error=ERROR)], "group [a]"))
    for text in (ERROR, "lr=[1]", "group [a]"):
        assert text in output.getvalue()


def test_without_a_terminal_each_change_of_a_started_run_is_printed_once(tmp_path: Path) -> None:
    """A running run is printed as soon as its folder exists. A waiting run is not printed."""
    console, output = make_console()
    with RunTable(console, "group") as table:
        for run in (None, Run(tmp_path), Run(tmp_path)):
            table.update([RunRow("seed 1", "running", run), RunRow("seed 2", "waiting", None)])
        table.update([RunRow("seed 1", "done", Run(tmp_path)), RunRow("seed 2", "failed", None, error=ERROR)])
    assert output.getvalue().splitlines() == ["seed 1 running", "seed 1 done", f"seed 2 failed: {ERROR}"]


def trial(number: int, state: str, node: str = "") -> RunRow:
    settings = {"replay_ratio": "8", "lr": f"{number}e-05"}
    return RunRow(f"trial {number}", state, None, node, settings=settings)


def test_settings_of_trials_are_columns_and_fit_80_columns() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80)
    rows = [trial(number, "ended early") for number in range(3)]
    console.print(render_table(rows, "group a", 80))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    found = [line.split() for line in lines if line.startswith("trial")]
    assert found == [["trial", str(number), "ended", "early", "8", f"{number}e-05"] for number in range(3)]


def test_settings_that_do_not_fit_are_left_out_from_the_last_one_on() -> None:
    settings = {f"setting_number_{number}": "0.00012345" for number in range(9)}
    output = io.StringIO()
    Console(file=output, width=80).print(render_table([RunRow("a", "done", None, settings=settings)], "", 80))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in output.getvalue()
    shown = [word for line in lines for word in line.split() if word.isdecimal()]
    assert shown == [str(number) for number in range(len(shown))]
    assert len(shown) >= 5


def test_nodes_are_shown_only_if_there_are_several() -> None:
    console, output = make_console()
    console.print(render_table([trial(1, "done", "10.0.0.1"), trial(2, "done", "10.0.0.1")], "group"))
    assert "10.0.0.1" not in output.getvalue()
    console.print(render_table([trial(1, "done", "10.0.0.1"), trial(2, "done", "10.0.0.2")], "group"))
    assert "10.0.0.1" in output.getvalue()


def test_lines_name_the_settings_of_a_trial() -> None:
    console, output = make_console()
    with RunTable(console, "group") as table:
        table.update([trial(1, "ended early", "10.0.0.1")])
    assert output.getvalue() == "trial 1 replay_ratio=8 lr=1e-05 ended early\n"


def test_a_run_whose_node_alone_changes_is_not_printed_again() -> None:
    """Ray names the node of a trial after its first report, and no node after the trial was stopped."""
    console, output = make_console()
    with RunTable(console, "group") as table:
        for node in ("", "10.0.0.1", ""):
            table.update([trial(1, "ended early", node), trial(2, "ended early", node and "10.0.0.2")])
    assert [line.split()[1] for line in output.getvalue().splitlines()] == ["1", "2"]
