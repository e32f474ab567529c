"""The command `pull`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from rl_lab.cli.parsing import parse
from rl_lab.system.printable import print_line
from rl_lab.system.shell import shell_command


@dataclass(frozen=True)
class PullOptions:
    """Options of `pull`."""

    repo: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")]
    """The repository on the Hugging Face Hub: user/name."""
    revision: str = ""
    """Branch, tag or commit. Empty means the newest commit."""
    allow_modules: tyro.conf.FlagCreatePairsOff[bool] = False
    """Accept a run whose environment (module:Id) or wrappers (module:Class) are Python code of this machine."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


def pull_command(args: list[str]) -> None:
    """Pull a run from the Hub, and print its folder and the next commands."""
    options = parse(PullOptions, args, "pull", "Download a run from the Hugging Face Hub. No code of it is run.")
    from rl_lab.sharing.hub import pull

    revision = options.revision or None
    run = pull(options.repo, options.runs_dir, revision=revision, allow_modules=options.allow_modules)
    print_line(f"run folder {run}")
    print_line(f"next:  {shell_command('eval', run)}")
    print_line(f"       {shell_command('watch', run)}")
    settings = ("--env", run.config.run.env, "--init-from", run)
    print_line(f"       {shell_command('train', run.config.agent, *settings)}")
