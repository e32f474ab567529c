"""The command `watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from agents.core.settings import check_fields
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.experiment.run import Run
from rl_lab.watch.watch_options import WatchOptions


@dataclass(frozen=True)
class WatchArguments(WatchOptions, PlayOptions):
    """Options of `watch`."""

    other: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN2]")] = ""
    """A second run of the same environment, whose agent is shown beside the first one in the same episodes."""


def watch_command(args: list[str]) -> None:
    """Run the command `watch`."""
    options = parse(
        WatchArguments,
        args,
        "watch",
        "Watch a run's agent play, with its input and output, or two agents side by side.",
    )
    check_fields(options)
    run = Run.find(options.run, options.runs_dir)
    if options.other:
        from rl_lab.watch.watch_pair import watch_pair

        other = Run.find(options.other, options.runs_dir)
        watch_pair([run, other], options, seed=options.seed, which=options.which)
        return
    from rl_lab.watch.watch_run import watch_run

    watch_run(run, options, seed=options.seed, which=options.which)
