"""Labels that tell the groups of a comparison apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rl_lab.compare.run_result import RunResult

LENGTH_TOLERANCE = 1.05
"""Ratio of agent steps from which runs count as of different length."""


def group_labels(results: Sequence[RunResult], *, mix_lengths: bool = False) -> list[str]:
    """Return the label of each run: the name of its agent and the settings that vary, for example "dqn lr=0.001".

    A setting is part of the label if the runs of this agent on this environment have different values of it. Runs with
    equal labels on one environment form a group.

    Args:
        results: The runs.
        mix_lengths: Runs of different length may form one group. By default their labels differ: "dqn steps=100,000".
    """
    by_agent_and_env: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for result in results:
        by_agent_and_env[result.config.agent, result.env_spec.name].append(result)
    varying = {key: _varying_settings(peers) for key, peers in by_agent_and_env.items()}
    labels = []
    for result in results:
        agent = result.config.agent
        names = varying[agent, result.env_spec.name]
        settings = [f"{name}={result.settings[name]}" for name in result.settings if name in names]
        labels.append(" ".join([agent, *settings]))
    return labels if mix_lengths else _with_lengths(labels, results)


def _with_lengths(labels: Sequence[str], results: Sequence[RunResult]) -> list[str]:
    """Add the number of agent steps to the labels of runs that would form a group with runs of another length."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)  # label and environment -> indices of runs
    for index, (label, result) in enumerate(zip(labels, results, strict=True)):
        groups[label, result.env_spec.name].append(index)
    new_labels = list(labels)
    for indices in groups.values():
        lengths = [_length(results[index]) for index in indices]
        if max(lengths) <= LENGTH_TOLERANCE * min(lengths):
            continue
        for index, length in zip(indices, lengths, strict=True):
            new_labels[index] += f" steps={_common_length(length, lengths):,.0f}"
    return new_labels


def _length(result: RunResult) -> float:
    """Return the agent steps of a run up to its last value. A run that stopped at its target counts with all steps."""
    if result.config.run.ends_at(float(result.values[-1])):
        return float(result.config.run.steps)
    return float(result.steps[-1])


def _common_length(length: float, lengths: Sequence[float]) -> float:
    """Return the largest of `lengths` that is about equal to `length`: each is at most 5% above the one below it."""
    common = length
    for longer in sorted(lengths):
        if common < longer <= LENGTH_TOLERANCE * common:
            common = longer
    return common


def _varying_settings(results: Sequence[RunResult]) -> set[str]:
    """Return the names of the settings that have more than one value among runs. A missing setting counts as None."""
    varying = set()
    for name in {name for result in results for name in result.settings}:
        values = {repr(result.settings.get(name)) for result in results}
        if len(values) > 1:
            varying.add(name)
    return varying
