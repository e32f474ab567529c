"""The table of several runs."""

import io

from rich.console import Console

from rl_lab.experiment.run import Run
from rl_lab.tracking.run_table import Board, Line, table

ERROR = "RuntimeError: [enforce fail at alloc_cpu.cpp:117] see [/tmp/x]"


def test_what_stands_in_brackets_is_shown_as_it_is():
    console = Console(file=io.StringIO(), width=200)
    console.print(table([Line("lr=[1]", "failed", None, error=ERROR)], "group [a]"))
    assert all(words in console.file.getvalue() for words in (ERROR, "lr=[1]", "group [a]"))


def test_each_change_is_told_once_where_there_is_no_terminal(tmp_path):
    """A run is known by its folder as soon as it has one; that it runs is not told twice."""
    console = Console(file=io.StringIO(), width=200)
    with Board(console, "group") as board:
        for run in (None, Run(tmp_path), Run(tmp_path)):
            board.update([Line("seed 1", "runs", run), Line("seed 2", "waits", None)])
        board.update([Line("seed 1", "done", Run(tmp_path)), Line("seed 2", "failed", None, error=ERROR)])
    assert console.file.getvalue().splitlines() == ["seed 1 runs", "seed 1 done", f"seed 2 failed: {ERROR}"]
