"""Result files: results/SUITE/AGENT/ENV/SEED.json, the result of one run of a suite.

agent       name of the agent in the suite
env         environment; Atari games by name
seed        seed of the run
steps       agent steps of training
settings    setting -> value, of the run and of its agent; settings of the machine are left out
commit      commit of the checkout, with "+" if files were changed; "unknown" outside of a checkout
machine     cores, processor and GPU
minutes     wall-clock minutes of training, with the evaluations of the curve and without the final one
curve       [[agent steps, mean score of an evaluation during training], ...]
final       mean, std (standard deviation) and returns (one score an episode) of the evaluation after training
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rl_lab.errors import LabError
from rl_lab.experiment.run_files import is_number
from rl_lab.system.data_files import DataFileError, read_json
from rl_lab.system.portable_name import portable_name


@dataclass(frozen=True)
class FinalEvaluation:
    """What a trial of a suite does after training. The fields are a part of sweep.json."""

    path: str  # the result file, as an absolute path
    agent: str  # name of the agent in the suite
    env: str  # name of the environment in the suite
    games: int
    epsilon: float
    cut: int  # agent steps after which an episode is cut

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True)
class FinalScores:
    """The evaluation after training."""

    mean: float
    std: float
    returns: list[float]


@dataclass(frozen=True)
class SuiteResult:
    """The content of a result file."""

    agent: str
    env: str
    seed: int
    steps: int
    settings: dict[str, Any]
    commit: str
    machine: str
    minutes: float
    curve: list[list[float]]
    final: FinalScores

    def write(self, path: Path) -> None:
        """Write the file. It is complete or absent, also if the process is killed. Raises LabError."""
        lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in asdict(self).items()]
        new_file = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new_file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
            new_file.replace(path)
        except OSError as error:
            raise LabError(f"the result file {path} cannot be written: {error.strerror}") from error


def result_path(results_dir: str | Path, suite: str, agent: str, env: str, seed: int) -> Path:
    """Return the path of a result file."""
    return Path(results_dir) / suite / agent / portable_name(env) / f"{seed}.json"


def read_result(path: Path) -> SuiteResult:
    """Return the content of a result file.

    Raises:
        DataFileError: The file cannot be read, or an entry is missing or has the wrong type.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataFileError(f"{path} must hold a mapping, not {type(content).__name__}")
    missing = [field.name for field in fields(SuiteResult) if field.name not in content]
    if missing:
        raise DataFileError(f"{path} has no entry {missing[0]!r}")
    final = content["final"]
    if not isinstance(final, dict) or not {"mean", "std", "returns"} <= final.keys():
        raise DataFileError(f"final in {path} must hold mean, std and returns")
    _check_numbers(content, path)
    values = {field.name: content[field.name] for field in fields(SuiteResult)}
    values["final"] = FinalScores(final["mean"], final["std"], final["returns"])
    return SuiteResult(**values)


def read_results(folder: Path) -> list[SuiteResult]:
    """Return the result files in a folder of a suite, ordered by agent, environment and seed.

    Raises:
        DataFileError: A file is damaged, or it lies in the folder of another agent, environment or seed.
    """
    results = []
    for path in sorted(folder.glob("*/*/*.json"), key=lambda path: (path.parent, len(path.stem), path.stem)):
        result = read_result(path)
        expected = result_path(folder.parent, folder.name, result.agent, result.env, result.seed)
        if path != expected:
            raise DataFileError(f"{path} holds a result that belongs into {expected}")
        results.append(result)
    return results


def _check_numbers(content: dict[str, Any], path: Path) -> None:
    """Raise DataFileError if an entry of a result file has the wrong type, or a score is not finite."""
    final = content["final"]
    curve = content["curve"]
    texts = (content["agent"], content["env"], content["commit"], content["machine"])
    is_valid = all(isinstance(text, str) for text in texts) and isinstance(content["settings"], dict)
    is_valid = is_valid and all(type(content[name]) is int for name in ("seed", "steps"))
    is_valid = is_valid and _are_finite([content["minutes"], final["mean"], final["std"]])
    is_valid = is_valid and isinstance(final["returns"], list) and _are_finite(final["returns"])
    is_valid = is_valid and isinstance(curve, list)
    is_valid = is_valid and all(isinstance(point, list) and len(point) == 2 and _are_finite(point) for point in curve)
    if not is_valid:
        raise DataFileError(f"an entry of {path} has the wrong type")
    if not final["returns"]:
        raise DataFileError(f"{path} has no returns")


def _are_finite(values: Sequence[Any]) -> bool:
    return all(is_number(value) and math.isfinite(value) for value in values)
