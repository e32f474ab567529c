"""A run on disk: its folder and the files that describe it, and how runs are found by name.

runs/<env>/<agent>/<time>-s<seed>[-<name>]/
    config.yaml       the resolved configuration
    env.json          the environment spec
    metrics.jsonl     logged metrics, one JSON object a line
    checkpoints/      the best network, and the newest states of training
    videos/           recorded evaluation episodes
    wandb/            files of Weights & Biases
    tensorboard/      event files of TensorBoard
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from envs.spec import EnvSpec
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.demo_agents import DEMOS, named_demo
from rl_lab.experiment.run_files import read_env_spec, read_metrics
from rl_lab.experiment.run_search import FoundFolders, find_run_folders
from rl_lab.system.data_files import MISSING, DataFileError, read_text
from rl_lab.system.portable_name import portable_name

if TYPE_CHECKING:
    import pandas

MAX_RUNS_PER_SECOND = 1000

TIME_FORMAT = "%Y%m%d-%H%M%S"
"""Format of the time with which the names of run folders begin."""

NO_FOLDER = (*MISSING, errno.ENAMETOOLONG, errno.ELOOP)
"""Error numbers of a path that is not a folder. It may still be a part of the name of a run."""

RUN_DEPTH = 3
"""Levels of folders from `runs_dir` to a run folder: environment, agent, run."""


@dataclass(frozen=True)
class Run:
    """A run folder that exists. Its files are read on every access."""

    path: Path
    """The folder. It is made absolute, because an environment may change the working directory."""
    shown_path: str = field(default="", compare=False)
    """The folder as messages show it. The default is `path` as it was given."""

    def __post_init__(self) -> None:
        """Make the path absolute."""
        object.__setattr__(self, "shown_path", self.shown_path or str(self.path))
        object.__setattr__(self, "path", self.path.absolute())

    @classmethod
    def create(cls, config: Config, env_spec: EnvSpec, path: Path | None = None) -> Run:
        """Create a run folder with config.yaml and env.json.

        Args:
            config: The configuration.
            env_spec: The environment.
            path: The folder to create. None creates one whose name is the time and the seed.

        Raises:
            LabError: The folder exists already, or cannot be written. No folder is left behind.
        """
        try:
            folder = _create_folder(cls.folder_of(config, env_spec), config, path)
            _write_description(folder, config, env_spec)
        except OSError as error:
            raise LabError(f"no run folder can be made in {config.run.runs_dir}: {error.strerror}") from error
        except ValueError as error:  # a NUL character in the path
            raise LabError(f"no run folder can be made in {config.run.runs_dir!r}: {error}") from error
        return cls(folder)

    @staticmethod
    def folder_of(config: Config, env_spec: EnvSpec) -> Path:
        """Return the parent folder of all runs of this agent on this environment."""
        return Path(config.run.runs_dir) / portable_name(env_spec.name) / config.agent

    @classmethod
    def find(cls, name: str | Path | Run, runs_dir: str | Path = "runs") -> Run:
        """Return the run with a name.

        Args:
            name: A run folder; "latest", the newest run; an unambiguous part of the run's path below `runs_dir`; "demo"
                or "demo:NAME", an agent that is part of the package; or a `Run`, which is returned unchanged.
            runs_dir: Folder of the run folders.

        Raises:
            LabError: No run has this name, or several have, or the folder cannot be read.
        """
        if isinstance(name, Run):
            return name
        if _is_run_folder(Path(name)):
            return cls(Path(name))
        demo = named_demo(str(name))
        if demo is not None:
            return cls(demo)
        root = Path(runs_dir)
        found = find_run_folders(root, RUN_DEPTH)
        runs = sorted(found.runs, key=creation_order)
        if not runs:
            raise LabError(_no_runs_message(root, found))
        if str(name) == "latest":
            return cls(runs[-1])
        return cls(_find_by_part(str(name), runs, root))

    @classmethod
    def of_group(cls, group: str, runs_dir: str | Path) -> list[Run]:
        """Return the runs of a group, ordered by path. Runs whose configuration cannot be read are left out."""
        line = yaml.safe_dump({"group": group})  # the setting as it is written in config.yaml, with YAML's quotes
        runs = []
        for folder in find_run_folders(Path(runs_dir), RUN_DEPTH).runs:
            try:
                text = read_text(folder / "config.yaml")
            except DataFileError:
                continue
            if f"\n{line}" in text:
                runs.append(cls(folder))
        return runs

    def change(self, config: Config) -> None:
        """Replace the configuration of the run.

        Raises:
            ConfigError: A setting is out of range.
            LabError: The file cannot be written.
        """
        configuration.check(config)
        new_file = self.path / "config.yaml.new"
        try:
            new_file.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
            new_file.replace(self.path / "config.yaml")
        except OSError as error:
            raise LabError(f"{self.path / 'config.yaml'} cannot be written: {error.strerror}") from error

    @property
    def is_demo(self) -> bool:
        """Return True for an agent that is part of the package, whose folder receives no files."""
        return self.path.parent == DEMOS

    @property
    def config(self) -> Config:
        """Read the configuration. Raises ConfigError if the file is damaged."""
        path = self.path / "config.yaml"
        return configuration.from_dict(read_yaml(path), str(path))

    @property
    def env_spec(self) -> EnvSpec:
        """Read the environment spec. Raises LabError if the file is damaged."""
        return read_env_spec(self.path / "env.json")

    @property
    def card(self) -> EnvSpec:
        """Return `env_spec`. Deprecated: use `env_spec`."""
        warnings.warn("Run.card is deprecated; use Run.env_spec", DeprecationWarning, stacklevel=2)
        return self.env_spec

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, oldest first, checked. Raises LabError as `read_metrics` does."""
        return read_metrics(self.path / "metrics.jsonl")

    def metrics_frame(self) -> pandas.DataFrame:
        """Return the metrics as a DataFrame: the agent step as index, one column for each metric.

        Raises:
            LabError: pandas is not installed, or metrics.jsonl is damaged.
        """
        from rl_lab.tracking.data_frames import metrics_frame  # most programs need no pandas

        return metrics_frame(self.metrics())

    def __str__(self) -> str:
        return self.shown_path


def creation_order(folder: Path) -> tuple[str, str, Path]:
    """Return the key that sorts run folders by the time of their creation, oldest first.

    The name of a folder that `train` or `sweep` created begins with this time. Pulled runs and folders with a name of
    the user's own have other names. They are sorted by the time of env.json, which no command changes.
    """
    match = re.match(r"\d{8}-\d{6}", folder.name)
    if match:
        return match[0], folder.name, folder
    try:
        written_at = time.localtime(os.stat(folder / "env.json").st_mtime)
    except OSError:  # the file is missing
        return "", folder.name, folder
    return time.strftime(TIME_FORMAT, written_at), folder.name, folder


def _create_folder(parent: Path, config: Config, path: Path | None) -> Path:
    """Create and return the folder `path`, or one in `parent` whose name is the time, the seed and the run's name."""
    if path is not None:
        candidates = [path]
    else:
        stem = f"{time.strftime(TIME_FORMAT)}-s{config.run.seed}"
        if config.run.name:
            stem += f"-{portable_name(config.run.name)}"
        suffixes = ["", *(f"-{number}" for number in range(2, MAX_RUNS_PER_SECOND))]
        candidates = [parent / f"{stem}{suffix}" for suffix in suffixes]
    for folder in candidates:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():  # a file has this name, or a parent is a file
                raise
        else:
            return folder
    raise LabError(f"{candidates[-1]} exists already")


def _write_description(folder: Path, config: Config, env_spec: EnvSpec) -> None:
    """Write config.yaml and env.json into a new run folder. If this fails, remove the folder."""
    try:
        (folder / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
        (folder / "env.json").write_text(json.dumps(env_spec.to_dict(), indent=2) + "\n")
    except BaseException:  # also on Ctrl-C
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _is_run_folder(path: Path) -> bool:
    """Return True if something is called config.yaml in the folder. Raise LabError if the folder cannot be read."""
    if not path.parts:  # the empty name is not the working directory
        return False
    try:
        os.lstat(path / "config.yaml")
    except OSError as error:
        if error.errno in NO_FOLDER:
            return False
        raise LabError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:  # a NUL character in the name
        return False
    return True


def _no_runs_message(root: Path, found: FoundFolders) -> str:
    """Return the message for a folder without runs that can be read."""
    if found.problems:
        return f"there are no runs in {root} that can be read; {found.problems[0]}"
    return f"there are no runs in {root}; train one first, or name its folder by --runs-dir"


def _find_by_part(part: str, runs: list[Path], root: Path) -> Path:
    """Return the only run whose path below `root` contains `part`, or whose name or path is `part`."""
    matches = [path for path in runs if part in str(path.relative_to(root))]
    exact = [path for path in matches if part in (path.name, str(path.relative_to(root)))]
    matches = exact or matches
    if not matches and os.path.isdir(part):
        raise LabError(f"{part} is not a run folder: it has no config.yaml")
    if not matches:
        raise LabError(f"no run in {root} is called {part!r}; the latest is {runs[-1].relative_to(root)}")
    if len(matches) > 1:
        examples = ", ".join(str(path.relative_to(root)) for path in matches[-3:])
        raise LabError(f"{len(matches)} runs in {root} match {part!r}, among them {examples}; use a longer part")
    return matches[0]
