"""The output of the command `compare`: a table on the console, JSON, an HTML page, and a report in W&B."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_lab.compare.checks import find_caveats, find_incompatibilities
from rl_lab.compare.comparison import Comparison, GroupSummary
from rl_lab.compare.page import to_json, write_page
from rl_lab.compare.run_result import read_results
from rl_lab.compare.runs import find_runs
from rl_lab.errors import LabError
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.system.printable import plain_text, print_line
from rl_lab.tracking.metric_names import XAxis
from rl_lab.tracking.wandb_mode import NO_WANDB_KEY, find_wandb_key

if TYPE_CHECKING:
    from rl_lab.cli.compare import CompareOptions

FILE_WIDTH = 200  # columns of the table where the output is no terminal


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
    warnings = incompatibilities + find_caveats(results)
    comparison = Comparison.from_results(results, options.metric, options.target)
    page = Path(options.html) if options.html else None
    if page:
        _write_page(comparison, page, options.x, warnings + problems)
    is_published = options.wandb and find_wandb_key() is not None
    if options.wandb and not is_published:
        warnings.append(f"the comparison was not published: {NO_WANDB_KEY}; run `wandb login` first")
    summaries = [group.summary() for group in comparison.groups]
    if options.json:
        _print_json(summaries, options.metric, warnings, problems)
    else:
        _print_table(summaries)
        _print_lines(stderr, [f"WARNING: {warning}" for warning in warnings])
        if page:
            print_line(f"page: {page}")
    if is_published:
        from rl_lab.compare.publish import publish  # imports the W&B packages, which takes about a second

        _print_lines(stderr, [f"W&B {address}" for address in publish(comparison, page)])


def _write_page(comparison: Comparison, path: Path, x: XAxis, warnings: list[str]) -> None:
    try:
        write_page(comparison, path, x=x, warnings=warnings)
    except OSError as error:
        raise LabError(f"the page {path} cannot be written: {error.strerror}") from error


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines as they are, without rich markup and line breaks."""
    for line in lines:
        console.print(plain_text(line), soft_wrap=True)


def _print_json(summaries: list[GroupSummary], metric: str, warnings: list[str], problems: list[str]) -> None:
    content = {"metric": metric, "groups": to_json(summaries), "warnings": warnings, "left_out": problems}
    print(json.dumps(content))


def _print_table(summaries: Sequence[GroupSummary]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=FILE_WIDTH)
    console.print(_render_table(summaries))


def _render_table(summaries: Sequence[GroupSummary]) -> Table:
    """Return the table. The columns about the target and the optimum are left out if no group has one."""
    has_target = any(summary.target is not None for summary in summaries)
    has_optimum = any(summary.optimum is not None for summary in summaries)
    headings = ["agent", "env", "seeds", "final", "best", "normalised"]
    if has_optimum:
        headings += ["optimum", "regret"]
    if has_target:
        headings += ["target", "seeds at target", "steps to target", "minutes to target"]
    headings.append("steps/s")
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("agent", "env") else "right", overflow="fold")
    for summary in summaries:
        cells = [summary.agent, summary.env, str(len(summary.seeds)), str(summary.final), str(summary.best)]
        cells.append(_cell(summary.normalised))
        if has_optimum:
            cells += [_cell(summary.optimum, ".2f"), _cell(summary.regret)]
        if has_target:
            cells += _target_cells(summary)
        cells.append("" if np.isnan(summary.steps_per_s) else f"{summary.steps_per_s:,.0f}")
        table.add_row(*map(plain_text, cells))
    return table


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
