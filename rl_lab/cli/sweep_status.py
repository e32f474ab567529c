"""The command `sweep status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from rl_lab.cli.parsing import parse
from rl_lab.sweep.sweep import Sweep

FILE_WIDTH = 200  # columns of the table where the output is no terminal


@dataclass(frozen=True)
class SweepStatusOptions:
    """The options of `sweep status`."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of the sweep, runs/sweeps/<group>."""


def sweep_status_command(args: list[str]) -> None:
    """Run the command `sweep status`."""
    description = "Show the progress of a sweep, from its run folders."
    options = parse(SweepStatusOptions, args, "sweep status", description)
    from rich.console import Console

    from rl_lab.sweep.status import sweep_rows
    from rl_lab.tracking.run_table import render_table

    sweep = Sweep.read(options.path)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=FILE_WIDTH)
    console.print(render_table(sweep_rows(sweep), f"group {sweep.group}", console.width))
