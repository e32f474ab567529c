"""The page of results: Markdown tables of suites, computed from result files and published scores."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rl_lab.compare.statistics import Estimate, probability_of_improvement
from rl_lab.suite.published import PublishedScores
from rl_lab.suite.result_file import SuiteResult
from rl_lab.suite.score_set import AGGREGATES, ScoreSet, score_sets_of
from rl_lab.suite.suite import Suite

INTRODUCTION = """\
# Results

`python -m rl_lab results` builds this page from the files in [results/](../results/README.md) and from published
scores; nothing on it is typed by hand. `python -m rl_lab sweep suite NAME` makes the files ([suites.md](suites.md)).

A score is the mean return of a run's evaluation after training, with the last network. Numbers in brackets are 95%
bootstrap intervals over runs, stratified by environment where there are several (Agarwal et al. 2021). Intervals from
fewer than five runs are too narrow. IQM is the interquartile mean over all runs of all environments; median and mean
are over the mean scores of the environments. An asterisk marks published scores that were transcribed from memory;
their mean and median agree with the published ones."""


@dataclass(frozen=True)
class SuiteSection:
    """A suite with everything that the page says about it."""

    suite: Suite
    ours: list[ScoreSet]
    published: list[ScoreSet]
    problems: list[str]
    """One message for each result or published agent that is left out."""

    @property
    def score_sets(self) -> list[ScoreSet]:
        """Return our agents, then the published ones."""
        return [*self.ours, *self.published]

    @property
    def common_envs(self) -> list[str]:
        """Return the environments on which each of our agents has results, in the order of the suite."""
        return [env for env in self.suite.envs if all(env in score_set.scores for score_set in self.ours)]

    @property
    def is_complete(self) -> bool:
        """Return True if each of our agents has results on every environment of the suite."""
        return len(self.common_envs) == len(self.suite.envs)


def suite_section(suite: Suite, results: Sequence[SuiteResult], published: PublishedScores) -> SuiteSection:
    """Return the section of a suite. Results that do not belong to the suite of today are left out, with a message."""
    problems = list(published.problems)
    usable = []
    for result in results:
        reason = _why_unusable(suite, result)
        if reason:
            problems.append(f"{result.agent} on {result.env}, seed {result.seed}, is left out: {reason}")
        else:
            usable.append(result)
    order = {name: number for number, name in enumerate(suite.agents)}
    usable.sort(key=lambda result: (order[result.agent], suite.envs.index(result.env), result.seed))
    return SuiteSection(suite, score_sets_of(usable), published.score_sets, problems)


def render_page(sections: Sequence[SuiteSection], pictures: dict[str, list[str]]) -> str:
    """Return the page as Markdown.

    Args:
        sections: The suites.
        pictures: Name of a suite -> names of the picture files beside the page.
    """
    parts = [INTRODUCTION]
    for section in sections:
        parts += _render_section(section, pictures.get(section.suite.name, []))
    return "\n\n".join(parts) + "\n"


def _why_unusable(suite: Suite, result: SuiteResult) -> str:
    """Return why a result does not belong to the suite, or "" if it does."""
    if result.agent not in suite.agents:
        return f"the suite {suite.name} has no agent {result.agent!r}"
    if result.env not in suite.envs:
        return f"the suite {suite.name} has no environment {result.env!r}"
    if not suite.agents[result.agent].trains_on(result.env):
        return f"in the suite {suite.name}, the agent does not train on this environment"
    steps = suite.steps_on(result.env)
    if steps is not None and result.steps != steps:
        return f"it has {result.steps:,} agent steps, those of the suite have {steps:,}"
    if len(result.final.returns) != suite.evaluation.games:
        return (
            f"it was evaluated for {len(result.final.returns)} games, those of the suite for {suite.evaluation.games}"
        )
    return ""


def _render_section(section: SuiteSection, pictures: Sequence[str]) -> list[str]:
    """Return the parts of a suite: headings, paragraphs, tables and pictures."""
    suite = section.suite
    parts = [f"## {suite.title}"]
    if suite.note:
        parts.append(suite.note.strip())
    parts.append(_protocol_text(suite))
    if section.score_sets:
        parts.append(_score_table(section))
    parts += _aggregate_parts(section)
    parts += _improvement_parts(section)
    parts += [f"![{suite.title}: {name}]({name})" for name in pictures]
    if section.ours:
        parts += ["### Runs", _run_table(section)]
    if section.published:
        lines = [f"- {score_set.label}: {score_set.source}." for score_set in section.published]
        parts += ["Published scores:", "\n".join(lines)]
    if section.problems:
        parts += ["Left out:", "\n".join(f"- {problem}." for problem in section.problems)]
    return parts


def _protocol_text(suite: Suite) -> str:
    """Return one sentence on the training and the evaluation of a suite."""
    evaluation = suite.evaluation
    steps = "the agent steps of each agent's own settings" if suite.steps is None else f"{suite.steps:,} agent steps"
    protocol = "" if suite.protocol == "auto" else f" Protocol `{suite.protocol}`."
    for env in suite.envs:
        if "steps" in suite.settings_on(env):
            steps += f", {suite.steps_on(env):,} on {env}"
    envs = _count(len(suite.envs), "environment")
    return (
        f"Suite `{suite.name}`: {envs}, {steps}; then {_count(evaluation.games, 'game')}"
        f" with epsilon {evaluation.epsilon:g}, cut at {evaluation.cut:,} agent steps.{protocol}"
    )


def _score_table(section: SuiteSection) -> str:
    """Return the mean scores on each environment: ours with intervals, published ones without."""
    rows = []
    for env in section.suite.envs:
        cells = [env]
        cells += [_estimate_cell(score_set.estimate(env), _score) for score_set in section.ours]
        for score_set in section.published:
            cells.append(_score(float(score_set.scores[env].mean())) if env in score_set.scores else "")
        rows.append(cells)
    return markdown_table(["environment", *(score_set.label for score_set in section.score_sets)], rows)


def _aggregate_parts(section: SuiteSection) -> list[str]:
    """Return the tables of normalised scores: over all environments, and of tuned and untuned ones separately."""
    envs = section.common_envs
    suite = section.suite
    if not section.score_sets or len(envs) < 2:
        return []
    table = _aggregate_table(section, envs, may_quote=section.is_complete)
    if table is None:
        return []
    heading = "### Normalised scores"
    if section.is_complete:
        text = "Over all environments."
    else:
        text = f"Over the {len(envs)} environments on which all of our agents have results: {', '.join(envs)}."
    parts = [heading, text, table]
    tuned = [env for env in envs if env in suite.tuned]
    untuned = [env for env in envs if env not in suite.tuned]
    if tuned and untuned:
        for name, some in (("looked at while settings were chosen", tuned), ("that nobody looked at", untuned)):
            some_table = _aggregate_table(section, some, may_quote=False)
            if some_table is not None:
                parts += [f"Over the {_count(len(some), 'environment')} {name}: {', '.join(some)}.", some_table]
    return parts


def _aggregate_table(section: SuiteSection, envs: Sequence[str], *, may_quote: bool) -> str | None:
    """Return the table of normalised scores over some environments, None if there are no scales."""
    rows = []
    for score_set in section.score_sets:
        estimates = {name: score_set.aggregate(name, envs, may_quote=may_quote) for name in AGGREGATES}
        if all(each is None for each in estimates.values()):
            continue
        cells = [score_set.label, _runs_text(score_set, envs)]
        for name, each in estimates.items():
            is_quoted = score_set.are_means and name == "IQM"
            cells.append(_estimate_cell(each, _three_digits) + (" (as published)" if is_quoted and each else ""))
        rows.append(cells)
    return markdown_table(["agent", "runs an environment", *AGGREGATES], rows) if rows else None


def _improvement_parts(section: SuiteSection) -> list[str]:
    """Return the probability that a run of one of our agents scores higher than one of each other agent.

    Two agents are compared on the environments that both of them have.
    """
    others = [score_set for score_set in section.score_sets if not score_set.are_means]
    if len(others) < 2:
        return []
    rows = []
    for ours in section.ours:
        cells = [ours.label]
        for other in others:
            envs = [env for env in section.suite.envs if env in ours.scores and env in other.scores]
            if other is ours or not envs:
                cells.append("")
                continue
            probability = probability_of_improvement(
                [ours.scores[env] for env in envs], [other.scores[env] for env in envs]
            )
            cells.append(_estimate_cell(probability, _two_digits))
        rows.append(cells)
    if not any(any(cells[1:]) for cells in rows):
        return []
    text = "A run of the agent in the row scores higher than a run of the agent in the column, on the same environment."
    if not section.is_complete:
        text += " Two agents are compared on the environments that both have."
    table = markdown_table(["", *(score_set.label for score_set in others)], rows)
    return ["### Probability of improvement", text, table]


def _run_table(section: SuiteSection) -> str:
    """Return what the runs of our agents took and where they ran."""
    rows = []
    for score_set in section.ours:
        results = score_set.results
        minutes = [result.minutes for result in results]
        seeds = sorted({result.seed for result in results})
        steps = sorted({result.steps for result in results})
        rows.append(
            [
                score_set.name,
                str(len(results)),
                ", ".join(map(str, seeds)),
                " to ".join(f"{value:,}" for value in dict.fromkeys((steps[0], steps[-1]))),
                f"{statistics.median(minutes):.1f} ({min(minutes):.1f} to {max(minutes):.1f})",
                "; ".join(sorted({result.machine for result in results})),
                ", ".join(sorted({result.commit for result in results})),
            ]
        )
    headings = ["agent", "runs", "seeds", "agent steps", "minutes a run, median (range)", "machine", "commit"]
    return markdown_table(headings, rows)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. Vertical bars in cells are escaped."""
    lines = [list(headings), ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _estimate_cell(estimate: Estimate | None, form: Callable[[float], str]) -> str:
    """Return an estimate with its interval, without the interval if there is none, "" for None."""
    if estimate is None:
        return ""
    if np.isnan(estimate.low):
        return form(estimate.value)
    return f"{form(estimate.value)} ({form(estimate.low)} to {form(estimate.high)})"


def _score(value: float) -> str:
    """Return a score with as many digits as scores of its size need."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _two_digits(value: float) -> str:
    return f"{value:.2f}"


def _three_digits(value: float) -> str:
    return f"{value:.3f}"


def _runs_text(score_set: ScoreSet, envs: Sequence[str]) -> str:
    """Return the number of runs an environment."""
    if score_set.are_means:
        return "mean scores"
    counts = sorted({len(score_set.scores[env]) for env in envs})
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))


def _count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 game, 2 games."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
