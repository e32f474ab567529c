"""Published scores beside those of a suite: from the suite's YAML file, or from two CSV files in a folder.

    atari100k_runs.csv      agent,game,run,score: one line for each published run
    atari100k_scores.csv    game,random,human,COLUMN,...: mean scores, one column for each agent

The files are not part of the lab, because the notes beside them name no licence. `--published-dir` or the environment
variable RL_LAB_PUBLISHED_DIR names their folder. Without a folder, only the scores in the YAML file are there.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rl_lab.compare.statistics import mean, median
from rl_lab.errors import LabError
from rl_lab.suite.score_set import ScoreSet
from rl_lab.suite.suite import PublishedEntry, Suite
from rl_lab.system.data_files import DataFileError, read_text

FOLDER_VARIABLE = "RL_LAB_PUBLISHED_DIR"
"""Environment variable that names the folder of the CSV files."""

RUNS_FILE = "atari100k_runs.csv"
MEANS_FILE = "atari100k_scores.csv"

TOLERANCE = 0.005
"""Largest difference of a published mean or median from that of recalled scores: published ones have two or three
digits, and so have the scores behind them."""


@dataclass
class PublishedScores:
    """The published scores of a suite."""

    score_sets: list[ScoreSet] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One message for each published agent that is left out, and why."""


def published_folder(published_dir: str) -> Path | None:
    """Return the folder of the CSV files, or None if neither the option nor the environment variable names a folder.

    Args:
        published_dir: The option `--published-dir`. An empty text stands for the environment variable.

    Raises:
        LabError: The folder does not exist.
    """
    source = "published_dir" if published_dir else FOLDER_VARIABLE
    name = published_dir or os.environ.get(FOLDER_VARIABLE, "")
    if not name:
        return None
    if not Path(name).is_dir():
        raise LabError(f"{source} is {name!r}; there is no such folder")
    return Path(name)


def read_published(suite: Suite, folder: Path | None) -> PublishedScores:
    """Return the published scores of a suite. What cannot be read or fails its check is left out.

    Args:
        suite: The suite.
        folder: Folder of the CSV files, or None. Without a folder, one message names all agents of the CSV files.
    """
    found = PublishedScores()
    in_files = []
    for entry in suite.published:
        if folder is None and not entry.scores:
            in_files.append(entry.name)
            continue
        try:
            found.score_sets.append(read_entry(entry, suite, folder))
        except LabError as error:
            found.problems.append(f"{entry.name} is left out: {error}")
    if in_files:
        verb = "is" if len(in_files) == 1 else "are"
        found.problems.append(f"{', '.join(in_files)} {verb} left out: {_no_folder_message()}")
    return found


def read_entry(entry: PublishedEntry, suite: Suite, folder: Path | None) -> ScoreSet:
    """Return the scores of one published agent.

    Args:
        entry: The published agent.
        suite: Its suite.
        folder: Folder of the CSV files, or None.

    Raises:
        LabError: There is no folder, a file cannot be read, an environment has no score, or recalled scores differ from
            their published mean or median.
    """
    if entry.scores:
        scores = {env: np.array([score], float) for env, score in entry.scores.items()}
    elif folder is None:
        raise LabError(_no_folder_message())
    elif entry.runs:
        scores = _read_runs(folder / RUNS_FILE, entry.runs)
    else:
        scores = _read_means(folder / MEANS_FILE, entry.column)
    missing = [env for env in suite.envs if env not in scores]
    if missing:
        raise LabError(f"it has no score on {missing[0]}")
    values = {"IQM": entry.iqm, "median": entry.median, "mean": entry.mean}
    quoted = {name: value for name, value in values.items() if value is not None}
    score_set = ScoreSet(
        entry.name,
        {env: scores[env] for env in suite.envs},
        is_published=True,
        is_recalled=entry.recalled,
        are_means=not entry.runs,
        source=entry.source,
        quoted=quoted,
    )
    if entry.recalled:
        _check_recalled(score_set, suite.envs)
    return score_set


def _no_folder_message() -> str:
    """Return how to name the folder of the CSV files."""
    return f"name the folder of {RUNS_FILE} and {MEANS_FILE} by --published-dir or {FOLDER_VARIABLE}"


def _check_recalled(score_set: ScoreSet, envs: Sequence[str]) -> None:
    """Raise LabError if the normalised scores do not have the published mean and median."""
    scores = score_set.normalised(envs)
    if scores is None:
        raise LabError("its scores cannot be normalised, so they cannot be checked")
    resampled = [each[None] for each in scores]
    computed = {"mean": float(mean(resampled)[0]), "median": float(median(resampled)[0])}
    for name, value in computed.items():
        published = score_set.quoted[name]
        if abs(value - published) > TOLERANCE:
            raise LabError(f"its recalled scores have the {name} {value:.3f}, not the published {published:.3f}")


def _read_runs(path: Path, agent: str) -> dict[str, np.ndarray]:
    """Return game -> scores [runs] of an agent."""
    scores: dict[str, list[float]] = {}
    for number, row in _rows(path, ("agent", "game", "run", "score")):
        if row["agent"] == agent:
            scores.setdefault(row["game"], []).append(_number(row["score"], path, number))
    if not scores:
        raise LabError(f"{path} has no runs of {agent!r}")
    return {game: np.array(values) for game, values in scores.items()}


def _read_means(path: Path, column: str) -> dict[str, np.ndarray]:
    """Return game -> mean score [1] of a column."""
    return {
        row["game"]: np.array([_number(row[column], path, number)]) for number, row in _rows(path, ("game", column))
    }


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV file with their line numbers. Raises DataFileError."""
    try:
        reader = csv.DictReader(io.StringIO(read_text(path)), strict=True)
        rows = list(enumerate(reader, 2))
    except csv.Error as error:
        raise DataFileError(f"{path} is no CSV file: {error}") from error
    for column in columns:
        if column not in (reader.fieldnames or ()):
            raise DataFileError(f"{path} has no column {column!r}")
    for number, row in rows:
        if None in row or None in row.values():
            raise DataFileError(f"line {number} of {path} has another number of entries than the first line")
    return rows


def _number(text: str, path: Path, line: int) -> float:
    """Return the number in a text. Raises DataFileError for any other text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataFileError(f"line {line} of {path} has {text!r} in place of a score")
    return value
