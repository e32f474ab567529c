"""Scores of people, in the file human/ENV.jsonl of the folder of runs: one JSON object for each game.

A score counts in a comparison only if the game had the conditions of the runs (`GAME_FIELDS`).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envs.spec import EnvSpec
from rl_lab.errors import LabError
from rl_lab.system.portable_name import portable_name

FOLDER = "human"
GAME_FIELDS = ("id", "frame_skip", "sticky", "noop_max", "max_frames")
"""Fields of the environment's spec that change the game. What an agent observes does not concern a person."""


@dataclass(frozen=True)
class HumanScores:
    """The scores of a person in an environment."""

    scores: list[float]
    """Score of each game, oldest first."""
    path: Path
    """The file."""

    @property
    def mean(self) -> float:
        """Return the mean score."""
        return sum(self.scores) / len(self.scores)

    @property
    def best(self) -> float:
        """Return the highest score."""
        return max(self.scores)

    def __str__(self) -> str:
        games = "1 game" if len(self.scores) == 1 else f"{len(self.scores)} games"
        return f"mean {self.mean:.2f}, best {self.best:g}, {games}"


def human_scores_path(runs_dir: str, env_spec: EnvSpec) -> Path:
    """Return the file of an environment."""
    return Path(runs_dir) / FOLDER / f"{portable_name(env_spec.name)}.jsonl"


def add_human_score(
    runs_dir: str, env_spec: EnvSpec, *, score: float, steps: int, seconds: float, seed: int, game: int
) -> Path:
    """Append one game to the file of an environment.

    Args:
        runs_dir: Folder of the runs.
        env_spec: The environment.
        score: Undiscounted sum of raw rewards.
        steps: Agent steps.
        seconds: Duration of the game in seconds, without pauses of the program.
        seed: Seed of the first game of the session.
        game: Number of the game in the session, counted from 1.

    Returns:
        The file.

    Raises:
        LabError: The file cannot be written.
    """
    path = human_scores_path(runs_dir, env_spec)
    line = {
        "env": env_spec.name,
        "score": score if math.isfinite(score) else None,
        "steps": steps,
        "seconds": round(seconds, 1),
        "seed": seed,
        "game": game,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "conditions": game_conditions(env_spec),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise LabError(f"the score cannot be written to {path}: {error.strerror}") from error
    return path


def read_human_scores(runs_dir: str, env_spec: EnvSpec) -> HumanScores | None:
    """Return the scores of games under the conditions of a spec, or None if there are none.

    Lines that are no scores are ignored, because a person may have edited the file.
    """
    path = human_scores_path(runs_dir, env_spec)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # missing, or not UTF-8
        return None
    conditions = game_conditions(env_spec)
    scores = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("conditions") == conditions and _is_score(entry.get("score")):
            scores.append(float(entry["score"]))
    return HumanScores(scores, path) if scores else None


def game_conditions(env_spec: EnvSpec) -> dict[str, Any]:
    """Return what decides about the game, as JSON holds it: fields of the spec and constructor arguments."""
    conditions = {name: getattr(env_spec, name) for name in GAME_FIELDS}
    return json.loads(json.dumps({**conditions, "env_args": env_spec.options.env_args}, default=str))


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
