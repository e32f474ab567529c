"""The configuration of a run: the settings of the run and of its agent, resolved from several layers.

A layer is a mapping of settings. A later layer overrides an earlier one, in this order:

1. the defaults of the dataclasses
2. the YAML layers (`rl_lab.experiment.config_layers`)
3. the flags of the command line, or the arguments of `rl_lab.train`
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
import re
import typing
from dataclasses import dataclass, field
from typing import Any

from agents.core.settings import ConfigError, check_fields
from envs.spec import EnvSpec
from rl_lab.experiment.config_layers import DEFAULT_PRESET, ConfigFile, Layer, file_layer, preset_layers
from rl_lab.experiment.migration import migrate_settings
from rl_lab.experiment.registry import find_agent
from rl_lab.experiment.run_config import RunConfig
from rl_lab.experiment.schedule_warnings import schedule_warnings
from rl_lab.experiment.setting_names import canonical_names

MAX_VALUE_LENGTH = 10_000
"""Most characters of a value. No path or name of a setting is longer, and error messages show values."""


@dataclass(frozen=True)
class Config:
    """A resolved configuration: every setting has a value."""

    agent: str
    """Name of the agent."""
    run: RunConfig
    """The settings that do not depend on the agent."""
    settings: Any = field(repr=False)
    """The settings of the agent, an instance of its `config_class`."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings in one mapping, as config.yaml holds them."""
        return {"agent": self.agent, **dataclasses.asdict(self.run), **dataclasses.asdict(self.settings)}


def resolve(
    agent: str,
    env_spec: EnvSpec | None,
    overrides: dict[str, Any],
    *,
    preset: str = DEFAULT_PRESET,
    file: str | ConfigFile | None = None,
) -> Config:
    """Return the configuration of an agent on an environment.

    Args:
        agent: Name of the agent.
        env_spec: The environment. None leaves out the YAML layers of environments and of their families.
        overrides: The last layer: flags or keyword arguments.
        preset: Name of a preset of the agent.
        file: Path of a `--config` file, or its content.

    Raises:
        ConfigError: A setting is unknown, has the wrong type or is out of range, or a YAML file cannot be read.
    """
    settings_class = find_agent(agent).load_config_class()
    if isinstance(file, str):
        file = ConfigFile.read(file)
    layers = [*_yaml_layers(agent, env_spec, preset, file), Layer("the call", overrides)]
    types = _setting_types(settings_class)
    values: dict[str, Any] = {}
    for layer in layers:
        values |= _converted(layer, types)
    if env_spec is not None:
        values.setdefault("env", env_spec.name)
    values["preset"] = preset
    return _make_config(agent, settings_class, values)


def setting_sources(
    agent: str, env_spec: EnvSpec | None, *, preset: str = DEFAULT_PRESET, file: ConfigFile | None = None
) -> dict[str, str]:
    """Return the YAML layer from which each setting comes: setting -> file and section.

    Settings that have the default of their dataclass are left out. The arguments are those of `resolve`.
    """
    types = _setting_types(find_agent(agent).load_config_class())
    sources: dict[str, str] = {}
    for layer in _yaml_layers(agent, env_spec, preset, file):
        for name in canonical_names(layer.settings, types, layer.source):
            sources[name] = layer.source
    return sources


def from_dict(data: dict[str, Any], source: str) -> Config:
    """Return the configuration from the result of `Config.to_dict`.

    Args:
        data: The name of the agent and settings. A missing setting has the default of its dataclass. The settings may
            be those of an older version of the lab (`rl_lab.experiment.migration`).
        source: Origin of the data, for error messages.

    Raises:
        ConfigError: As `resolve`.
    """
    data = migrate_settings(data, source)
    agent = data.get("agent")
    if not isinstance(agent, str):
        raise ConfigError(f"{source} names no agent")
    settings_class = find_agent(agent).load_config_class()
    settings = {key: value for key, value in data.items() if key != "agent"}
    values = _converted(Layer(source, settings), _setting_types(settings_class))
    return _make_config(agent, settings_class, values)


def replace_settings(config: Config, settings: dict[str, Any], source: str) -> Config:
    """Return a copy of the configuration with new values for some settings of the run or of the agent.

    Args:
        config: The configuration.
        settings: Setting -> new value.
        source: Origin of the new values, for error messages.

    Raises:
        ConfigError: As `resolve`.
    """
    settings_class = type(config.settings)
    values = config.to_dict() | _converted(Layer(source, settings), _setting_types(settings_class))
    agent = values.pop("agent")
    return _make_config(agent, settings_class, values)


def check(config: Config) -> None:
    """Raise ConfigError if a setting has the wrong type or is out of range, or if two settings contradict."""
    check_fields(config.run)
    check_fields(config.settings)
    if config.run.num_envs > config.run.steps:
        raise ConfigError(f"num_envs is {config.run.num_envs}; it must be at most steps, {config.run.steps}")
    if config.run.stop_at_target and config.run.target is None:
        raise ConfigError("stop_at_target needs a target score: set target, or leave out stop_at_target")


def warnings(config: Config) -> list[str]:
    """Return warnings about settings that are allowed but probably a mistake."""
    if getattr(config.settings, "learning_starts", 0) >= config.run.steps:
        return ["learning_starts is not below steps: the agent will not learn"]
    return schedule_warnings(config.settings, config.run.steps)


def parse_whole_number(text: str) -> Any:
    """Return a whole number written with an exponent, such as 1e6 or 2.5e5, as an int, and any other text unchanged."""
    if re.fullmatch(r"\d+(\.\d+)?[eE]\+?\d{1,2}", text) and float(text).is_integer():
        return int(float(text))
    return text


def _yaml_layers(agent: str, env_spec: EnvSpec | None, preset: str, file: ConfigFile | None) -> list[Layer]:
    """Return the layers between the defaults of the dataclasses and the flags, as `resolve` applies them."""
    return [*preset_layers(find_agent(agent).presets, env_spec, preset), *file_layer(file, agent)]


def _make_config(agent: str, settings_class: type, values: dict[str, Any]) -> Config:
    """Return the configuration with these values of settings, after a check.

    Args:
        agent: Name of the agent.
        settings_class: The dataclass of the agent's settings.
        values: Settings of the run and of the agent: name -> value.
    """
    run_names = {field.name for field in dataclasses.fields(RunConfig)}
    run_values = {name: value for name, value in values.items() if name in run_names}
    agent_values = {name: value for name, value in values.items() if name not in run_names}
    config = Config(agent, RunConfig(**run_values), settings_class(**agent_values))
    check(config)
    return config


@functools.cache
def _setting_types(settings_class: type) -> dict[str, Any]:
    """Return the types of all settings, without their ranges: name -> type."""
    return typing.get_type_hints(RunConfig) | typing.get_type_hints(settings_class)


def _converted(layer: Layer, types: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer, with numbers converted to the types of their settings.

    The conversion is needed because PyYAML reads 1e6 and 1e-4, which have no decimal point, as text.

    Raises:
        ConfigError: A setting is unknown, or a number cannot be converted.
    """
    converted: dict[str, Any] = {}
    for name, value in canonical_names(layer.settings, types, layer.source).items():
        if len(repr(value)) > MAX_VALUE_LENGTH:
            raise ConfigError(f"{name} in {layer.source} is longer than {MAX_VALUE_LENGTH:,} characters")
        value = _python_number(value)
        if types[name] is int and isinstance(value, str):
            value = parse_whole_number(value)
        if types[name] is float and not isinstance(value, bool):
            try:
                value = float(value)
            except (OverflowError, TypeError, ValueError):
                raise ConfigError(f"{name} is {value!r} in {layer.source}; it must be a number") from None
        converted[name] = value
    return converted


def _python_number(value: Any) -> Any:
    """Return a number of another type, such as NumPy's, as an int or a float. Other values are returned unchanged."""
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return value
