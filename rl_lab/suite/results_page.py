"""The page of results: Markdown tables of suites, computed from result files and published scores.

The page begins with an overview of all suites. A suite has these parts, as far as there are data: protocol, scores,
regret, normalised scores, probability of improvement, learning curves, runs, sources of published scores, left-out
results.
"""

from __future__ import annotations

import re
import statistics
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from rl_lab.compare.statistics import Estimate, probability_of_improvement
from rl_lab.suite.published import PublishedScores
from rl_lab.suite.regret import regret_rows, suite_optima
from rl_lab.suite.result_file import SuiteResult
from rl_lab.suite.score_set import AGGREGATES, ScoreSet, score_sets_of, why_unusable
from rl_lab.suite.suite import Suite
from rl_lab.system.printable import count_of

LINE_WIDTH = 120  # characters of a line of text; tables are wider

MAX_SCORE_COLUMNS = 6
"""Environments up to which they are the columns of the table of scores. More environments are its rows."""

NORMALISED_HEADING = "### Normalised scores"

INTRODUCTION = """\
A score is the mean return of a run's evaluation after training, with the last network. Numbers in brackets are 95%
bootstrap intervals over runs (Agarwal et al. 2021), stratified by environment where there are several. Intervals from
fewer than five runs are too narrow; a single run and a published mean have none."""

STATISTICS = """\
Normalised scores: on Atari, 0 is the score of a random policy and 1 that of a human; elsewhere 1 is the score that
Gymnasium regards as solved. IQM is the interquartile mean over all runs of all environments; median and mean are over
the mean scores of the environments."""

RECALLED = """\
An asterisk marks published scores that were transcribed from memory; their mean and median agree with the published
ones."""

ORIGIN = """\
`python -m rl_lab results` builds this page from the files in [results/](../results/README.md) and from published
scores. `python -m rl_lab sweep suite NAME` makes the files ([suites.md](suites.md))."""

CURVES_CAPTION = """\
Interquartile mean over runs of the evaluations during training. The bands are 95% bootstrap intervals."""

PROFILES_CAPTION = """\
Left: IQM of the normalised scores with its 95% interval. Right: share of runs whose normalised score is higher than
the number on the x-axis, averaged over environments."""


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
    def envs(self) -> list[str]:
        """Return the environments for which there are scores, in the order of the suite."""
        envs_with_scores = {env for score_set in self.score_sets for env in score_set.scores}
        return [env for env in self.suite.envs if env in envs_with_scores]

    @property
    def common_envs(self) -> list[str]:
        """Return the environments on which each of our agents has results, in the order of the suite."""
        return [env for env in self.suite.envs if all(env in score_set.scores for score_set in self.ours)]

    @property
    def is_complete(self) -> bool:
        """Return True if each of our agents has results on every environment of the suite."""
        return len(self.common_envs) == len(self.suite.envs)


@dataclass(frozen=True)
class SectionPictures:
    """The names of a suite's pictures, which lie beside the page. A name is empty if there is no such picture."""

    curves: str = ""
    profiles: str = ""


def suite_section(suite: Suite, results: Sequence[SuiteResult], published: PublishedScores) -> SuiteSection:
    """Return the section of a suite. Results that do not belong to the suite of today are left out, with a message."""
    problems = list(published.problems)
    usable = []
    for result in results:
        reason = why_unusable(suite, result)
        if reason:
            problems.append(f"{result.agent} on {result.env}, seed {result.seed}, is left out: {reason}")
        else:
            usable.append(result)
    order = {name: number for number, name in enumerate(suite.agents)}
    usable.sort(key=lambda result: (order[result.agent], suite.envs.index(result.env), result.seed))
    return SuiteSection(suite, score_sets_of(usable), published.score_sets, problems)


def render_page(sections: Sequence[SuiteSection], pictures: dict[str, SectionPictures]) -> str:
    """Return the page as Markdown.

    Args:
        sections: The suites.
        pictures: Name of a suite -> its pictures.
    """
    bodies = [_render_section(section, pictures.get(section.suite.name, SectionPictures())) for section in sections]
    score_sets = [score_set for section in sections for score_set in section.score_sets]
    parts = ["# Results", *_overview(sections), INTRODUCTION]
    if any(NORMALISED_HEADING in body for body in bodies):
        parts.append(STATISTICS)
    if any(score_set.is_recalled for score_set in score_sets):
        parts.append(RECALLED)
    parts.append(ORIGIN)
    for body in bodies:
        parts += body
    return "\n\n".join(parts) + "\n"


# --- Overview -------------------------------------------------------------------------------------------------------


def _overview(sections: Sequence[SuiteSection]) -> list[str]:
    """Return one sentence and a table with a row for each suite."""
    num_runs = sum(len(score_set.results) for section in sections for score_set in section.ours)
    rows = []
    for section in sections:
        suite = section.suite
        rows.append(
            [
                f"[{suite.title}](#{_anchor(suite.title)})",
                f"{len([env for env in suite.envs if _has_results(section, env)])} of {len(suite.envs)}",
                ", ".join(score_set.name for score_set in section.ours),
                str(sum(len(score_set.results) for score_set in section.ours)),
                _highest_iqm(section),
            ]
        )
    headings = ["suite", "environments", "agents", "runs", "highest IQM of normalised scores"]
    if not any(row[-1] for row in rows):
        headings.pop()
        rows = [row[:-1] for row in rows]
    text = f"Results of {count_of(num_runs, 'run')} in {count_of(len(sections), 'suite')}."
    return [text, markdown_table(headings, rows, text_columns=(0, 2, 4))]


def _has_results(section: SuiteSection, env: str) -> bool:
    """Return True if any of our agents has results on an environment."""
    return any(env in score_set.scores for score_set in section.ours)


def _highest_iqm(section: SuiteSection) -> str:
    """Return our agent with the highest IQM of the normalised scores, and this IQM; "" without normalised scores."""
    iqms: dict[str, Estimate] = {}
    if len(section.common_envs) > 1:
        for score_set in section.ours:
            iqm = score_set.aggregate("IQM", section.common_envs, may_quote=False)
            if iqm is not None:
                iqms[score_set.name] = iqm
    if not iqms:
        return ""
    best = max(iqms, key=lambda name: iqms[name].value)
    return f"{best}: {iqms[best].text('.3f')}"


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


# --- The parts of a suite -------------------------------------------------------------------------------------------


def _render_section(section: SuiteSection, pictures: SectionPictures) -> list[str]:
    """Return the parts of a suite: headings, paragraphs, tables and pictures."""
    suite = section.suite
    parts = [f"## {suite.title}", _paragraph(_protocol_text(suite))]
    if suite.note:
        parts.append(_paragraph(suite.note))
    if section.score_sets:
        parts += _score_parts(section)
        parts += _regret_parts(section)
    parts += _aggregate_parts(section)
    if pictures.profiles:
        parts += [f"![{suite.title}: normalised scores]({pictures.profiles})", PROFILES_CAPTION]
    parts += _improvement_parts(section)
    if pictures.curves:
        parts += ["### Learning curves", f"![{suite.title}: learning curves]({pictures.curves})", CURVES_CAPTION]
    if section.ours:
        parts += ["### Runs", _run_table(section)]
    if section.published:
        parts += ["### Sources", _list([f"{each.label}: {each.source}" for each in section.published])]
    if section.problems:
        parts += ["### Left out", _list(section.problems)]
    return parts


def _protocol_text(suite: Suite) -> str:
    """Return the training and the evaluation of a suite in two sentences."""
    evaluation = suite.evaluation
    steps = "the agent steps of each agent's own settings" if suite.steps is None else f"{suite.steps:,} agent steps"
    for env in suite.envs:
        if "steps" in suite.settings_on(env):
            steps += f", {suite.steps_on(env):,} on {env}"
    protocol = "" if suite.protocol == "auto" else f" Protocol `{suite.protocol}`."
    return (
        f"Suite `{suite.name}`: {count_of(len(suite.envs), 'environment')}, {steps}.{protocol} The evaluation after"
        f" training has {count_of(evaluation.games, 'episode')} with epsilon {evaluation.epsilon:g}, cut at"
        f" {evaluation.cut:,} agent steps."
    )


def _score_parts(section: SuiteSection) -> list[str]:
    """Return the table of mean scores: ours with intervals, published ones without.

    The cells of an environment have the same number of decimals.
    """
    specs = {env: _score_spec(section, env) for env in section.envs}
    cells: dict[str, list[str]] = {}  # label of an agent -> one cell for each environment
    for score_set in section.score_sets:
        estimates = [score_set.estimate(env) for env in section.envs]
        if score_set.is_published:
            estimates = [None if each is None else Estimate(each.value, np.nan, np.nan) for each in estimates]
        cells[score_set.label] = [
            "" if each is None else _without_negative_zero(each.text(specs[env]))
            for env, each in zip(section.envs, estimates, strict=True)
        ]
    if len(section.envs) <= MAX_SCORE_COLUMNS:
        table = markdown_table(["agent", *section.envs], [[label, *row] for label, row in cells.items()])
    else:
        rows = [list(row) for row in zip(section.envs, *cells.values(), strict=True)]
        table = markdown_table(["environment", *cells], rows)
    return ["### Scores", _paragraph(_runs_caption(section)), table]


def _regret_parts(section: SuiteSection) -> list[str]:
    """Return the table of regrets of our agents, where environments know their optimum."""
    rows = regret_rows(section.ours, suite_optima(section.suite, section.envs))
    if not rows:
        return []
    text = (
        "The optimum is the expected score of an optimal policy. The regret of an agent is the optimum less its score,"
        " in percent of the optimum's size."
    )
    table = markdown_table(["environment", "optimum", *(score_set.label for score_set in section.ours)], rows)
    return ["### Regret", _paragraph(text), table]


def _runs_caption(section: SuiteSection) -> str:
    """Return one sentence on the table of scores, with the number of runs behind a score."""
    texts = {score_set.name: score_set.runs_text(list(score_set.scores)) for score_set in section.ours}
    if not texts:
        return "Published scores."
    if len(set(texts.values())) == 1:
        (count, *_) = texts.values()
        return f"Mean over runs of the evaluation after training; {count} {'run' if count == '1' else 'runs'} a score."
    counts = ", ".join(f"{name} {count}" for name, count in texts.items())
    return f"Mean over runs of the evaluation after training. Runs a score: {counts}."


def _score_spec(section: SuiteSection, env: str) -> str:
    """Return the number format of the scores on an environment: as many decimals as scores of their size need."""
    scores = np.concatenate([each.scores[env] for each in section.score_sets if env in each.scores])
    largest = float(np.abs(scores).max())
    if largest >= 1000:
        return ",.0f"
    if largest >= 10:
        return ".1f"
    return ".2f" if largest >= 1 else ".3f"


def _without_negative_zero(text: str) -> str:
    """Return a text of numbers with 0.0 in place of -0.0."""
    return re.sub(r"-(0(?:\.0+)?)(?![.\d])", r"\1", text)


def _aggregate_parts(section: SuiteSection) -> list[str]:
    """Return the tables of normalised scores: over all environments, and of tuned and untuned ones separately."""
    envs = section.common_envs
    suite = section.suite
    if not section.score_sets or len(envs) < 2:
        return []
    table = _aggregate_table(section, envs, may_quote=section.is_complete)
    if table is None:
        return []
    if section.is_complete:
        text = "Over all environments."
    else:
        text = f"Over the {len(envs)} environments on which all of our agents have results: {', '.join(envs)}."
    parts = [NORMALISED_HEADING, _paragraph(text), table]
    tuned = [env for env in envs if env in suite.tuned]
    untuned = [env for env in envs if env not in suite.tuned]
    if tuned and untuned:
        for name, some in (("on which settings were chosen", tuned), ("on which no setting was chosen", untuned)):
            some_table = _aggregate_table(section, some, may_quote=False)
            if some_table is not None:
                text = f"Over the {count_of(len(some), 'environment')} {name}: {', '.join(some)}."
                parts += [_paragraph(text), some_table]
    return parts


def _aggregate_table(section: SuiteSection, envs: Sequence[str], *, may_quote: bool) -> str | None:
    """Return the table of normalised scores over some environments, None if there are no scales."""
    rows = []
    for score_set in section.score_sets:
        estimates = {name: score_set.aggregate(name, envs, may_quote=may_quote) for name in AGGREGATES}
        if all(each is None for each in estimates.values()):
            continue
        cells = [score_set.label, score_set.runs_text(envs)]
        for name, each in estimates.items():
            is_quoted = score_set.are_means and name == "IQM"
            cells.append("" if each is None else each.text(".3f") + " (as published)" * is_quoted)
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
            cells.append(probability.text(".2f"))
        rows.append(cells)
    if not any(any(cells[1:]) for cells in rows):
        return []
    text = (
        "Probability that a run of the agent in the row scores higher than a run of the agent in the column on the same"
        " environment; 0.5 is a draw."
    )
    if not section.is_complete:
        text += " Two agents are compared on the environments that both have."
    table = markdown_table(["agent", *(score_set.label for score_set in others)], rows)
    return ["### Probability of improvement", _paragraph(text), table]


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
    return markdown_table(headings, rows, text_columns=(0, 2, 5, 6))


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Collection[int] = (0,)
) -> str:
    """Return a Markdown table. Vertical bars in cells are escaped.

    Args:
        headings: Headings of the columns.
        rows: The cells of each row.
        text_columns: Indices of the columns that are aligned at the left. The others hold numbers.
    """
    alignment = ["---" if column in text_columns else "---:" for column in range(len(headings))]
    lines = []
    for cells in (list(headings), alignment, *rows):
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines)


def _paragraph(text: str) -> str:
    """Return a text in lines of at most `LINE_WIDTH` characters."""
    return textwrap.fill(" ".join(text.split()), LINE_WIDTH, break_long_words=False, break_on_hyphens=False)


def _list(items: Sequence[str]) -> str:
    """Return a Markdown list of sentences. A full stop is added at the end of each."""
    lines = []
    for item in items:
        text = f"- {' '.join(item.split()).rstrip('.')}."
        lines.append(
            textwrap.fill(text, LINE_WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        )
    return "\n".join(lines)
