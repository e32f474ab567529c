"""The layers of settings that come from YAML files. The command line overrides them.

A layer is a mapping of settings. An agent's YAML file has several sections, and each section is a layer. A preset is a
named set of sections that the user can choose by `--preset`. A later layer overrides an earlier one, in this order:

1. the section `default` of configs/<agent>.yaml
2. the section of the environment's family: `atari`, `image`, `planes` or `vector`
3. the section `states`, if the observations are one-hot vectors of discrete states, and the section `continuous`, if
   actions are continuous
4. the section of the environment: `Pong`; with view pixels, `CartPole-v1 pixels`
5. the sections of the preset: the sections with these four names below `presets: <preset>:`
6. the file given by `--config`

A YAML file with the line `extends: dqn` extends configs/dqn.yaml. The order is then: sections 1 to 4 of dqn.yaml,
sections 1 to 4 of the file, the sections of the preset in dqn.yaml, the sections of the preset in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agents.core.settings import ConfigError
from envs.spec import EnvSpec
from rl_lab.experiment.migration import migrate_settings
from rl_lab.experiment.setting_names import canonical_name
from rl_lab.system import data_files
from rl_lab.system.data_files import DataFileError

DEFAULT_PRESET = "default"


class Layer(NamedTuple):
    """A mapping of settings and its origin."""

    source: str  # file and section, for error messages
    settings: dict[str, Any]  # setting -> value


class PresetFile(NamedTuple):
    """An agent's YAML file."""

    path: Path
    sections: dict[str, Any]  # section name -> settings; "presets" -> preset name -> section name -> settings

    def preset(self, name: str) -> dict[str, Any]:
        """Return the sections of a preset, or an empty mapping if this file does not define it."""
        return self.presets().get(name, {})

    def presets(self) -> dict[str, dict[str, Any]]:
        """Return the presets: name -> section name -> settings. Raises ConfigError if a value is not a mapping."""
        presets = _mapping(self.sections.get("presets"), f"{self.path}, presets")
        return {name: _mapping(sections, f"{self.path}, preset {name}") for name, sections in presets.items()}


@dataclass(frozen=True)
class ConfigFile:
    """The content of a `--config` file. It is read once: a pipe, such as /dev/stdin, cannot be read again."""

    path: str
    settings: dict[str, Any]
    """All entries of the file: settings, and the name of the agent if the file is the config.yaml of a run. Those of a
    run of an older version are migrated (`rl_lab.experiment.migration`)."""

    @classmethod
    def read(cls, path: str) -> ConfigFile:
        """Read a file. Raises ConfigError as `read_yaml`."""
        return cls(path, migrate_settings(read_yaml(Path(path), allow_pipe=True), path))

    @property
    def env(self) -> str | None:
        """Return the name of the environment, or None if the file has none."""
        name = self._find("env")
        return str(name) if name else None

    @property
    def protocol(self) -> str:
        """Return the setting `protocol`, or "auto" if the file has none."""
        return str(self._find("protocol") or "auto")

    @property
    def env_args(self) -> dict[str, Any]:
        """Return the arguments of the environment's constructor."""
        env_args = self._find("env_args")
        return env_args if isinstance(env_args, dict) else {}

    def _find(self, setting: str) -> Any:
        """Return the value of a setting of the run, which may have the name of another library; None if missing."""
        for name, value in self.settings.items():
            if canonical_name(str(name), (setting,)) == setting:
                return value
        return None


def read_yaml(path: Path, *, allow_pipe: bool = False) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Args:
        path: The file.
        allow_pipe: Accept pipes and devices too, such as /dev/stdin.

    Raises:
        ConfigError: The file cannot be read, is not valid YAML, has a key twice, or holds something else.
    """
    try:
        data = data_files.read_yaml(path, allow_pipe=allow_pipe)
    except DataFileError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(data).__name__}")
    return data


def preset_layers(presets: Path | None, env_spec: EnvSpec | None, preset: str) -> list[Layer]:
    """Return the layers of an agent's YAML files. A later layer overrides an earlier one.

    Args:
        presets: The agent's YAML file, or None if the agent has none.
        env_spec: The environment. None selects the section `default` only.
        preset: Name of the preset.

    Raises:
        ConfigError: A file cannot be read, or the preset is unknown or has no settings for the environment.
    """
    files = _files_from_base_to_agent(presets)
    names = _section_names(env_spec)
    _check_preset(files, env_spec, preset, names)
    layers = []
    for file in files:
        layers += _layers_of(file.sections, names, f"{file.path}, section")
    for file in files:
        layers += _layers_of(file.preset(preset), names, f"{file.path}, preset {preset}, section")
    return layers


def preset_sections(presets: Path | None) -> dict[str, list[str]]:
    """Return the presets of an agent, `default` included, with the names of the sections that have settings.

    Args:
        presets: The agent's YAML file, or None if the agent has none.

    Raises:
        ConfigError: A file cannot be read.
    """
    sections_by_preset: dict[str, list[str]] = {DEFAULT_PRESET: []}
    for file in _files_from_base_to_agent(presets):
        own = {name: file.sections[name] for name in file.sections if name != "presets"}
        for preset, sections in {DEFAULT_PRESET: own, **file.presets()}.items():
            names = sections_by_preset.setdefault(preset, [])
            names += [name for name, settings in sections.items() if settings and name not in names]
    return sections_by_preset


def file_layer(file: ConfigFile | None, agent: str) -> list[Layer]:
    """Return the layer of a `--config` file, as a list. The file may be the config.yaml of a run.

    The environment and the preset in the file are left out: both are chosen before the layers are read.

    Args:
        file: The file. None returns an empty list.
        agent: Name of the agent.

    Raises:
        ConfigError: The file is the configuration of another agent.
    """
    if file is None:
        return []
    agent_of_file = file.settings.get("agent", agent)
    if agent_of_file != agent:
        raise ConfigError(f"{file.path} is the configuration of the agent {agent_of_file}, not of {agent}")
    chosen_before = ("agent", "env", "preset")
    settings = {
        name: value for name, value in file.settings.items() if canonical_name(str(name), chosen_before) is None
    }
    return [Layer(file.path, settings)]


def _files_from_base_to_agent(presets: Path | None) -> list[PresetFile]:
    """Return the agent's YAML file as the last element, and before it the files that it extends."""
    files: list[PresetFile] = []
    path = presets
    while path is not None:
        if path in [file.path for file in files]:
            raise ConfigError(f"{path} extends itself")
        sections = read_yaml(path)
        base = sections.pop("extends", None)
        files.insert(0, PresetFile(path, sections))
        path = path.with_name(f"{base}.yaml") if base else None
    return files


def _section_names(env_spec: EnvSpec | None) -> list[str]:
    """Return the names of the sections that apply to an environment, in the order of their layers."""
    names = ["default"]
    if env_spec is None:
        return names
    names.append(env_spec.family)
    if env_spec.one_hot:
        names.append("states")
    if env_spec.is_continuous:
        names.append("continuous")
    # Settings for an environment's own observations do not suit pictures of it.
    names.append(f"{env_spec.name} pixels" if env_spec.view == "pixels" else env_spec.name)
    return names


def _layers_of(sections: dict[str, Any], names: list[str], source: str) -> list[Layer]:
    """Return one layer for each of these names that is a section, in the order of the names."""
    used = [name for name in names if name in sections]
    return [Layer(f"{source} {name}", _mapping(sections[name], f"{source} {name}")) for name in used]


def _mapping(value: Any, source: str) -> dict[str, Any]:
    """Return the value, which must be a mapping. Raises ConfigError if it is not. An empty entry has no values."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{source} must hold a mapping of settings, not {type(value).__name__}")
    return value


def _check_preset(files: list[PresetFile], env_spec: EnvSpec | None, preset: str, names: list[str]) -> None:
    """Raise ConfigError if no file defines the preset, or if the preset has none of the sections `names`."""
    if preset == DEFAULT_PRESET:
        return
    sections_by_preset: dict[str, set[str]] = {}  # preset -> names of its sections in all files
    for file in files:
        for name, sections in file.presets().items():
            sections_by_preset.setdefault(name, set()).update(sections)
    if preset not in sections_by_preset:
        known = ", ".join([DEFAULT_PRESET, *sections_by_preset])
        raise ConfigError(f"unknown preset {preset!r}; there are: {known}")
    sections_of_preset = sections_by_preset[preset]
    if env_spec is not None and sections_of_preset.isdisjoint(names):
        known = ", ".join(sorted(sections_of_preset))
        raise ConfigError(f"preset {preset} has no settings for {env_spec.name}; it has some for: {known}")
