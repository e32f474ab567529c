"""The command `resume`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from agents.core.settings import Range, check_fields
from rl_lab.cli.parsing import RunName, parse
from rl_lab.system.quiet_output import quiet_if_lost


@dataclass(frozen=True)
class ResumeOptions:
    """Options of `resume`."""

    run: RunName
    """A run folder, "latest", or an unambiguous part of its name."""
    steps: Annotated[int | None, Range(1)] = None
    """New total of agent steps, to extend the run, also one that stopped at its target. Default: the run's total."""
    address: str = ""
    """New address of the Ray cluster of the run's collectors. All other settings stay those of the run."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


@quiet_if_lost()
def resume_command(args: list[str]) -> None:
    """Resume a run from its last checkpoint."""
    options = parse(
        ResumeOptions, args, "resume", "Resume a run from its last checkpoint, as if it had never been stopped."
    )
    check_fields(options)
    from rl_lab import api
    from rl_lab.cli.interruption import exit_if_interrupted

    with exit_if_interrupted():
        api.resume(options.run, steps=options.steps, address=options.address, runs_dir=options.runs_dir)
