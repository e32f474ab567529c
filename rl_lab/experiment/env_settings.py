"""The settings of a run that decide how its environment is made, as `envs.options.EnvOptions`."""

from __future__ import annotations

import json
from typing import Any

import yaml

from agents.core.settings import ConfigError, check_fields
from envs.options import EnvOptions, OptionError, WrapperSpec, parse_crop
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
        wrappers = tuple(WrapperSpec.parse(wrapper) for wrapper in run.wrappers)
    except OptionError as error:
        raise ConfigError(str(error)) from error
    if run.crop and run.view != "pixels":
        raise ConfigError(f"crop is {run.crop!r}; it is for view pixels only")
    return EnvOptions(
        env_args=run.env_args,
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
