"""The command `compare`: a table on the terminal and one page for the browser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.core.settings import check_fields
from rl_lab.cli.parsing import parse
from rl_lab.compare import page
from rl_lab.compare.comparison import Comparison
from rl_lab.compare.runs import METRIC, check_comparable, find_runs, read_results, remarks
from rl_lab.errors import LabError
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.tracking.tracker import wandb_key


@dataclass(frozen=True)
class CompareOptions:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Runs: folders, folders of runs (runs/Pong), patterns, groups, or parts of their names."""
    html: str = "comparison.html"
    """File to write the page to; empty writes none."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object in place of the table."""
    metric: str = METRIC
    """What to compare: a name from metrics.jsonl."""
    x: Literal["steps", "frames", "minutes"] = "steps"
    """What the page's curves begin with; it can be switched there."""
    target: float | None = None
    """A score: how many seeds reach it, after how many agent steps and minutes (default: what the runs' presets name)."""
    wandb: tyro.conf.FlagCreatePairsOff[bool] = False
    """Put the comparison into the W&B project of the runs too: a run, a saved view and a report."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare runs that were not played on the same terms, and say so on the page."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def compare_command(args: list[str]) -> None:
    chosen = parse(CompareOptions, args, "compare", "Compare runs: which agent is better, and how sure are we.")
    check_fields(chosen)
    if not chosen.runs:
        raise LabError("which runs? name folders, patterns or parts of names, for example: compare runs/Pong")
    load_env_plugins()
    results, problems = read_results(find_runs(chosen.runs, chosen.runs_dir), chosen.metric)
    console = Console(stderr=True, highlight=False)
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    if not results:
        raise LabError("nothing is left to compare")
    warnings = check_comparable(results)
    if warnings and not chosen.force:
        raise LabError(f"{'; '.join(warnings)}; --force compares them all the same")
    notes = remarks(results)
    comparison = Comparison.of(results, chosen.metric, chosen.target)
    if chosen.html:
        path = Path(chosen.html)
        try:
            page.write(comparison, path, x=chosen.x, warnings=warnings + notes + problems)
        except OSError as error:
            raise LabError(f"the page {path} cannot be written: {error.strerror}") from error
    if chosen.wandb and not wandb_key():
        notes.append("nothing was put into W&B: no key in WANDB_API_KEY or .netrc, `wandb login` first")
    rows = [group.row() for group in comparison.groups]
    if chosen.json:
        print(
            json.dumps(
                {
                    "metric": chosen.metric,
                    "groups": page.plain(rows),
                    "warnings": warnings + notes,
                    "left_out": problems,
                }
            )
        )
    else:
        _show(rows, chosen, warnings + notes, console)
    if chosen.wandb and wandb_key():
        from rl_lab.compare.publish import publish  # needs W&B's packages, which take a second

        for address in publish(comparison, Path(chosen.html) if chosen.html else None):
            console.print(f"W&B {address}", markup=False, soft_wrap=True)


def _show(rows: list[dict[str, Any]], chosen: CompareOptions, warnings: list[str], console: Console) -> None:
    terminal = Console(highlight=False)
    wide = terminal if terminal.is_terminal else Console(highlight=False, width=200)  # a file has no edge
    wide.print(_table(rows))
    for warning in warnings:
        console.print(f"WARNING: {warning}", markup=False, soft_wrap=True)
    if chosen.html:
        print(f"page: {chosen.html}")


def _table(rows: list[dict[str, Any]]) -> Table:
    goal = (
        ["target", "seeds at it", "steps to it", "minutes to it"]
        if any(row["target"] is not None for row in rows)
        else []
    )
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(["agent", "env", "seeds", "final", "best", "normalised", *goal, "steps/s"]):
        table.add_column(head, justify="left" if i < 2 else "right", overflow="fold")
    for row in rows:
        cells = [row["agent"], row["env"], str(len(row["seeds"])), str(row["final"]), str(row["best"])]
        cells.append("" if row["normalised"] is None else str(row["normalised"]))
        if goal:
            cells += (
                ["", ""]
                if row["target"] is None
                else [f"{row['target']:g}", f"{row['reached']} of {len(row['seeds'])}"]
            )
            cells += [
                "" if row[k] is None else f"{row[k]:,.{n}f}"
                for k, n in (("steps_to_target", 0), ("minutes_to_target", 1))
            ]
        cells.append("" if np.isnan(row["steps_per_s"]) else f"{row['steps_per_s']:,.0f}")
        table.add_row(*map(Text, cells))  # not markup: a label may hold a path in brackets
    return table
