"""The options of the command `train`, which `sweep` uses too."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
import yaml

from agents.core.settings import check_fields
from envs.spec import EnvSpec
from rl_lab.cli.parsing import canonical_args, flag_name, parse, value_of, values_of
from rl_lab.experiment import config
from rl_lab.experiment.config import Config
from rl_lab.experiment.config_layers import DEFAULT_PRESET, ConfigFile
from rl_lab.experiment.env_settings import ENV_SETTINGS, parse_env_args, parse_wrappers
from rl_lab.experiment.registry import AgentEntry, find_agent
from rl_lab.experiment.run_config import RunConfig
from rl_lab.experiment.setting_names import describe_similar
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG

CONFIG_HELP = "A YAML file of settings, such as the config.yaml of a run. Flags override it."


SHORT_HELP = frozenset(
    {
        *("env", "steps", "seed", "seeds", "jobs", "num_envs", "preset", "config", "device", "runs_dir", "wandb"),
        *("name", "print_config", "dry_run"),
        *("eval_every", "eval_episodes", "target", "stop_at_target", "init_from"),
        *("lr", "gamma", "batch_size", "hidden", "frame_stack", "n_step", "replay_size", "replay_ratio"),
        *(
            "epsilon_end",
            "epsilon_steps",
            "epochs",
            "baseline",
            "core",
            "unroll",
            "entropy_weight",
            "alpha",
            "learning_rate",
            "n_steps",
            "buffer_size",
            "num_quantiles",
            "n_quantiles",
            "temperature",
            "learn_temperature",
            "exploration_noise",
            "second_hidden",
            "tau",
            "ent_coef",
            "noise_std",
            "use_sde",
        ),
    }
)
"""The options that `train AGENT --help` shows, where the agent has them. `--help-all` shows all options."""

ENV_ARG_HELP = "Keyword argument of the environment's constructor. The value is YAML."
WRAPPER_HELP = "Wrapper around the environment, with arguments as in YAML: 'module:Class: {size: 3}'."
Repeated = tyro.conf.UseAppendAction[tuple[str, ...]]


class OptionsField(NamedTuple):
    """An option of `train`, or a dataclass of options."""

    name: str
    type: Any
    default: Any


class TrainingOptions(NamedTuple):
    """The parsed options of `train`."""

    options: Any  # with an attribute for each `OptionsField`
    config: Config
    env_spec: EnvSpec


def parse_training_options(
    name: str,
    args: list[str],
    extras: Sequence[OptionsField] = (),
    *,
    file: ConfigFile | None = None,
    command: str = "",
) -> TrainingOptions:
    """Return the options of `train NAME args`.

    The defaults of the options are the settings of the agent for this environment and preset; `--help` shows them.

    Args:
        name: Name of the agent.
        args: The arguments after it.
        extras: Further options.
        file: The file that `--config` names. None reads it, which is possible only once if the file is a pipe.
        command: The command that the user typed, to which error messages refer. Empty means `train NAME`.
    """
    command = command or f"train {name}"
    entry = find_agent(name)
    known = _setting_names(entry, extras)
    args = canonical_args(args, known)
    _reject_similar_names(args, known, command)
    file = file or read_config_file(args)
    env = value_of(args, "--env") or (file.env if file else None)
    wants_all = "--help-all" in args
    args = ["--help" if arg == "--help-all" else arg for arg in args]
    wants_help = "-h" in args or "--help" in args
    if env is None and not wants_help:
        exit_with_error(f"which environment? add --env NAME, for example: {PROG} train {name} --env Pong")
    preset = value_of(args, "--preset") or DEFAULT_PRESET
    env_flags = _env_settings(args)
    if env:
        from rl_lab import api

        defaults, env_spec = api.resolve_run(name, env, env_flags, preset=preset, file=file)
        description = entry.paper
    else:
        env_spec = None
        defaults = config.resolve(name, None, {}, preset=preset, file=file)
        description = f"{entry.paper}. The defaults depend on the environment: --env NAME --help shows those of one."

    options_fields = [
        OptionsField("run", RunConfig, defaults.run),
        OptionsField("agent", type(defaults.settings), defaults.settings),
        OptionsField("config", Annotated[str, tyro.conf.arg(help=CONFIG_HELP)], file.path if file else ""),
        OptionsField("env_arg", Annotated[Repeated, tyro.conf.arg(help=ENV_ARG_HELP, metavar="NAME=VALUE")], ()),
        OptionsField("wrapper", Annotated[Repeated, tyro.conf.arg(help=WRAPPER_HELP, metavar="MODULE:CLASS")], ()),
        *extras,
    ]
    if wants_help and not wants_all:
        options_fields = [_shortened(field) for field in options_fields]
        description = f"{description.rstrip('.')}. --help-all shows all options."
    options_class = dataclasses.make_dataclass("Train", [(field.name, field.type) for field in options_fields])
    default_options = options_class(*(field.default for field in options_fields))
    options = parse(options_class, args, command, description, default=default_options)
    check_fields(options)
    resolved = Config(name, options.run, options.agent)
    config.check(resolved)
    assert env_spec is not None  # without an environment, `parse` has printed the help and exited
    return TrainingOptions(options, resolved, env_spec)


def _shortened(field: OptionsField) -> OptionsField:
    """Return a copy of the field for the short help, which shows only the options in `SHORT_HELP`.

    If the type of the field is a dataclass of settings, the copy has a subclass that hides the other settings. The copy
    cannot be used for parsing, because tyro does not parse hidden options.
    """
    if not dataclasses.is_dataclass(field.type):
        if field.name in SHORT_HELP:
            return field
        return field._replace(type=Annotated[field.type, tyro.conf.Suppress])
    assert isinstance(field.type, type)
    types = typing.get_type_hints(field.type, include_extras=True)
    hidden = [
        (setting.name, Annotated[types[setting.name], tyro.conf.Suppress], setting)
        for setting in dataclasses.fields(field.type)
        if setting.name not in SHORT_HELP
    ]
    short_class = dataclasses.make_dataclass(field.type.__name__, hidden, bases=(field.type,), frozen=True)
    return OptionsField(field.name, short_class, short_class(**vars(field.default)))


def _env_settings(args: list[str]) -> dict[str, Any]:
    """Return the settings in the arguments that decide how the environment is made, before all arguments are parsed.

    Wrappers of --wrapper replace those of the `--config` file.
    """
    settings: dict[str, Any] = {}
    for name in (*ENV_SETTINGS, "protocol"):
        text = value_of(args, f"--{name.replace('_', '-')}")
        if text is not None:
            settings[name] = text
    if "image_size" in settings:
        settings["image_size"] = _whole_number(settings["image_size"])
    settings.pop("action_masks", None)  # a flag without a value
    for arg in args:  # the last one counts
        if arg in ("--action-masks", "--no-action-masks"):
            settings["action_masks"] = arg == "--action-masks"
    env_args = parse_env_args(values_of(args, "--env-arg"))
    if env_args:
        settings["env_args"] = env_args
    wrappers = parse_wrappers(values_of(args, "--wrapper"))
    if wrappers:
        settings["wrappers"] = wrappers
    return settings


def _whole_number(text: str) -> Any:
    """Return the number in a text, or the text if it holds none: the check of the settings then says what is wrong."""
    return int(text) if text.isdecimal() else text


def read_config_file(args: list[str]) -> ConfigFile | None:
    """Return the content of the file that `--config` names, or None without this flag."""
    path = value_of(args, "--config")
    return ConfigFile.read(path) if path else None


@contextlib.contextmanager
def args_of_jobs(args: list[str], file: ConfigFile | None) -> Iterator[list[str]]:
    """Yield arguments of `train` that several processes can use, until the end of the `with` block.

    A pipe that `--config` names is replaced by a temporary file with the same content.

    Args:
        args: The arguments, with flags under their own names.
        file: The content of the file that `--config` names, or None without this flag.
    """
    if file is None or Path(file.path).is_file():
        yield args
        return
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as copy:
        yaml.safe_dump(file.settings, copy)
        copy.flush()
        yield [*args, "--config", copy.name]  # the last flag counts


def canonical_training_args(name: str, args: list[str], extras: Sequence[OptionsField] = ()) -> list[str]:
    """Return the arguments of `train NAME args` with the flags under their own names (`canonical_args`)."""
    return canonical_args(args, _setting_names(find_agent(name), extras))


def _setting_names(entry: AgentEntry, extras: Sequence[OptionsField]) -> set[str]:
    """Return the names of all options of `train` for an agent."""
    names = {"config", "env_arg", "wrapper", *(extra.name for extra in extras)}
    for settings_class in (RunConfig, entry.load_config_class()):
        names |= {field.name for field in dataclasses.fields(settings_class)}
    return names


def _reject_similar_names(args: list[str], known: set[str], command: str) -> None:
    """Exit if a flag has the name of a setting of another library that has no exact equivalent."""
    for arg in args:
        name = flag_name(arg)
        similar = describe_similar(name, known) if name and name not in known else None
        if similar is not None:
            exit_with_error(f"unknown option {arg.split('=')[0]}; {similar} (see {PROG} {command} --help)")
