"""The content of the data files in results/, as classes, and the function that reads it (format: results/README.md)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_REACHED = math.inf  # steps or minutes of a run that did not reach the target: later than those of every other run
NO_EVALUATION = -math.inf  # score of a run without an evaluation: lower than those of every other run


@dataclass(frozen=True)
class SeedResult:
    """The evaluations of one run."""

    seed: int
    curve: list[tuple[int, float]]  # (agent steps, mean score of one evaluation)
    commit: str
    minutes_to_target: float | None  # None: not recorded, or the target was not reached
    minutes: float | None  # minutes of the whole run; None: not recorded
    best: float  # score of the best evaluation
    final: float  # score of the last evaluation, or the mean that the note of the group describes
    minutes_curve: list[tuple[float, float]]  # (minutes, mean score of one evaluation); empty: minutes not recorded

    def steps_to_target(self, target: float) -> float:
        """Return the agent steps of the first evaluation that reaches `target`, or NOT_REACHED."""
        for steps, score in self.curve:
            if score >= target:
                return steps
        return NOT_REACHED


@dataclass(frozen=True)
class ResultGroup:
    """Runs that differ in their seeds only."""

    agent: str
    env: str
    machine: str
    setting: str
    command: str
    note: str
    stopped_at_target: bool  # the runs were stopped by hand when an evaluation reached the target
    last_only: bool  # each curve holds only the last evaluation, so the steps to the target are unknown
    in_picture: bool
    runs: list[SeedResult]

    def minutes_to_target(self, target: float) -> list[float]:
        """Return the minutes of each seed, NOT_REACHED included, or an empty list if they were not all recorded."""
        minutes = []
        for run in self.runs:
            if run.minutes_to_target is not None:
                minutes.append(run.minutes_to_target)
            elif run.best < target:
                minutes.append(NOT_REACHED)
        if len(minutes) < len(self.runs):
            return []
        return minutes


@dataclass(frozen=True)
class ResultTopic:
    """The content of one data file: the runs of one section of a page in docs/benchmarks/."""

    name: str
    title: str
    target: float | None
    picture: str | None  # file name of the picture in docs/
    minutes_limit: float | None  # minutes after which a run of a race was stopped; None: not a race
    groups: list[ResultGroup]

    @property
    def has_several_envs(self) -> bool:
        """Return True if the groups do not all share one environment."""
        return len({group.env for group in self.groups}) > 1


def read_topic(path: Path) -> ResultTopic:
    """Return the content of the data file `path`."""
    data = json.loads(path.read_text())
    return ResultTopic(
        name=path.stem,
        title=data["title"],
        target=data.get("target"),
        picture=data.get("picture"),
        minutes_limit=data.get("minutes_limit"),
        groups=[_read_group(group, data.get("env", "")) for group in data["groups"]],
    )


def _read_group(data: dict[str, Any], env: str) -> ResultGroup:
    """Return one group. `env` is the environment of the topic; a group may name its own."""
    return ResultGroup(
        agent=data["agent"],
        env=data.get("env", env),
        machine=data["machine"],
        setting=data["setting"],
        command=data["command"],
        note=data["note"],
        stopped_at_target=data["stopped_at_target"],
        last_only=data.get("last_only", False),
        in_picture=data.get("in_picture", True),
        runs=[_read_run(run) for run in data["runs"]],
    )


def _read_run(data: dict[str, Any]) -> SeedResult:
    """Return one run. The best and the final score come from the curve unless the file states them."""
    curve = [(int(steps), float(score)) for steps, score in data["curve"]]
    return SeedResult(
        seed=data["seed"],
        curve=curve,
        commit=data.get("commit", "not recorded"),
        minutes_to_target=data.get("minutes_to_target"),
        minutes=data.get("minutes"),
        best=data.get("best", max((score for _, score in curve), default=NO_EVALUATION)),
        final=data.get("final", curve[-1][1] if curve else NO_EVALUATION),
        minutes_curve=[(float(minutes), float(score)) for minutes, score in data.get("minutes_curve", [])],
    )
