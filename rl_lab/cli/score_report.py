"""The output of `compare` for the results of suites and published scores: tables on the console, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rl_lab.compare.page import to_json
from rl_lab.compare.scores import named_scale
from rl_lab.compare.statistics import Estimate, probability_of_improvement
from rl_lab.errors import LabError
from rl_lab.suite.published import published_folder, read_entry
from rl_lab.suite.result_file import read_results
from rl_lab.suite.score_set import AGGREGATES, ScoreSet, score_sets_of, why_unusable
from rl_lab.suite.suite import read_suite, suite_names
from rl_lab.system.printable import count_of, plain_text, print_line

if TYPE_CHECKING:
    from rl_lab.cli.compare import CompareOptions

PUBLISHED = "published:"
FILE_WIDTH = 200  # columns of the tables where the output is no terminal


def names_scores(options: CompareOptions) -> bool:
    """Return True if the names refer to results of suites or to published scores, False if they refer to runs.

    A name SUITE/AGENT is that of a result if no run folder or file has this path.

    Raises:
        LabError: The names refer to both kinds.
    """
    kinds = {name: name.startswith(PUBLISHED) or _is_result(name, options) for name in options.runs}
    if len(set(kinds.values())) > 1:
        scores = next(name for name, is_score in kinds.items() if is_score)
        runs = next(name for name, is_score in kinds.items() if not is_score)
        raise LabError(
            f"{scores} is a result and {runs} is none; compare either runs with runs, or results (SUITE/AGENT,"
            f" {PUBLISHED}NAME) with results"
        )
    return all(kinds.values())


def report_scores(options: CompareOptions) -> None:
    """Compare results of suites and published scores, and print the tables or one JSON object.

    Raises:
        LabError: A name is unknown, a file cannot be read, or the agents have no environment in common.
    """
    if options.wandb:
        raise LabError("wandb is for runs; the results of suites are not published in W&B")
    score_sets, problems = _read_score_sets(options)
    envs = [env for env in score_sets[0].scores if all(env in each.scores for each in score_sets)]
    if not envs:
        raise LabError(f"{' and '.join(options.runs)} have no environment in common")
    if options.json:
        content = _content(score_sets, envs)
        content["warnings"] += problems
        print(json.dumps(to_json(content)))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=FILE_WIDTH)
    console.print(_score_table(score_sets, envs))
    if any(score_set.normalised(envs) is not None for score_set in score_sets):
        console.print()
        console.print(_aggregate_table(score_sets, envs))
    for note in [*_notes(score_sets, envs), *problems]:
        print_line(note, file=sys.stderr)


def _is_result(name: str, options: CompareOptions) -> bool:
    """Return True if a name is SUITE/AGENT of result files, and not the path of runs."""
    parts = Path(name).parts
    if len(parts) != 2 or ".." in parts or Path(name).is_absolute():
        return False
    is_path = Path(name).exists() or (Path(options.runs_dir) / name).exists()
    return not is_path and (Path(options.results_dir) / name).is_dir()


def _read_score_sets(options: CompareOptions) -> tuple[list[ScoreSet], list[str]]:
    """Return the scores that the names refer to, each name once, and a message for each result that is left out."""
    suites = [Path(name).parts[0] for name in options.runs if not name.startswith(PUBLISHED)]
    folder = published_folder(options.published_dir)
    score_sets = []
    problems: list[str] = []
    for name in dict.fromkeys(options.runs):
        if name.startswith(PUBLISHED):
            score_sets.append(_read_published(name.removeprefix(PUBLISHED), suites, folder))
        else:
            score_set, left_out = _read_results(name, options.results_dir)
            score_sets.append(score_set)
            problems += left_out
    return score_sets, problems


def _read_results(name: str, results_dir: str) -> tuple[ScoreSet, list[str]]:
    """Return the scores of SUITE/AGENT, and a message for each result that is left out.

    Results that do not belong to a suite of the lab are left out, as on the page of results.
    """
    suite_name, agent = Path(name).parts
    results = [result for result in read_results(Path(results_dir) / suite_name) if result.agent == agent]
    suite = read_suite(suite_name) if suite_name in suite_names() else None
    usable = []
    problems = []
    for result in results:
        reason = why_unusable(suite, result) if suite is not None else ""
        if reason:
            problems.append(f"{name} on {result.env}, seed {result.seed}, is left out: {reason}")
        else:
            usable.append(result)
    if not usable:
        raise LabError(problems[0] if problems else f"{Path(results_dir) / name} has no result files")
    (score_set,) = score_sets_of(usable)
    return score_set, problems


def _read_published(name: str, suites: Sequence[str], folder: Path | None) -> ScoreSet:
    """Return published scores: of one of the suites that are compared, or else of any suite of the lab.

    Args:
        name: Name of the published agent.
        suites: Names of the suites that are compared.
        folder: Folder of the CSV files, or None.
    """
    known: dict[str, None] = {}
    order = [*(suite for suite in dict.fromkeys(suites) if suite in suite_names()), *suite_names()]
    for suite_name in dict.fromkeys(order):
        suite = read_suite(suite_name)
        for entry in suite.published:
            if entry.name == name:
                try:
                    return read_entry(entry, suite, folder)
                except LabError as error:
                    raise LabError(f"{PUBLISHED}{name} cannot be used: {error}") from error
            known[entry.name] = None
    raise LabError(f"{PUBLISHED}{name} is unknown; there are: {', '.join(known)}")


def _content(score_sets: Sequence[ScoreSet], envs: Sequence[str]) -> dict[str, Any]:
    """Return what `--json` prints. Each value has the name of its statistic beside it."""
    scores = []
    aggregates = []
    for score_set in score_sets:
        for env in envs:
            runs = None if score_set.are_means else len(score_set.scores[env])
            value = _value("mean", score_set.estimate(env))
            scores.append({"agent": score_set.name, "env": env, "runs": runs, **value})
        for name, (estimate, is_quoted) in _aggregates(score_set, envs).items():
            if estimate is not None:
                aggregates.append({"agent": score_set.name, "quoted": is_quoted, **_value(name, estimate)})
    return {
        "envs": list(envs),
        "scores": scores,
        "normalised": aggregates,
        "improvement": _improvements(score_sets, envs),
        "sources": {each.name: each.source for each in score_sets if each.is_published},
        "recalled": [each.name for each in score_sets if each.is_recalled],
        "warnings": _notes(score_sets, envs),
    }


def _value(statistic: str, estimate: Estimate | None) -> dict[str, Any]:
    """Return an estimate with the name of its statistic."""
    assert estimate is not None
    return {"statistic": statistic, "value": estimate.value, "low": estimate.low, "high": estimate.high}


def _aggregates(score_set: ScoreSet, envs: Sequence[str]) -> dict[str, tuple[Estimate | None, bool]]:
    """Return statistic -> normalised score, and whether that number is quoted from a paper.

    A quoted number belongs to all environments for which the agent has scores.
    """
    is_complete = len(envs) == len(score_set.scores)
    values = {}
    for name in AGGREGATES:
        estimate = score_set.aggregate(name, envs, may_quote=is_complete)
        values[name] = (estimate, score_set.are_means and name == "IQM")
    return values


def _improvements(score_sets: Sequence[ScoreSet], envs: Sequence[str]) -> list[dict[str, Any]]:
    """Return the probability of improvement for each ordered pair of agents with scores of single runs."""
    with_runs = [score_set for score_set in score_sets if not score_set.are_means]
    improvements = []
    for better in with_runs:
        for than in with_runs:
            if better is than:
                continue
            probability = probability_of_improvement(
                [better.scores[env] for env in envs], [than.scores[env] for env in envs]
            )
            value = _value("probability of improvement", probability)
            improvements.append({"better": better.name, "than": than.name, **value})
    return improvements


def _notes(score_sets: Sequence[ScoreSet], envs: Sequence[str]) -> list[str]:
    """Return what a reader should know about the comparison."""
    notes = []
    for score_set in score_sets:
        left_out = len(score_set.scores) - len(envs)
        if left_out:
            notes.append(f"{score_set.name} has scores on {count_of(left_out, 'more environment')}, left out here")
        if score_set.is_recalled:
            notes.append(
                f"{score_set.label} was transcribed from memory; its mean and median agree with the published ones"
            )
        if score_set.are_means:
            quoted = "; its IQM is the published one" if "IQM" in score_set.quoted else ""
            notes.append(f"{score_set.label} has mean scores only, so it has no intervals{quoted}")
    without_scale = [env for env in envs if named_scale(env) is None]
    if without_scale:
        notes.append(f"there are no normalised scores: {', '.join(without_scale)} has no known scale")
    return notes


def _score_table(score_sets: Sequence[ScoreSet], envs: Sequence[str]) -> Table:
    """Return the table of mean scores by environment."""
    table = Table(box=None, pad_edge=False)
    table.add_column("mean score", overflow="fold")
    for score_set in score_sets:
        table.add_column(plain_text(score_set.label), justify="right", overflow="fold")
    for env in envs:
        table.add_row(plain_text(env), *(str(score_set.estimate(env)) for score_set in score_sets))
    return table


def _aggregate_table(score_sets: Sequence[ScoreSet], envs: Sequence[str]) -> Table:
    """Return the table of statistics of the normalised scores."""
    table = Table(box=None, pad_edge=False)
    for heading in ("normalised", *AGGREGATES, "runs an environment"):
        table.add_column(heading, justify="left" if heading == "normalised" else "right")
    for score_set in score_sets:
        estimates = [estimate for estimate, _ in _aggregates(score_set, envs).values()]
        texts = ["" if estimate is None else estimate.text(".3f") for estimate in estimates]
        table.add_row(plain_text(score_set.label), *texts, score_set.runs_text(envs))
    return table
