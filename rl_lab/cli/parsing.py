"""Parsing of command-line options with tyro, and the options that several commands share."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shutil
import sys
import types
import typing
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from rl_lab.experiment.config import parse_whole_number
from rl_lab.experiment.run_config import Seed
from rl_lab.experiment.setting_names import canonical_name
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.printable import wrapped
from rl_lab.system.shell import PROG

RunName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
RunNames = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...", help_behavior_hint="(any number)")
]
"""Several runs; an option of this type may be left out."""

WIDTH = 10_000
"""Columns in which tyro writes errors: enough that no line is broken."""

# Patterns of tyro's messages, each with the message that replaces it. \1 is the option.
MESSAGES = {
    r"could not convert string to float: ('.*?')": r"\1 is \2; it must be a number",
    r"invalid literal for int\(\) with base 10: ('.*?')": r"\1 is \2; it must be a whole number",
    r"expected argument count \d+ of `\[bold\](.*?)\[/bold\]`": r"\1 takes \2",
}


REGISTRY = ConstructorRegistry()
"""How the help shows values: TEXT in place of STR, and "none" or "empty" in place of {None} and ''."""


@REGISTRY.primitive_rule
def _text_rule(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[str] | None:
    """Return how a text is read and shown."""
    if type_info.type is not str:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="TEXT",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda text: [text or "empty"],
    )


@REGISTRY.primitive_rule
def _optional_rule(type_info: PrimitiveTypeInfo) -> Any:
    """Return how a value is read and shown that may be None: as the value without None, or the word "none"."""
    options = typing.get_args(type_info.type)
    others = [option for option in options if option is not types.NoneType]
    if type_info.type_origin not in (types.UnionType, typing.Union) or len(others) != 1 or len(options) != 2:
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(others[0], type_info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec) or spec.nargs != 1:
        return None

    def from_words(words: list[str]) -> Any:
        return None if words[0].lower() == "none" else spec.instance_from_str(words)

    return dataclasses.replace(
        spec,
        instance_from_str=from_words,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["none"] if value is None else spec.str_from_instance(value),
        choices=None,
    )


@dataclass(frozen=True)
class PlayOptions:
    """Options of every command that plays with a checkpoint."""

    run: RunName
    """A run folder, "latest", an unambiguous part of its name, or "demo:NAME" (`list demos`); "demo" is demo:pong."""
    seed: Seed = 0
    """Seed of the episodes, which are never those of training. `watch`, and `eval` with one episode, play the same
    episode for the same seed."""
    checkpoint: str = "auto"
    """The checkpoint: "best", "last" or an agent step. "auto" is the best one, or else the last one."""
    runs_dir: str = "runs"
    """Folder of the run folders."""

    @property
    def which(self) -> str | None:
        """Return the checkpoint as `api.load` expects it."""
        return None if self.checkpoint == "auto" else self.checkpoint


def parse(options: Any, args: list[str], command: str, description: str, **kwargs: Any) -> Any:
    """Return an instance of a dataclass, filled from the command line.

    On bad input the process exits with code 2 and an error of one line; for `--help` it prints the help and exits.

    Args:
        options: The dataclass. Field docstrings are the help texts.
        args: The arguments. Whole numbers may have an exponent: --steps=1e6.
        command: Name of the command, for the help.
        description: The first line of the help.
        **kwargs: Further arguments of `tyro.cli`.
    """

    def parse_args() -> Any:
        return tyro.cli(
            options,
            prog=f"{PROG} {command}",
            description=_wrapped(description),
            registry=REGISTRY,
            args=[_without_exponent(arg) for arg in args],
            config=(tyro.conf.OmitArgPrefixes,),
            **kwargs,
        )

    if any(arg in ("-h", "--help") or arg.startswith("--tyro-") for arg in args):
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                return parse_args()
            except SystemExit as stop:
                if stop.code in (0, None):
                    raise
    with _independent_of_the_terminal() as errors:
        try:
            return parse_args()
        except SystemExit:
            pass
    exit_with_error(f"{_error_line(errors.getvalue())} (see {PROG} {command} --help)")


def _wrapped(description: str) -> str:
    """Return the description, on a terminal broken between words: tyro would break it anywhere."""
    if not sys.stdout.isatty():
        return description
    return "\n".join(wrapped(description, shutil.get_terminal_size().columns)).replace("\n  ", "\n")


def canonical_args(args: list[str], known: Collection[str]) -> list[str]:
    """Return the arguments with each flag replaced by the flag of the setting that its name stands for.

    A flag may be written with underscores, and may have the name of another library: --learning_rate is --lr. Unknown
    flags are left unchanged.

    Args:
        args: The arguments.
        known: Names of settings, with underscores.
    """
    return [_canonical_arg(arg, known) for arg in args]


def flag_name(arg: str) -> str | None:
    """Return the name in an argument such as --replay-size=1e6, with underscores; None if it is not a flag."""
    match = re.match(r"--([A-Za-z][\w-]*)", arg)
    return match[1].replace("-", "_") if match else None


def value_of(args: list[str], flag: str) -> str | None:
    """Return the value of a flag before the arguments are parsed, or None. The last one counts if there are several.

    Some flags (--env, --preset, --config) decide the defaults of all others.
    """
    values = values_of(args, flag)
    return values[-1] if values else None


def values_of(args: list[str], flag: str) -> list[str]:
    """Return all values of a flag that may be repeated, in their order, before the arguments are parsed."""
    values = []
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            values.append(args[i + 1])
        elif arg.startswith(f"{flag}="):
            values.append(arg.split("=", 1)[1])
    return values


@contextlib.contextmanager
def _independent_of_the_terminal() -> Iterator[io.StringIO]:
    """Let tyro write its errors in long lines without colours and frames, also if this process has a terminal.

    Yields:
        The text that tyro writes.
    """
    errors = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        # tyro writes colours if stdout is a terminal.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            yield errors
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns


def _canonical_arg(arg: str, known: Collection[str]) -> str:
    """Return an argument with the flag of the setting that its name stands for."""
    name = flag_name(arg)
    if name is None:
        return arg
    prefix = "--"
    setting = canonical_name(name, known)
    if setting is None and name.startswith("no_"):  # --no-dueling
        prefix = "--no-"
        setting = canonical_name(name.removeprefix("no_"), known)
    if setting is None:
        return arg
    _, equals, value = arg.partition("=")
    return f"{prefix}{setting.replace('_', '-')}{equals}{value}"


def _without_exponent(arg: str) -> str:
    """Return the argument with a whole number, alone or after "=", written without an exponent."""
    return "=".join(str(parse_whole_number(part)) for part in arg.split("=", 1))


def _error_line(box: str) -> str:
    """Return tyro's error message as one line.

    Args:
        box: The output of tyro: a title, the message and further help, in a frame of Unicode or ASCII characters.
    """
    lines = [line.strip(" │╭╮╰╯─|+") for line in box.splitlines()]
    title, *body = [line for line in lines if line.strip("-─ ")]
    message_lines = []
    for line in body:
        if line.startswith(("Argument helptext", "For full", "Perhaps")):
            break
        message_lines.append(line)
    message = " ".join(message_lines) or title
    if "Perhaps you meant:" in body:
        matches = [re.match(r"--[a-z][\w-]*", line) for line in body]
        nearest = dict.fromkeys(match[0] for match in matches if match)
        message += f"; nearest: {', '.join(nearest)}"
    message = re.sub(r"Missing from [^:]+: *\S+ +(.*?) *\(required\)", r"an argument is missing: \1", message)
    for pattern, replacement in MESSAGES.items():
        message = re.sub(rf"Error parsing (--[\w-]+): .*{pattern}.*", replacement, message)
    return message
