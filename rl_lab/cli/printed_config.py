"""The settings of a run as YAML, each with the layer that it comes from."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from envs.spec import EnvSpec
from rl_lab.cli.parsing import flag_name
from rl_lab.experiment.config import Config, setting_sources
from rl_lab.experiment.config_layers import ConfigFile
from rl_lab.experiment.registry import CONFIGS
from rl_lab.system.printable import print_line

COMMENT_COLUMN = 36
"""Column at which comments begin, where the value leaves room for it."""

MAX_WIDTH = 10**6
"""Width from which PyYAML breaks a value over several lines, which no comment could follow."""

END_OF_DOCUMENT = "...\n"
"""End of document, which PyYAML writes after a single number or text."""

COMMAND_LINE = "command line"
SETTINGS_OF_FLAGS = {"env_arg": "env_args", "wrapper": "wrappers"}
"""Flags whose names are not those of their settings."""


def sources_of_settings(
    config: Config, env_spec: EnvSpec, args: Sequence[str], file: ConfigFile | None
) -> dict[str, str]:
    """Return the layer of each setting that does not have its built-in default: setting -> layer.

    Args:
        config: The resolved configuration.
        env_spec: The environment.
        args: The arguments of `train` with flags under their own names.
        file: The content of the `--config` file.
    """
    sources = setting_sources(config.agent, env_spec, preset=config.run.preset, file=file)
    sources = {name: source.removeprefix(f"{CONFIGS.parent}/") for name, source in sources.items()}
    if file is not None:
        sources |= {name: file.path for name in ("agent", "env") if name in file.settings}
    settings = config.to_dict()
    for arg in args:
        flag = flag_name(arg) or ""
        for name in (SETTINGS_OF_FLAGS.get(flag, flag), flag.removeprefix("no_")):
            if name in settings:
                sources[name] = COMMAND_LINE
    return {"agent": COMMAND_LINE, **sources}


def print_config(config: Config, sources: dict[str, str]) -> None:
    """Print all settings as a YAML file that `--config` accepts. A comment after each value names its layer."""
    for name, value in config.to_dict().items():
        text = yaml.safe_dump(value, default_flow_style=True, width=MAX_WIDTH, allow_unicode=True)
        line = f"{name}: {text.removesuffix(END_OF_DOCUMENT).strip()}"
        print_line(f"{line:<{COMMENT_COLUMN}}  # {sources.get(name, 'default')}")
