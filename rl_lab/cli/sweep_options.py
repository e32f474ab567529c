"""The options that `sweep grid` and `sweep search` share, and the start of a sweep from them."""

from __future__ import annotations

import dataclasses
import difflib
import re
import time
from dataclasses import dataclass
from typing import Any, TypeVar

from agents.core.settings import ConfigError, CountOrZero, NonNegative, Positive, check_fields
from rl_lab.cli.parsing import canonical_args, flag_name, parse, value_of
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.run_config import RunConfig
from rl_lab.sweep.sweep import Sweep
from rl_lab.system.shell import PROG

RUN_SETTINGS = {field.name for field in dataclasses.fields(RunConfig)}
SETTINGS_HELP = "The settings of train are accepted too, such as --steps 1e6 --lr 1e-4: train AGENT --help lists them."
MIN_SIMILARITY = 0.75  # of a mistyped option and the right one, from 0 to 1


@dataclass(frozen=True)
class SweepOptions:
    """The options that grids and searches share."""

    cpu_per_run: Positive = 1.0
    """Processor cores that a run reserves. As many runs train at the same time as the cores allow."""
    gpu_per_run: NonNegative = 0.0
    """GPUs that a run reserves. With 0.25, four runs share a GPU."""
    retries: CountOrZero = 3
    """Times that a failed run is resumed from its last checkpoint, for example after its process or its node died."""
    address: str = ""
    """Ray cluster: host:port, or "auto" for this machine. Default: RAY_ADDRESS, else a cluster for this sweep."""


Options = TypeVar("Options", bound=SweepOptions)


def parse_sweep_options(
    options_class: type[Options], args: list[str], command: str, description: str
) -> tuple[Options, list[str]]:
    """Separate the options of a sweep from the settings of its runs, and parse the options.

    Returns:
        The options, and the remaining arguments: the settings.
    """
    names = {field.name for field in dataclasses.fields(options_class)} | {"help"}
    option_args: list[str] = []
    setting_args: list[str] = []
    is_option = False
    for arg in canonical_args(args, RUN_SETTINGS):
        name = flag_name(arg)
        if name is not None or arg == "-h":  # a value belongs to the flag before it
            is_option = arg == "-h" or name in names
            _reject_mistyped(name, names, command)
        if is_option:
            option_args.append(arg)
        else:
            setting_args.append(arg)
    options = parse(options_class, option_args, command, description)
    check_fields(options)
    return options, setting_args


def _reject_mistyped(name: str | None, names: set[str], command: str) -> None:
    """Raise LabError if a flag is no setting of a run and is similar to an option of the sweep.

    Without this check, a mistyped option would count as a setting, and the option as missing.
    """
    if name is None or name in names or name in RUN_SETTINGS:
        return
    nearest = difflib.get_close_matches(name, names, 1, MIN_SIMILARITY)
    if nearest:
        flag = f"--{name.replace('_', '-')}"
        raise LabError(
            f"unknown option {flag}; nearest: --{nearest[0].replace('_', '-')} (see {PROG} {command} --help)"
        )


def new_sweep(kind: str, options: SweepOptions, group: str, runs_dir: str) -> Sweep:
    """Return a sweep without a request. An empty group is replaced by one with the current time."""
    if group and not re.fullmatch(r"\w[\w .+-]*", group):
        raise LabError(f"group is {group!r}; the group of a sweep may contain letters, digits, spaces and ._+-")
    now = time.strftime("%Y%m%d-%H%M%S")
    return Sweep(
        kind=kind,
        started=now,
        group=group or f"{kind}-{now}",
        runs_dir=runs_dir,
        cpu_per_run=options.cpu_per_run,
        gpu_per_run=options.gpu_per_run,
        retries=options.retries,
        request={},
    )


def with_request(sweep: Sweep, request: dict[str, Any]) -> Sweep:
    """Return the sweep with a request."""
    return dataclasses.replace(sweep, request=request)


def reject_flags(settings: list[str], replacements: dict[str, str]) -> None:
    """Raise LabError if the settings contain a flag of a single run.

    Args:
        settings: The arguments that are settings of the runs.
        replacements: Flag of a single run -> option of the sweep that takes its place.
    """
    for flag, replacement in replacements.items():
        value = value_of(settings, flag)
        if value is not None:
            raise LabError(f"{flag[2:]} is {value!r}; a sweep has many runs, so use {replacement} instead")


def reject_collectors(config: Config) -> None:
    """Raise ConfigError if the runs would start collectors, which are Ray processes of their own."""
    if config.run.collectors:
        raise ConfigError(f"collectors is {config.run.collectors}; it must be 0 for the runs of a sweep")
