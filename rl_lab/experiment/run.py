"""A run on disk: its folder, and how people name it.

runs/<env>/<agent>/<time>-s<seed>/
    config.yaml       the resolved configuration       env.json      the env card
    metrics.jsonl     one line a log interval          checkpoints/  best and last        videos/  wandb/
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envs.spec import EnvSpec
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config

DEMO = Path(__file__).parents[1] / "demo"  # a run folder with its best network only


@dataclass(frozen=True)
class Run:
    """A run folder that exists. Its config and card are read when asked for."""

    path: Path

    @classmethod
    def create(cls, config: Config, env_spec: EnvSpec, path: Path | None = None) -> Run:
        """Make the folder, `path` or one with the time in its name, and write what is known before training.

        Raises LabError where it cannot be written.
        """
        parent = cls.folder_of(config, env_spec)
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-s{config.run.seed}"
        names = [path] if path else [parent / stem, *(parent / f"{stem}-{i}" for i in range(2, 1000))]
        try:
            for path in names:
                try:
                    path.mkdir(parents=True)
                    break
                except FileExistsError:
                    if not path.is_dir():
                        raise
            else:
                raise LabError(f"{names[-1]} is there already")
            (path / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
            (path / "env.json").write_text(json.dumps(env_spec.to_dict(), indent=2) + "\n")
        except OSError as error:
            raise LabError(f"no run folder can be made in {config.run.runs_dir}: {error.strerror}") from error
        return cls(path)

    @staticmethod
    def folder_of(config: Config, env_spec: EnvSpec) -> Path:
        """The folder that holds the runs of this agent on this environment."""
        return Path(config.run.runs_dir) / env_spec.name.replace("/", "-") / config.agent

    @classmethod
    def find(cls, name: str | Path | Run, runs_dir: str | Path = "runs") -> Run:
        """A run folder, "latest", an unambiguous part of a run's path below `runs_dir`, or "demo", which comes with the lab.

        Raises LabError where no run or more than one fits.
        """
        if isinstance(name, Run):
            return name
        if (Path(name) / "config.yaml").is_file():
            return cls(Path(name))
        if str(name) == "demo":
            return cls(DEMO)
        root = Path(runs_dir)
        runs = sorted((p.parent for p in root.glob("*/*/*/config.yaml")), key=lambda p: (p.name, p))
        if not runs:
            raise LabError(f"there are no runs in {root}; train one first, or name its folder by --runs-dir")
        if str(name) == "latest":
            return cls(runs[-1])
        fits = [p for p in runs if str(name) in str(p.relative_to(root))]
        fits = [p for p in fits if str(name) in (p.name, str(p.relative_to(root)))] or fits
        if not fits:
            raise LabError(f"no run in {root} is called {str(name)!r}; the latest is {runs[-1].relative_to(root)}")
        if len(fits) > 1:
            some = ", ".join(str(p.relative_to(root)) for p in fits[-3:])
            raise LabError(f"{len(fits)} runs in {root} fit {str(name)!r}, among them {some}; say more of the name")
        return cls(fits[0])

    @classmethod
    def of_group(cls, group: str, runs_dir: str | Path) -> list[Run]:
        """The runs of a group, by their folders; damaged ones too."""
        line = yaml.safe_dump({"group": group})  # as it stands in the file, with YAML's own quotes
        paths = sorted(Path(runs_dir).glob("*/*/*/config.yaml"))
        return [cls(path.parent) for path in paths if f"\n{line}" in path.read_text(errors="replace")]

    def change(self, config: Config) -> None:
        """Give the run another configuration. Raises ConfigError where it cannot be."""
        configuration.check(config)
        fresh = self.path / "config.yaml.new"
        fresh.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
        fresh.replace(self.path / "config.yaml")

    @property
    def config(self) -> Config:
        path = self.path / "config.yaml"
        return configuration.from_dict(configuration.read_yaml(path), str(path))

    @property
    def env_spec(self) -> EnvSpec:
        path = self.path / "env.json"
        try:
            return EnvSpec.from_dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LabError(f"{path} is not a readable env card: {error}") from error

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, oldest first; a torn last line is left out."""
        path = self.path / "metrics.jsonl"
        try:
            lines = path.read_text().splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise LabError(f"{path} cannot be read: {error}") from error
        found = []
        for i, line in enumerate(lines):
            try:
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError("it is no JSON object")
                found.append(values)
            except ValueError as error:
                if i < len(lines) - 1:
                    raise LabError(f"{path} is damaged at line {i + 1}: {error}") from error
        return found

    def __str__(self) -> str:
        return str(self.path)
