"""Read and check the files of a run folder: env.json and metrics.jsonl. (config.yaml: `rl_lab.experiment.config`.)

The files may be damaged, or written by another program. So every value is checked before other modules compute with it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from agents.core.settings import ConfigError, check_fields
from envs.spec import EnvSpec
from rl_lab.errors import LabError
from rl_lab.system.data_files import MissingFileError, parse_json, read_json, read_text
from rl_lab.tracking.metric_names import STEP_METRIC

TEXT_METRICS = ("video",)
"""Metrics whose values are texts. All others are numbers."""

MAX_STEP = 2**53
"""Agent steps up to this number are whole numbers in float64, in which curves are computed."""


def read_env_spec(path: Path) -> EnvSpec:
    """Return the environment spec in env.json.

    Raises:
        LabError: The file cannot be read, or a field is missing, unknown, or has a value of the wrong type.
    """
    data = read_json(path)
    try:
        env_spec = EnvSpec.from_dict(data)
        check_fields(env_spec)
        _check_tuples(env_spec)
    except (ArithmeticError, AttributeError, ConfigError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LabError(f"{path} is not a readable environment spec: {reason}") from error
    return env_spec


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, oldest first. Each has a whole number `STEP_METRIC`; all others are numbers.

    An incomplete last line, which a process may be writing, is left out. A file that does not exist has no lines.

    Raises:
        LabError: The file cannot be read, or a line is damaged.
    """
    try:
        texts = read_text(path).split("\n")
    except MissingFileError:
        return []
    incomplete = len(texts)  # number of the part after the last line break, which is empty if the file is complete
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(texts, start=1):
        if number == incomplete and not text:
            break
        try:
            values = parse_json(text)
        except ValueError as error:
            if number == incomplete or (number == incomplete - 1 and not texts[-1]):
                break
            raise LabError(f"{path} is damaged at line {number}: {error}") from error
        problem = _find_problem(values)
        if problem is not None:
            raise LabError(f"{path} is damaged at line {number}: {problem}")
        lines.append(values)
    return lines


def is_number(value: Any) -> bool:
    """Return True for a number that float64 can hold. NaN and infinity are numbers; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _find_problem(values: Any) -> str | None:
    """Return what is wrong with a line of metrics, or None."""
    if not isinstance(values, dict):
        return f"it is {_shortened(values)}, not a JSON object"
    if STEP_METRIC not in values:
        return f"it has no {STEP_METRIC}"
    step = values[STEP_METRIC]
    if not is_number(step) or not 0 <= step <= MAX_STEP or step != math.floor(step):
        return f"{STEP_METRIC} is {_shortened(step)}; it must be a whole number"
    for name, value in values.items():
        if name in TEXT_METRICS and isinstance(value, str):
            continue
        if not is_number(value):
            return f"{_shortened(name)} is {_shortened(value)}; it must be a number"
    return None


def _check_tuples(env_spec: EnvSpec) -> None:
    """Raise ValueError if a field that is a tuple has items of the wrong type. `check_fields` checks other fields."""
    for name, smallest in (("frame", 1), ("masked", 0), ("action_numbers", 0)):
        for item in getattr(env_spec, name):
            if type(item) is not int or item < smallest:
                raise ValueError(f"{name} holds {_shortened(item)}; it must hold whole numbers from {smallest} on")
    if not env_spec.actions or not all(isinstance(action, str) for action in env_spec.actions):
        raise ValueError("actions must hold the names of the actions")


def _shortened(value: Any) -> str:
    """Return a value as text of at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
