"""Parsing of options, and the options that several commands share."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from rl_lab.experiment import config
from rl_lab.experiment.run_config import Seed
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG

RunName = Annotated[str, tyro.conf.Positional]


def parse(options: Any, args: list[str], command: str, description: str, **kwargs: Any) -> Any:
    """The dataclass `options` filled from `args` by tyro; what tyro says of bad input becomes one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                options,
                prog=f"{PROG} {command}",
                description=description,
                args=[
                    "=".join(str(config.parse_whole_number(part)) for part in arg.split("=", 1)) for arg in args
                ],  # --steps=1e6
                config=(tyro.conf.OmitArgPrefixes,),
                **kwargs,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        exit_with_error(f"{_one_line(errors.getvalue())} (see {PROG} {command} --help)")


def _one_line(box: str) -> str:
    """The message in tyro's box of several lines, drawn in Unicode or in ASCII, with the options it suggests."""
    lines = [line.strip(" │╭╮╰╯─|+") for line in box.splitlines()]
    title, *body = [line for line in lines if line.strip("-─ ")]
    end = next(
        (i for i, line in enumerate(body) if line.startswith(("Argument helptext", "For full", "Perhaps"))), None
    )
    near = [m[0] for line in body if (m := re.match(r"--[a-z][\w-]*", line))]
    suggestion = f"; nearest: {', '.join(dict.fromkeys(near))}" if "Perhaps you meant:" in body else ""
    said = (" ".join(body[:end]) or title) + suggestion
    for pattern, plain in PLAIN_WORDS.items():
        said = re.sub(rf"Error parsing (--[\w-]+): .*{pattern}.*", plain, said)
    return said


PLAIN_WORDS = {  # what tyro says -> what it means
    r"could not convert string to float: ('.*?')": r"\1 is \2; it must be a number",
    r"invalid literal for int\(\) with base 10: ('.*?')": r"\1 is \2; it must be a whole number",
    r"expected argument count \d+ of `\[bold\](.*?)\[/bold\]`": r"\1 takes \2",
}


def value_of(args: list[str], flag: str) -> str | None:
    """The value of a flag that decides which defaults apply, before the real parsing."""
    found = None
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            found = args[i + 1]
        elif arg.startswith(f"{flag}="):
            found = arg.split("=", 1)[1]
    return found


@dataclass(frozen=True)
class PlayOptions:
    """What every command that plays with a run's checkpoint asks."""

    run: RunName
    """A run folder, "latest", an unambiguous part of its name, or "demo"."""
    seed: Seed = 0
    """Seed of the games. `watch`, and `eval` of one episode, play the same one with it."""
    checkpoint: str = "auto"
    """Which weights: best, last or a step; auto is the best, else the last."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""

    @property
    def which(self) -> str | None:
        """The checkpoint as `api.load` takes it."""
        return None if self.checkpoint == "auto" else self.checkpoint
