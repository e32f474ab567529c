"""Checks of the runs of a comparison: differences that make it invalid, and caveats that a reader should know."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rl_lab.compare.labels import LENGTH_TOLERANCE, group_labels
from rl_lab.compare.optima import known_optimum
from rl_lab.compare.run_result import RunResult
from rl_lab.compare.scores import score_scale

# Coverage of a 95% bootstrap interval of the interquartile mean, measured on 600 sets of normally distributed scores:
# about 90% with 5 seeds, about 75% with 3 seeds.
RECOMMENDED_SEEDS = 5


def find_incompatibilities(results: Sequence[RunResult]) -> list[str]:
    """Return a message for each property of an environment in which runs on that environment differ.

    The properties are the fields of the environment spec (for example sticky actions) and the epsilon of evaluations.
    Scores of runs that differ in them are not comparable.
    """
    by_env: dict[str, list[RunResult]] = defaultdict(list)
    for result in results:
        by_env[result.env_spec.name].append(result)
    problems = []
    for env, in_env in by_env.items():
        properties = [_properties(result) for result in in_env]
        for name in properties[0]:
            values = list(dict.fromkeys(repr(each[name]) for each in properties))
            if len(values) > 1:
                problems.append(f"runs on {env} differ in {name}: {' and '.join(values)}")
    return problems


def _properties(result: RunResult) -> dict[str, Any]:
    """Return all properties of a run that must be equal for its scores to be comparable."""
    spec = result.env_spec
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.compare}
    return {**values, "eval_epsilon": result.config.run.eval_epsilon}


def find_caveats(results: Sequence[RunResult], *, mix_lengths: bool = False) -> list[str]:
    """Return warnings about a comparison.

    They are about repeated seeds, runs of different length, selected scores, a missing regret, groups with few seeds,
    and games without normalised scores.

    Args:
        results: The runs.
        mix_lengths: Runs of different length form one group (`group_labels`).
    """
    groups: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for label, result in zip(group_labels(results, mix_lengths=mix_lengths), results, strict=True):
        groups[label, result.env_spec.name].append(result)
    caveats = []
    lengths: dict[str, dict[str, float]] = defaultdict(dict)  # environment -> label -> agent steps of the longest run
    for (label, env), in_group in groups.items():
        lengths[env][label] = max(_last_step(result) for result in in_group)
        caveats += _group_caveats(label, env, in_group)
    for env, by_label in lengths.items():
        if max(by_label.values()) > LENGTH_TOLERANCE * min(by_label.values()):
            listing = ", ".join(f"{label} {steps:,.0f}" for label, steps in by_label.items())
            caveats.append(f"final scores on {env} belong to different numbers of agent steps: {listing}")
    if any(1 < len(in_group) < RECOMMENDED_SEEDS for in_group in groups.values()):
        caveats.append(
            f"intervals from fewer than {RECOMMENDED_SEEDS} seeds are too narrow: a 95% interval from 3 seeds contains"
            " the true value in about 75% of cases"
        )
    return caveats + _games_without_scale(results)


def _games_without_scale(results: Sequence[RunResult]) -> list[str]:
    """Return a message for each Atari game that has no normalised score."""
    env_specs = {result.env_spec.name: result.env_spec for result in results}
    return [
        f"{name} is left out of the normalised scores: the scores of a random policy and of a human are not known"
        for name, env_spec in env_specs.items()
        if env_spec.backend == "ale" and score_scale(env_spec) is None
    ]


def _group_caveats(label: str, env: str, results: Sequence[RunResult]) -> list[str]:
    caveats = []
    seeds = [result.seed for result in results]
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        listing = ", ".join(map(str, repeated))
        caveats.append(f"{label} on {env} has more than one run with seed {listing}: its interval is too narrow")
    last_steps = [_last_step(result) for result in results]
    if max(last_steps) > LENGTH_TOLERANCE * min(last_steps):
        span = f"{min(last_steps):,.0f} to {max(last_steps):,.0f}"
        caveats.append(f"{label} on {env}: its runs end after {span} agent steps")
    num_selected = sum(result.config.run.ends_at(result.values[-1]) for result in results)
    if num_selected:
        caveats.append(
            f"{label} on {env}: {num_selected} of {len(results)} runs ended at an evaluation that reached the target"
            " (stop_at_target), so their final scores are too high; `eval` measures them"
        )
    num_with_cuts = sum(result.has_cuts for result in results)
    if num_with_cuts and known_optimum(results[0].env_spec) is not None:
        caveats.append(
            f"{label} on {env} has no regret: in {num_with_cuts} of {len(results)} runs, episodes of the last"
            " evaluation were cut (eval_max_steps), and the optimum is the score of whole episodes"
        )
    return caveats


def _last_step(result: RunResult) -> float:
    return float(result.steps[-1])
