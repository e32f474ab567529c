"""The output of the command `compare`: a table on the console, JSON, an HTML page, and a report in W&B."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from rl_lab.compare.checks import find_caveats, find_incompatibilities
from rl_lab.compare.comparison import RETURN_SUFFIXES, STATISTICS, Comparison, GroupSummary
from rl_lab.compare.page import to_json, write_page
from rl_lab.compare.run_result import read_results
from rl_lab.compare.runs import find_runs
from rl_lab.errors import LabError
from rl_lab.experiment.human_scores import HumanScores, read_human_scores
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.system.printable import plain_text, print_line, wrapped
from rl_lab.tracking.fitted_table import print_fitted, smallest_width
from rl_lab.tracking.metric_names import XAxis
from rl_lab.tracking.wandb_mode import NO_WANDB_KEY, find_wandb_key

if TYPE_CHECKING:
    from rl_lab.cli.compare import CompareOptions

COLUMNS = (
    *("agent", "env", "seeds", "final", "best", "normalised", "optimum", "regret"),
    *("target", "seeds at target", "steps to target", "minutes to target", "steps/s"),
)
"""Headings of the table, from left to right."""

TEXT_COLUMNS = ("agent", "env")
"""Columns that are aligned at the left."""

DROP_ORDER = (
    *("steps/s", "minutes to target", "best", "normalised", "optimum", "target", "steps to target"),
    *("seeds at target", "regret"),
)
"""Columns that are left out on a narrow terminal, the first one first."""


def report_comparison(options: CompareOptions) -> None:
    """Compare runs, and print or write the result.

    Raises:
        LabError: No run can be compared, or the runs differ in their environments.
    """
    load_env_plugins()
    found = find_runs(options.runs, options.runs_dir)
    results, problems = read_results(found.runs, options.metric)
    problems = found.problems + problems
    stderr = Console(stderr=True, highlight=False)
    if not results and len(problems) == 1:
        raise LabError(f"{problems[0]}; there is no run left to compare")
    _print_lines(stderr, problems)
    if not results:
        raise LabError("there is no run left to compare")
    incompatibilities = find_incompatibilities(results)
    if incompatibilities and not options.force:
        raise LabError(f"{'; '.join(incompatibilities)}; --force compares the runs anyway")
    warnings = incompatibilities + find_caveats(results, mix_lengths=options.mix_lengths)
    comparison = Comparison.from_results(results, options.metric, options.target, mix_lengths=options.mix_lengths)
    human = _human_scores(comparison, options.runs_dir)
    page = Path(options.html) if options.html else None
    if page:
        _write_page(comparison, page, options.x, warnings + problems, human)
    is_published = options.wandb and find_wandb_key() is not None
    if options.wandb and not is_published:
        warnings.append(f"the comparison was not published: {NO_WANDB_KEY}; run `wandb login` first")
    summaries = [group.summary() for group in comparison.groups]
    if options.json:
        _print_json(summaries, options.metric, warnings, problems, human)
    else:
        _print_table(summaries, wide=options.wide)
        for env, scores in human.items():
            print_line(f"a person on {env}: {scores} ({scores.path})")
        _print_lines(stderr, [f"WARNING: {warning}" for warning in warnings])
        if page:
            print_line(f"page: {page}")
    if is_published:
        from rl_lab.compare.publish import publish  # imports the W&B packages, which takes about a second

        _print_lines(stderr, [f"W&B {address}" for address in publish(comparison, page)])


def _human_scores(comparison: Comparison, runs_dir: str) -> dict[str, HumanScores]:
    """Return the scores of a person by environment, if scores are compared. The command `play` keeps them."""
    if not comparison.metric.endswith(RETURN_SUFFIXES):
        return {}
    scores = {env: read_human_scores(runs_dir, comparison.groups_on(env)[0].env_spec) for env in comparison.envs}
    return {env: each for env, each in scores.items() if each is not None}


def _write_page(
    comparison: Comparison, path: Path, x: XAxis, warnings: list[str], human: dict[str, HumanScores]
) -> None:
    try:
        write_page(comparison, path, x=x, warnings=warnings, human=human)
    except OSError as error:
        raise LabError(f"the page {path} cannot be written: {error.strerror}") from error


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines without rich markup, on a terminal broken between words."""
    for line in lines:
        for part in wrapped(line, console.width) if console.is_terminal else [line]:
            console.print(plain_text(part), soft_wrap=True)


def _print_json(
    summaries: list[GroupSummary],
    metric: str,
    warnings: list[str],
    problems: list[str],
    human: dict[str, HumanScores],
) -> None:
    groups = to_json(summaries)
    content = {"metric": metric, "groups": groups, "statistics": STATISTICS, "warnings": warnings, "left_out": problems}
    content["human"] = {env: scores.scores for env, scores in human.items()}
    print(json.dumps(content))


def _print_table(summaries: Sequence[GroupSummary], *, wide: bool) -> None:
    """Print the table. A terminal shows the columns that fit, unless `wide`; a file receives all of them."""
    columns = _table_columns(summaries)
    console = Console(highlight=False)
    legend: list[str] = []
    if console.is_terminal and not wide:
        legend = _shorten_labels(columns, console.width)
    print_fitted(columns, text_columns=TEXT_COLUMNS, drop_order=DROP_ORDER, wide=wide)
    _print_lines(console, legend)


def _table_columns(summaries: Sequence[GroupSummary]) -> dict[str, list[str]]:
    """Return the columns: heading -> one cell for each group. A column without any number is left out."""
    columns: dict[str, list[str]] = {heading: [] for heading in COLUMNS}
    for summary in summaries:
        cells = [summary.agent, summary.env, str(len(summary.seeds)), str(summary.final), str(summary.best)]
        cells.append(_cell(summary.normalised))
        cells += [_cell(summary.optimum, ".2f"), _cell(summary.regret)]
        cells += _target_cells(summary)
        cells.append("" if np.isnan(summary.steps_per_s) else f"{summary.steps_per_s:,.0f}")
        for heading, cell in zip(COLUMNS, cells, strict=True):
            columns[heading].append(cell)
    return {heading: cells for heading, cells in columns.items() if any(cells)}


def _shorten_labels(columns: dict[str, list[str]], width: int) -> list[str]:
    """Replace long labels such as "dqn lr=0.001 ..." by "dqn 1", if the most important columns do not fit otherwise.

    Returns:
        One line for each label that was replaced: its number and the label.
    """
    important = {heading: cells for heading, cells in columns.items() if heading not in DROP_ORDER}
    if smallest_width(important) <= width:
        return []
    legend = []
    for index, label in enumerate(columns["agent"]):
        agent, _, settings = label.partition(" ")
        if settings:
            columns["agent"][index] = f"{agent} {len(legend) + 1}"
            legend.append(f"{columns['agent'][index]}: {settings}")
    return legend


def _target_cells(summary: GroupSummary) -> list[str]:
    """Return the cells of the columns target, seeds at target, steps to target and minutes to target."""
    if summary.target is None:
        return ["", "", "", ""]
    return [
        f"{summary.target:g}",
        f"{summary.reached} of {len(summary.seeds)}",
        _cell(summary.steps_to_target, ",.0f"),
        _cell(summary.minutes_to_target, ",.1f"),
    ]


def _cell(value: object, spec: str = "") -> str:
    return "" if value is None else format(value, spec)
