"""Labels that tell the groups of a comparison apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rl_lab.compare.run_result import RunResult


def group_labels(results: Sequence[RunResult]) -> list[str]:
    """Return the label of each run: the name of its agent and the settings that vary, for example "dqn lr=0.001".

    A setting is part of the label if the runs of this agent on this environment have different values of it. Runs with
    equal labels on one environment form a group.
    """
    by_agent_and_env: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for result in results:
        by_agent_and_env[result.config.agent, result.env_spec.name].append(result)
    labels = []
    for result in results:
        agent = result.config.agent
        names = _varying_settings(result, by_agent_and_env[agent, result.env_spec.name])
        labels.append(" ".join([agent, *(f"{name}={result.settings[name]}" for name in names)]))
    return labels


def _varying_settings(result: RunResult, peers: Sequence[RunResult]) -> list[str]:
    """Return the names of the settings of `result` that have more than one value among `peers`."""
    names = []
    for name in result.settings:
        values = {repr(peer.settings.get(name)) for peer in peers}
        if len(values) > 1:
            names.append(name)
    return names
