"""A sweep: many runs of one group, and the folder runs/sweeps/<group> in which Ray Tune records their progress."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rl_lab.errors import LabError
from rl_lab.system.data_files import DataFileError, read_json

FILE_KEYS = {  # attribute of Sweep -> key in sweep.json
    "kind": "kind",
    "started": "began",
    "group": "group",
    "runs_dir": "runs_dir",
    "cpu_per_run": "cpu_per_run",
    "gpu_per_run": "gpu_per_run",
    "retries": "retries",
    "request": "asked",
}


@dataclass(frozen=True)
class Sweep:
    """Everything that `sweep resume` needs, as JSON-compatible values."""

    kind: str  # "grid" or "search"
    started: str  # time of the start; the names of run folders begin with it
    group: str
    runs_dir: str
    cpu_per_run: float
    gpu_per_run: float
    retries: int
    request: dict[str, Any]
    """Of a grid: {"trials": [`TrialSpec.to_dict()`, ...]}. Of a search: the fields of `SearchRequest`."""

    @property
    def path(self) -> Path:
        """Return the folder of the sweep."""
        return Path(os.path.realpath(self.runs_dir)) / "sweeps" / self.group

    def write(self) -> None:
        """Create the folder of the sweep with its file sweep.json.

        Raises:
            LabError: The folder exists, or it cannot be written.
        """
        content = {key: getattr(self, attribute) for attribute, key in FILE_KEYS.items()}
        try:
            self.path.mkdir(parents=True)
            (self.path / "sweep.json").write_text(json.dumps(content, indent=1) + "\n")
        except FileExistsError:
            raise LabError(
                f"{self.path} exists: `sweep resume` continues that sweep, and another --group starts a new one"
            ) from None
        except OSError as error:
            raise LabError(f"the sweep folder {self.path} cannot be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: str) -> Sweep:
        """Return the sweep of a folder.

        Raises:
            LabError: The folder holds no sweep.
        """
        file = Path(path) / "sweep.json"
        try:
            content = read_json(file)
            sweep = cls(**{attribute: content[key] for attribute, key in FILE_KEYS.items()})
            _check_types(sweep)
        except (DataFileError, ValueError, TypeError, KeyError) as error:
            raise LabError(f"{path} is no sweep: {file} cannot be used: {error}") from error
        # A relative runs_dir depends on the working directory at the start of the sweep.
        runs_dir = Path(os.path.realpath(path)).parents[1]
        if Path(os.path.realpath(sweep.runs_dir)) != runs_dir:
            sweep = replace(sweep, runs_dir=str(runs_dir))
        return sweep

    def remove_if_not_started(self) -> None:
        """Remove the folder if Tune has not written anything into it."""
        if [file.name for file in self.path.iterdir()] == ["sweep.json"]:
            shutil.rmtree(self.path)


def _check_types(sweep: Sweep) -> None:
    """Raise ValueError if an attribute of a sweep from a file has the wrong type."""
    texts = (sweep.kind, sweep.started, sweep.group, sweep.runs_dir)
    is_valid = all(isinstance(text, str) for text in texts) and sweep.kind in ("grid", "search")
    numbers = (sweep.cpu_per_run, sweep.gpu_per_run, sweep.retries)
    is_valid = is_valid and all(type(number) in (int, float) for number in numbers) and isinstance(sweep.request, dict)
    if is_valid and sweep.kind == "grid":
        trials = sweep.request.get("trials")
        is_valid = isinstance(trials, list) and all(isinstance(trial, dict) and "path" in trial for trial in trials)
    if not is_valid:
        raise ValueError("an entry has the wrong type")
