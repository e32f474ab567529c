"""The command `compare`."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from agents.core.settings import check_fields
from rl_lab.cli.parsing import RunNames, parse
from rl_lab.errors import LabError
from rl_lab.tracking.metric_names import SCORE_METRIC, XAxis


@dataclass(frozen=True)
class CompareOptions:
    """The options of `compare`."""

    runs: RunNames = ()
    """Runs: run folders, folders of runs (runs/Pong) or of sweeps (runs/sweeps), glob patterns, groups, agents,
    environments or parts of paths. Or results: agents of a suite (atari100k/der), and published scores
    (published:DER)."""
    html: str = "comparison.html"
    """File for the HTML page; an empty name writes no page."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object instead of the table."""
    wide: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print all columns. By default a terminal shows only the columns that fit."""
    mix_lengths: tyro.conf.FlagCreatePairsOff[bool] = False
    """Put runs of different length into one row. By default runs with other numbers of steps have rows of their own."""
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
    results_dir: str = "results"
    """Folder of the result files of suites."""
    published_dir: str = ""
    """Folder of the CSV files of published scores (docs/suites.md). Default: the environment variable
    RL_LAB_PUBLISHED_DIR."""


def compare_command(args: list[str]) -> None:
    """Run the command `compare`."""
    options = parse(CompareOptions, args, "compare", "Compare agents, with confidence intervals over seeds.")
    check_fields(options)
    if not options.runs:
        raise LabError("no runs given; name folders, patterns or parts of names, for example: compare runs/Pong")
    from rl_lab.cli.score_report import names_scores, report_scores

    if names_scores(options):
        report_scores(options)
        return
    from rl_lab.cli.comparison_report import report_comparison

    report_comparison(options)
