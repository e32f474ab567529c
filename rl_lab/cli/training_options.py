"""The options of the command `train`, which are those of a run of `sweep` too."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from agents.core.settings import check_fields
from envs.spec import EnvSpec
from rl_lab import api
from rl_lab.cli.parsing import parse, value_of
from rl_lab.experiment import config
from rl_lab.experiment.config_layers import env_in_file, protocol_in_file
from rl_lab.experiment.registry import find_agent
from rl_lab.experiment.run_config import RunConfig
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG

CONFIG_HELP = "A YAML file of settings, such as a run's config.yaml; flags overrule it."


def parse_training_options(
    name: str, args: list[str], extras: Sequence[tuple[str, Any, Any]] = ()
) -> tuple[Any, config.Config, EnvSpec]:
    """What `train NAME args` asks for: its options, with `extras` (name, type, default), the configuration and the env card."""
    entry = find_agent(name)
    file = value_of(args, "--config")
    env = value_of(args, "--env") or env_in_file(file)
    if env is None and not any(a in ("-h", "--help") for a in args):
        exit_with_error(f"which environment? add --env NAME, for example: {PROG} train {name} --env Pong")
    protocol = value_of(args, "--protocol") or protocol_in_file(file)
    env_spec = api.resolve_env(env, protocol) if env else None
    layered = config.resolve(name, env_spec, {}, preset=value_of(args, "--preset") or "default", file=file)

    # The defaults that the help shows and that the flags overrule are those of this env and preset.
    options = dataclasses.make_dataclass(
        "Train",
        [
            ("run", RunConfig),
            ("agent", type(layered.settings)),
            ("config", Annotated[str, tyro.conf.arg(help=CONFIG_HELP)]),
            *((key, kind) for key, kind, _ in extras),
        ],
    )
    about = (
        entry.paper
        if env
        else f"{entry.paper}. Defaults depend on the environment: --env NAME --help shows those of one."
    )
    defaults = options(layered.run, layered.settings, file or "", *(default for _, _, default in extras))
    chosen = parse(options, args, f"train {name}", about, default=defaults)
    check_fields(chosen)
    assert env_spec is not None
    final = config.Config(name, chosen.run, chosen.agent)
    config.check(final)
    return chosen, final, env_spec
