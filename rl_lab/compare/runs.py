"""The runs that are compared: found by name, read with what they logged, labelled by what they differ in."""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.errors import USER_ERRORS, LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.tracking.tracker import SCORE

Array = NDArray[np.float64]
# What says nothing about how an agent learns.
NOT_COMPARED = set(
    "agent env seed group preset runs_dir wandb wandb_project log_every video_every eval_every eval_episodes target"
    " device checkpoint_every checkpoint_minutes emulator_threads vectorization env_timeout address cuda_graphs".split()
)
METRIC = SCORE  # unless another is asked for
FEW = 5  # with so many seeds a 95% interval holds the truth 9 times in 10, with 3 3 times in 4 (of 600 sets of normal scores)


@dataclass(frozen=True)
class Result:
    """One run with the curve of one metric."""

    run: Run
    config: Config
    env_spec: EnvSpec
    steps: Array  # agent steps at which the metric was logged, rising
    minutes: Array
    scores: Array
    steps_per_s: float

    @property
    def seed(self) -> int:
        return self.config.run.seed

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides how it learns: the configuration but for the agent's name, the environment and the bookkeeping.

        `steps` only where a run cannot be extended: elsewhere a shorter run is the beginning of a longer one.
        """
        nothing = NOT_COMPARED | ({"steps"} if is_resumable(self.config.agent) else set())
        return {k: v for k, v in self.config.to_dict().items() if k not in nothing}

    def axis(self, x: str) -> Array:
        """The curve's x: agent steps, emulator frames or minutes."""
        return {"steps": self.steps, "frames": self.steps * (self.env_spec.frame_skip or 1), "minutes": self.minutes}[x]

    def reached(self, target: float) -> tuple[float, float] | None:
        """Agent steps and minutes at the first value of at least `target`."""
        at = np.flatnonzero(self.scores >= target)
        return (float(self.steps[at[0]]), float(self.minutes[at[0]])) if len(at) else None


def find_runs(names: Sequence[str], runs_dir: str) -> list[Run]:
    """The runs that names mean: a run folder, a folder of runs, a pattern of folders, a group of `--seeds`, "latest", an agent or
    environment, or a part of the names of several runs. Raises LabError for a name that means none.
    """
    found: dict[Path, Run] = {}
    for name in names:
        here = _runs_of(name, runs_dir)
        if not here:
            raise LabError(f"no run is called {name!r}, here or in {runs_dir}; `ls {runs_dir}/*/*` shows what there is")
        for run in here:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def _runs_of(name: str, runs_dir: str) -> list[Run]:
    folders = [Path(p) for pattern in (name, f"{runs_dir}/{name}") for p in sorted(glob.glob(pattern))]
    inside = [run for folder in folders for run in runs_below(folder)]
    if inside:
        return inside
    if name in ("latest", "demo"):
        return [Run.find(name, runs_dir)]
    every = {run.path.relative_to(runs_dir): run for run in runs_below(Path(runs_dir))}
    return (
        Run.of_group(name, runs_dir)
        or [run for path, run in every.items() if name in path.parts]  # dqn is not double_dqn
        or [run for path, run in every.items() if name in str(path)]
    )


def runs_below(folder: Path) -> list[Run]:
    """The runs in a folder, or the folder itself. (W&B has config.yaml files of its own.)"""
    return [Run(path.parent) for path in sorted(folder.glob("**/env.json")) if (path.parent / "config.yaml").is_file()]


def read_results(runs: Sequence[Run], metric: str = METRIC) -> tuple[list[Result], list[str]]:
    """What can be read, and for each run that cannot be a line that says why."""
    results, problems = [], []
    for run in runs:
        try:
            results.append(_read(run, metric))
        except USER_ERRORS as error:
            problems.append(f"{run} is left out: {error}")
    return results, problems


def _read(run: Run, metric: str) -> Result:
    config, env_spec, lines = run.config, run.env_spec, run.metrics()
    shown = [line for line in lines if isinstance(line.get(metric), int | float) and np.isfinite(line[metric])]
    if not shown:
        known = sorted({k for line in lines for k in line if "/" in k or k == "loss"})
        raise LabError(f"it has logged no {metric} yet" + (f"; it has {', '.join(known[:8])}" if known else ""))
    # An evaluation that was made again on resume counts once.
    last = {line["global_step"]: line for line in shown if isinstance(line.get("global_step"), int | float)}
    if not last:
        raise LabError(f"its lines of {metric} name no global_step")
    speeds = [x for line in lines if isinstance(x := line.get("speed/steps_per_s"), int | float)]
    return Result(
        run,
        config,
        env_spec,
        np.array(sorted(last), float),
        np.array([last[step].get("time/minutes", np.nan) for step in sorted(last)]),
        np.array([last[step][metric] for step in sorted(last)], float),
        float(np.median(speeds)) if speeds else float("nan"),
    )


def check_comparable(results: Sequence[Result]) -> list[str]:
    """What keeps runs on the same environment from being compared: a line for each key that differs."""
    problems = []
    by_env: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_env[result.env_spec.name].append(result)
    for env, here in by_env.items():
        terms = [{**r.env_spec.to_dict(), "eval_epsilon": r.config.run.eval_epsilon} for r in here]
        for key in terms[0]:
            values = list(dict.fromkeys(repr(t.get(key)) for t in terms))
            if len(values) > 1:
                problems.append(f"runs on {env} differ in {key}: {' and '.join(values)}")
    return problems


def remarks(results: Sequence[Result]) -> list[str]:
    """What a reader of a comparison should know of its runs: few seeds, or one twice, and runs that have not come as far."""
    said = []
    together: dict[tuple[str, str], list[Result]] = defaultdict(list)
    ends_on: dict[str, dict[str, float]] = defaultdict(dict)
    for label, result in zip(labels(results), results, strict=True):
        together[label, result.env_spec.name].append(result)
    for (label, env), here in together.items():
        ends_on[env][label] = max(float(r.steps[-1]) for r in here)
        seeds = [r.seed for r in here]
        if twice := sorted({s for s in seeds if seeds.count(s) > 1}):
            said.append(
                f"{label} on {env} has seed {', '.join(map(str, twice))} more than once: its interval is too narrow"
            )
        ends = [float(r.steps[-1]) for r in here]
        if max(ends) > 1.05 * min(ends):
            said.append(f"{label} on {env}: the last values are of {min(ends):,.0f} to {max(ends):,.0f} steps")
    for env, by_label in ends_on.items():
        if max(by_label.values()) > 1.05 * min(by_label.values()):
            far = ", ".join(f"{label} {end:,.0f}" for label, end in by_label.items())
            said.append(f"final scores on {env} are of different numbers of steps: {far}")
    if any(1 < len(here) < FEW for here in together.values()):
        said.append(
            f"intervals of fewer than {FEW} seeds are too narrow: of 3 they hold the truth 3 times in 4, not 95 in 100"
        )
    return said


def labels(results: Sequence[Result]) -> list[str]:
    """The agent of each run, with the settings in which runs of that agent on that environment differ."""
    by_agent: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        by_agent[result.config.agent, result.env_spec.name].append(result)
    said = []
    for result in results:
        others = by_agent[result.config.agent, result.env_spec.name]
        keys = [k for k in result.settings if len({repr(o.settings.get(k)) for o in others}) > 1]
        said.append(" ".join([result.config.agent, *(f"{k}={result.settings[k]}" for k in keys)]))
    return said
