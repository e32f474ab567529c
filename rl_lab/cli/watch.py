"""The command `watch`."""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.settings import check_fields
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.experiment.run import Run
from rl_lab.watch.watch_options import WatchOptions


@dataclass(frozen=True)
class WatchArguments(WatchOptions, PlayOptions):
    """Options of `watch`."""


def watch_command(args: list[str]) -> None:
    """Run the command `watch`."""
    options = parse(WatchArguments, args, "watch", "Watch a run's agent play, with its input and output.")
    check_fields(options)
    from rl_lab.watch.watch_run import watch_run

    watch_run(Run.find(options.run, options.runs_dir), options, seed=options.seed, which=options.which)
