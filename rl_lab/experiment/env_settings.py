"""The settings of a run that decide how its environment is made, as `envs.options.EnvOptions`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import yaml

from agents.core.settings import ConfigError, check_fields
from envs.options import EnvOptions, OptionError, WrapperSpec, parse_crop
from envs.spec import EnvSpec
from rl_lab.experiment.run_config import RunConfig

ENV_SETTINGS = (
    "env_args",
    "wrappers",
    "obs_kind",
    "obs_key",
    "image",
    "image_size",
    "view",
    "crop",
    "action_masks",
)
"""Names of the settings. The environment has to be made anew if one of them changes."""


RESERVED_ARGUMENTS = {"id", "render_mode", "disable_env_checker"}
"""Arguments of `gymnasium.make` that the lab sets itself."""


def env_options(run: RunConfig) -> EnvOptions:
    """Return the options of the environment.

    Raises:
        ConfigError: A setting has the wrong form.
    """
    check_fields(run)
    if not all(isinstance(name, str) for name in run.env_args):
        raise ConfigError(f"env_args is {run.env_args!r}; it must be a mapping of names of arguments to values")
    if not _is_plain([run.env_args, run.wrappers]):
        raise ConfigError(
            "env_args and wrappers must consist of numbers, texts, lists and mappings of texts, which config.yaml and"
            " env.json can hold; give other objects in a function that makes the environment: env=lambda: ..."
        )
    try:
        parse_crop(run.crop)
        wrappers = tuple(WrapperSpec.parse(_with_exponents(wrapper)) for wrapper in run.wrappers)
    except OptionError as error:
        raise ConfigError(str(error)) from error
    if run.crop and run.view != "pixels":
        raise ConfigError(f"crop is {run.crop!r}; it is for view pixels only")
    if run.view == "pixels" and run.obs_kind not in ("auto", "image"):
        raise ConfigError(f"obs_kind is {run.obs_kind}; with view pixels it must be auto or image")
    reserved = sorted(RESERVED_ARGUMENTS & run.env_args.keys())
    if reserved:
        raise ConfigError(f"env_args holds {reserved[0]}; the lab sets this argument itself")
    return EnvOptions(
        env_args=_with_exponents(run.env_args),
        wrappers=wrappers,
        obs_kind=run.obs_kind,
        obs_key=run.obs_key,
        image=run.image,
        image_size=run.image_size,
        pixels=run.view == "pixels",
        crop=run.crop,
        action_masks=run.action_masks,
    )


def env_options_from(settings: dict[str, Any]) -> EnvOptions:
    """Return the options that settings give; settings of other kinds are ignored. Raises ConfigError."""
    return env_options(RunConfig(**{name: settings[name] for name in ENV_SETTINGS if name in settings}))


def settings_of(options: EnvOptions) -> dict[str, Any]:
    """Return the settings that give these options."""
    settings: dict[str, Any] = {
        "env_args": options.env_args,
        "wrappers": [{wrapper.name: wrapper.args} if wrapper.args else wrapper.name for wrapper in options.wrappers],
        "obs_kind": options.obs_kind,
        "obs_key": options.obs_key,
        "image": options.image,
        "image_size": options.image_size,
        "crop": options.crop,
        "action_masks": options.action_masks,
    }
    if options.pixels:
        settings["view"] = "pixels"
    return settings


def check_env_options(run: RunConfig, env_spec: EnvSpec) -> None:
    """Raise ConfigError if the settings of a run differ from the options with which its environment was resolved."""
    wanted = env_options(run)
    if not wanted.crop:  # `resolve` knows the crops of some environments
        wanted = replace(wanted, crop=env_spec.options.crop)
    if wanted != env_spec.options:
        raise ConfigError(
            f"the settings {', '.join(ENV_SETTINGS)} must be those with which {env_spec.name} was resolved"
        )


def _with_exponents(value: Any) -> Any:
    """Return a value of YAML with texts such as 1e-3 as numbers. YAML reads only 1.0e-3 as a number."""
    if isinstance(value, dict):
        return {name: _with_exponents(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_with_exponents(entry) for entry in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


def parse_env_args(texts: list[str]) -> dict[str, Any]:
    """Return the arguments in texts of the form NAME=VALUE. The value is YAML: a number, true, a list, ...

    Raises:
        ConfigError: A text has another form.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"env-arg is {text!r}; it must be NAME=VALUE, such as render_size=64")
        arguments[name] = _parse_yaml("env-arg", value)
    return arguments


def parse_wrappers(texts: list[str]) -> list[Any]:
    """Return the wrappers in texts of the form module:Class, or module:Class: {argument: value} as in YAML.

    Raises:
        ConfigError: A text is not YAML.
    """
    return [_parse_yaml("wrapper", text) for text in texts]


def _is_plain(value: Any) -> bool:
    """Return True if YAML and JSON hold a value unchanged, so that a resumed run makes the same environment.

    JSON turns tuples into lists, and keys of mappings into texts. It has no dates.
    """
    try:
        yaml.safe_dump(value)
        return json.loads(json.dumps(value)) == value
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        return False


def _parse_yaml(option: str, text: str) -> Any:
    """Return the value of a text in YAML. Raises ConfigError if it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{option} is {text!r}, which is not YAML") from error
