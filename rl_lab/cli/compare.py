"""The command `compare`: compares runs in a table on the console and on an HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from agents.core.settings import check_fields
from rl_lab.cli.parsing import parse
from rl_lab.compare.checks import find_caveats, find_incompatibilities
from rl_lab.compare.comparison import Comparison, GroupSummary
from rl_lab.compare.page import to_json, write_page
from rl_lab.compare.run_result import XAxis, read_results
from rl_lab.compare.runs import find_runs
from rl_lab.errors import LabError
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.system.printable import plain_text, print_line
from rl_lab.tracking.metric_names import SCORE_METRIC
from rl_lab.tracking.wandb_mode import NO_WANDB_KEY, find_wandb_key

FILE_WIDTH = 200  # columns of the table where the output is no terminal


@dataclass(frozen=True)
class CompareOptions:
    """The options of `compare`."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Runs: run folders, folders of runs (runs/Pong), glob patterns, groups, agents, environments or parts of paths."""
    html: str = "comparison.html"
    """File for the HTML page; an empty name writes no page."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object instead of the table."""
    metric: str = SCORE_METRIC
    """Metric to compare: a name from metrics.jsonl."""
    x: XAxis = "steps"
    """X-axis that is selected when the page opens."""
    target: float | None = None
    """Target score. The table shows how many seeds reached it, and when. Default: the target in the runs' settings."""
    wandb: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also publish the comparison in the W&B project of the runs: as a run, a saved view and a report."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare runs whose environments have different properties. The page shows a warning."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def compare_command(args: list[str]) -> None:
    """Run the command `compare`."""
    options = parse(CompareOptions, args, "compare", "Compare agents, with confidence intervals over seeds.")
    check_fields(options)
    if not options.runs:
        raise LabError("no runs given; name folders, patterns or parts of names, for example: compare runs/Pong")
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
    """Return the table. The columns about the target are left out if no group has a target."""
    has_target = any(summary.target is not None for summary in summaries)
    headings = ["agent", "env", "seeds", "final", "best", "normalised"]
    if has_target:
        headings += ["target", "seeds at target", "steps to target", "minutes to target"]
    headings.append("steps/s")
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("agent", "env") else "right", overflow="fold")
    for summary in summaries:
        cells = [summary.agent, summary.env, str(len(summary.seeds)), str(summary.final), str(summary.best)]
        cells.append(_cell(summary.normalised))
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
