"""The command `push`."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from agents.core.settings import Count, check_fields
from rl_lab.cli.parsing import RunName, parse
from rl_lab.experiment.run import Run
from rl_lab.system.printable import print_line


@dataclass(frozen=True)
class PushOptions:
    """Options of `push`."""

    run: RunName
    """A run folder, "latest", an unambiguous part of its name, or "demo:NAME" (`list demos`)."""
    repo: str
    """The repository on the Hugging Face Hub: user/name. It is created if it does not exist."""
    checkpoint: str = "auto"
    """The checkpoint: "best", "last" or an agent step. "auto" is the best one, or else the last one."""
    episodes: Count = 10
    """Episodes of the evaluation whose score the model card shows."""
    video: bool = True
    """Push a video of an episode."""
    private: tyro.conf.FlagCreatePairsOff[bool] = False
    """Create a private repository."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


def push_command(args: list[str]) -> None:
    """Push a run to the Hub, and print the address of its page."""
    options = parse(PushOptions, args, "push", "Push an agent, its video and a model card to the Hugging Face Hub.")
    check_fields(options)
    from rl_lab.sharing.hub import push

    address = push(
        Run.find(options.run, options.runs_dir),
        options.repo,
        which=None if options.checkpoint == "auto" else options.checkpoint,
        episodes=options.episodes,
        video=options.video,
        private=options.private,
    )
    print_line(address)
