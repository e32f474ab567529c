"""The command `resume`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from agents.core.settings import Range, check_fields
from rl_lab import api
from rl_lab.cli.parsing import RunName, parse
from rl_lab.cli.train import _finish


@dataclass(frozen=True)
class ResumeOptions:
    run: RunName
    """A run folder, "latest", or an unambiguous part of its name."""
    steps: Annotated[int | None, Range(1)] = None
    """Agent steps in all, to extend a run; its own number unless given."""
    address: str = ""
    """Address of the Ray cluster where its collectors run, if it is another than before. Nothing else can change."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def resume_command(args: list[str]) -> None:
    chosen = parse(
        ResumeOptions, args, "resume", "Go on with a run from its last checkpoint, as if it had never stopped."
    )
    check_fields(chosen)
    _finish(lambda: api.resume(chosen.run, steps=chosen.steps, address=chosen.address, runs_dir=chosen.runs_dir))
