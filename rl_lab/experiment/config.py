"""A run's configuration: the settings of the run, those of its agent, and the layers they come from.

Later layers win: dataclass defaults < `default` < the env family (`atari`, `image`, `vector`) < the env (`Pong`) of
configs/<agent>.yaml (all sections of a file that it extends before its own) < `--preset` < `--config` < flags. A preset is a
section of the same kind under `presets`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from agents.core.settings import ConfigError, Count, CountOrZero, Fraction, NonNegative, Range, check_fields
from envs.gymnasium_envs import Vectorization
from envs.spec import EnvSpec, View
from rl_lab.experiment.registry import find_agent

Seed = Annotated[int, Range(0, 2**31 - 1)]


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run. An agent step is one decision in one environment."""

    env: str = ""
    """An Atari game (Pong), or any Gymnasium id with discrete actions whose observation is a Box or a number (CartPole-v1); one of
    your own is mymodule:MyEnv-v0."""
    protocol: Literal["auto", "classic", "machado", "v5"] = "auto"
    """How an Atari game is played; auto is what the env's name implies."""
    flicker: Fraction = 0.0
    """Probability that an observation is blank: a partly observable version (Hausknecht and Stone 2015)."""
    mask_velocity: bool = False
    """Whether the speeds in a vector observation are hidden: a partly observable version (CartPole-v1 and the like)."""
    view: View = "grey"
    """How an Atari screen becomes a frame: 84 x 84 grey levels, or Pong's field in 80 x 80 zeros and ones (Karpathy 2016)."""
    actions: str = ""
    """The only actions the agent may take, by name: RIGHT,LEFT; empty for all."""
    preset: str = "default"
    """A named set of settings from the agent's YAML file."""
    init_from: str = ""
    """A run whose best network this one begins with; everything else begins anew."""
    steps: Count = 1_000_000
    """Agent steps to train for, over all environments."""
    seed: Seed = 1
    """Seed of everything random in the run."""
    group: str = ""
    """Name that the runs of one study share, for `compare` and W&B (where it is agent/env unless given)."""
    num_envs: Count = 8
    """Environments that run side by side."""
    emulator_threads: CountOrZero = 0
    """Threads for Atari's emulators; 0 is one for each core that the process may use."""
    collectors: CountOrZero = 0
    """Processes of Ray that play, on this machine or on others, and send their rows to this one; 0 plays here."""
    address: str = ""
    """The Ray cluster of the collectors: host:port, "auto" for this machine's; else RAY_ADDRESS, else one of this run alone."""
    vectorization: Vectorization = "auto"
    """How other environments run: in this process (sync) or in one each (async); auto is async for images."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the network and the replay live; auto is cuda, else mps, else cpu."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the encoder of images computes in; auto is bfloat16 where the device is fast at it. All else, weights too, is float32."""
    eval_every: CountOrZero = 50_000
    """Agent steps between two evaluations; 0 evaluates at the end only."""
    eval_episodes: Count = 10
    """Whole games an evaluation plays."""
    eval_epsilon: Fraction = 0.001
    """Share of random actions in an evaluation."""
    target: float | None = None
    """A score worth noting: W&B's summary says after how many agent steps and minutes an evaluation first reached it."""
    video_every: CountOrZero = 0
    """Agent steps between two videos of an evaluation game, in the run's videos/; 0 makes none."""
    checkpoint_every: CountOrZero = 100_000
    """Agent steps between two checkpoints; 0 leaves them to checkpoint_minutes."""
    checkpoint_minutes: NonNegative = 10.0
    """Minutes after which a checkpoint is due in any case; 0 leaves them to checkpoint_every."""
    env_timeout: NonNegative = 300.0
    """Seconds without a row after which the environments count as hung and the run ends; 0 waits for ever."""
    log_every: Count = 2_000
    """Agent steps between two lines of training's metrics in metrics.jsonl."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases; auto is online if a key is found, else offline."""
    wandb_project: str = "rl_lab"
    """Project the run is logged to."""
    runs_dir: str = "runs"
    """Folder that run folders are made in."""


@dataclass(frozen=True)
class Config:
    """A resolved configuration: nothing is implied any more."""

    agent: str
    run: RunConfig
    settings: Any = field(repr=False)  # the agent's own dataclass

    def to_dict(self) -> dict[str, Any]:
        """Flat, as config.yaml holds it and `--config` reads it."""
        return {"agent": self.agent, **dataclasses.asdict(self.run), **dataclasses.asdict(self.settings)}


def resolve(
    agent: str, env_spec: EnvSpec | None, overrides: dict[str, Any], *, preset: str = "default", file: str | None = None
) -> Config:
    """The configuration of `agent` on the card's environment (without one: on any). `overrides` are the flags.

    Raises ConfigError for an unknown key, a wrong type or a value out of range, naming the file where it stands.
    """
    entry = find_agent(agent)
    settings_class = entry.load().config_class
    known = _field_types(settings_class)
    values: dict[str, Any] = {}
    for where, section in [*_layers(entry.presets, env_spec, preset), *_file_layer(file, agent)]:
        values |= _checked(section, known, where)
    values |= _checked(overrides, known, "the call")
    if env_spec is not None:
        values.setdefault("env", env_spec.name)
    return _build(agent, settings_class, values | {"preset": preset})


def check(config: Config) -> None:
    """Raise ConfigError at the first setting that cannot be."""
    check_fields(config.run)
    check_fields(config.settings)
    if config.run.num_envs > config.run.steps:
        raise ConfigError(f"num_envs is {config.run.num_envs}; it must be at most steps, {config.run.steps}")


def from_dict(data: dict[str, Any], where: str) -> Config:
    """The configuration that `to_dict` wrote."""
    agent = data.get("agent")
    if not isinstance(agent, str):
        raise ConfigError(f"{where} names no agent")
    settings_class = find_agent(agent).load().config_class
    values = {k: v for k, v in data.items() if k != "agent"}
    return _build(agent, settings_class, _checked(values, _field_types(settings_class), where))


def replace_settings(config: Config, settings: dict[str, Any], where: str) -> Config:
    """The configuration with other values for some settings, which `where` names. Raises ConfigError as `resolve` does."""
    known = _field_types(type(config.settings))
    values = config.to_dict() | _checked(settings, known, where)
    agent = values.pop("agent")
    return _build(agent, type(config.settings), values)


def _build(agent: str, settings_class: type, values: dict[str, Any]) -> Config:
    run_names = {f.name for f in dataclasses.fields(RunConfig)}
    run = RunConfig(**{k: v for k, v in values.items() if k in run_names})
    config = Config(agent, run, settings_class(**{k: v for k, v in values.items() if k not in run_names}))
    check(config)
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises ConfigError in one line if it does not."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(data).__name__}")
    return data


def _field_types(settings_class: type) -> dict[str, Any]:
    """Every setting of a run with this agent, with its plain type."""
    return typing.get_type_hints(RunConfig) | typing.get_type_hints(settings_class)


def _yaml_files(presets: Path | None) -> list[tuple[Path, dict[str, Any]]]:
    """An agent's YAML file after those it extends, one by one: what is nearer to the agent comes later."""
    if presets is None:
        return []
    data = read_yaml(presets)
    base = data.pop("extends", None)
    return [*_yaml_files(presets.with_name(f"{base}.yaml") if base else None), (presets, data)]


def _layers(presets: Path | None, env_spec: EnvSpec | None, preset: str) -> list[tuple[str, dict[str, Any]]]:
    """The sections of the agent's YAML files that apply, weakest first: all defaults, then all of the preset."""
    files = _yaml_files(presets)
    named: dict[str, set[str]] = {}  # the sections of each preset
    for _, data in files:
        for name, sections in data.get("presets", {}).items():
            named.setdefault(name, set()).update(sections)
    if preset != "default" and preset not in named:
        raise ConfigError(f"unknown preset {preset!r}; there are: {', '.join(['default', *named])}")
    chain = ["default", *([env_spec.family, env_spec.name] if env_spec else [])]
    if preset != "default" and env_spec is not None and not named[preset] & set(chain):
        where = ", ".join(sorted(named[preset]))
        raise ConfigError(f"preset {preset} has no settings for {env_spec.name}; it has some for: {where}")
    found = [(f"{path}, section {name}", data[name]) for path, data in files for name in chain if name in data]
    for path, data in files:
        sections = data.get("presets", {}).get(preset, {})
        found += [(f"{path}, preset {preset}, section {name}", sections[name]) for name in chain if name in sections]
    return found


def _file_layer(file: str | None, agent: str) -> list[tuple[str, dict[str, Any]]]:
    """The settings of a `--config` file, which may be a run's config.yaml."""
    if file is None:
        return []
    data = read_yaml(Path(file))
    if data.pop("agent", agent) != agent:
        raise ConfigError(f"{file} is the configuration of another agent than {agent}")
    return [(file, {k: v for k, v in data.items() if k not in ("env", "preset")})]


def protocol_of(file: str | None) -> str:
    """The protocol that a `--config` file asks for: it decides the env card, before anything else is resolved."""
    return str(read_yaml(Path(file)).get("protocol", "auto")) if file else "auto"


def env_of(file: str | None) -> str | None:
    """The environment that a `--config` file names, such as a run's config.yaml."""
    named = read_yaml(Path(file)).get("env") if file else None
    return str(named) if named else None


def whole(text: str) -> Any:
    """1e6 and 2.5e5 as the whole numbers that they are; any other text as it is."""
    if re.fullmatch(r"\d+(\.\d+)?[eE]\+?\d{1,2}", text) and float(text).is_integer():
        return int(float(text))
    return text


def _checked(section: dict[str, Any], known: dict[str, Any], where: str) -> dict[str, Any]:
    """The section with its numbers as the fields want them, every key known."""
    out = {}
    for key, value in section.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.0)[0]
            raise ConfigError(f"unknown setting {key!r} in {where}; the nearest is {near!r}")
        if known[key] is int and isinstance(value, str):
            value = whole(value)
        if known[key] is float and not isinstance(value, bool):
            try:
                value = float(value)  # YAML reads 1e-4 as a text
            except (TypeError, ValueError):
                raise ConfigError(f"{key} is {value!r} in {where}; it must be a number") from None
        out[key] = value
    return out
