"""The options of the command `train`, which `sweep` uses too."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import tyro

from agents.core.settings import check_fields
from envs.spec import EnvSpec
from rl_lab import api
from rl_lab.cli.parsing import parse, value_of
from rl_lab.experiment import config
from rl_lab.experiment.config import Config
from rl_lab.experiment.config_layers import DEFAULT_PRESET, env_in_file, protocol_in_file
from rl_lab.experiment.registry import find_agent
from rl_lab.experiment.run_config import RunConfig
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG

CONFIG_HELP = "A YAML file of settings, such as the config.yaml of a run. Flags override it."


class ExtraOption(NamedTuple):
    """An option beside the settings of run and agent."""

    name: str
    type: Any
    default: Any


class TrainingOptions(NamedTuple):
    """The parsed options of `train`."""

    options: Any  # with an attribute for each `ExtraOption`
    config: Config
    env_spec: EnvSpec


def parse_training_options(name: str, args: list[str], extras: Sequence[ExtraOption] = ()) -> TrainingOptions:
    """Return the options of `train NAME args`.

    The defaults of the options are the settings of the agent for this environment and preset; `--help` shows them.

    Args:
        name: Name of the agent.
        args: The arguments after it.
        extras: Further options.
    """
    file = value_of(args, "--config")
    env = value_of(args, "--env") or env_in_file(file)
    wants_help = "-h" in args or "--help" in args
    if env is None and not wants_help:
        exit_with_error(f"which environment? add --env NAME, for example: {PROG} train {name} --env Pong")
    paper = find_agent(name).paper
    env_spec = None
    description = f"{paper}. The defaults depend on the environment: --env NAME --help shows those of one."
    if env:
        protocol = value_of(args, "--protocol") or protocol_in_file(file)
        env_spec = api.resolve_env(env, protocol)
        description = paper
    preset = value_of(args, "--preset") or DEFAULT_PRESET
    defaults = config.resolve(name, env_spec, {}, preset=preset, file=file)

    options_class = dataclasses.make_dataclass(
        "Train",
        [
            ("run", RunConfig),
            ("agent", type(defaults.settings)),
            ("config", Annotated[str, tyro.conf.arg(help=CONFIG_HELP)]),
            *((extra.name, extra.type) for extra in extras),
        ],
    )
    default_extras = [extra.default for extra in extras]
    default_options = options_class(defaults.run, defaults.settings, file or "", *default_extras)
    options = parse(options_class, args, f"train {name}", description, default=default_options)
    check_fields(options)
    resolved = Config(name, options.run, options.agent)
    config.check(resolved)
    assert env_spec is not None  # without an environment, `parse` has printed the help and exited
    return TrainingOptions(options, resolved, env_spec)
