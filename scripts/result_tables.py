"""Markdown tables of the results: one row per group of seeds, or one row per run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from result_data import NO_EVALUATION, NOT_REACHED, ResultGroup, ResultTopic, SeedResult

Row = dict[str, str]
"""The cells of one table row by column title."""


def summary_table(topic: ResultTopic) -> str:
    """Return a Markdown table with one row per group: medians over the seeds, with the range in brackets."""
    rows = [_summary_row(topic, group) for group in topic.groups]
    return markdown_table(rows, _columns(rows))


def race_table(topic: ResultTopic) -> str:
    """Return a Markdown table with one row per agent of a race: how many seeds reached the target, and when.

    Machine and setting are left out if all groups have the same.
    """
    rows = [_summary_row(topic, group) for group in topic.groups]
    target = f"{topic.target:g}"
    columns = ["seeds", f"reached {target}", f"minutes to {target}", f"steps to {target}", "best evaluation"]
    differing = [column for column in ("machine", "setting") if len({row[column] for row in rows}) > 1]
    return markdown_table(rows, ["agent", *differing, *columns])


def seed_table(topic: ResultTopic) -> str:
    """Return a Markdown table with one row per run: the score of each evaluation by thousands of agent steps."""
    rows: list[Row] = []
    evaluations: list[Row] = []
    for group in topic.groups:
        for run in group.runs:
            rows.append(_seed_row(topic, group, run))
            evaluations.append({_thousands(steps): score_text(score) for steps, score in run.curve})
    steps = sorted(_columns(evaluations), key=lambda title: int(title.removesuffix("k")))
    merged = [row | scores for row, scores in zip(rows, evaluations, strict=True)]
    return markdown_table(merged, _columns(rows) + steps)


def command_table(topic: ResultTopic) -> str:
    """Return a Markdown table with one row per group: its command, and the conditions on its machine."""
    rows: list[Row] = []
    for group in topic.groups:
        row = _group_cells(topic, group)
        row["command"] = f"`{group.command}`"
        row["conditions"] = group.note
        rows.append(row)
    return markdown_table(rows, _columns(rows))


def markdown_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return the rows as a Markdown table.

    A cell that a row lacks stays empty. A column without any text is left out.
    """
    used = [column for column in columns if any(row.get(column) for row in rows)]
    lines = [_line(used), _line(["---"] * len(used))]
    lines.extend(_line([row.get(column, "") for column in used]) for row in rows)
    return "\n".join(lines)


def median_and_range(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Return "median (lowest to highest)", or the value alone if all values are equal. `text` formats one value."""
    low = min(values)
    high = max(values)
    if low == high:
        return text(low)
    return f"{text(statistics.median(values))} ({text(low)} to {text(high)})"


def score_text(score: float) -> str:
    """Return a score with at most two decimals: 18.7, 500, 0.04."""
    if score == NO_EVALUATION:
        return "no evaluation"
    return f"{round(score, 2):g}"


def minutes_text(minutes: float) -> str:
    """Return minutes with at most two decimals, or "not reached"."""
    if minutes == NOT_REACHED:
        return "not reached"
    return f"{round(minutes, 2):g}"


def steps_text(steps: float) -> str:
    """Return agent steps with a comma for thousands, or "not reached"."""
    if steps == NOT_REACHED:
        return "not reached"
    return f"{round(steps):,}"


def _summary_row(topic: ResultTopic, group: ResultGroup) -> Row:
    """Return the summary of one group."""
    row = _group_cells(topic, group)
    row["seeds"] = str(len(group.runs))
    if topic.target is not None:
        reached = sum(run.best >= topic.target for run in group.runs)
        row[f"reached {topic.target:g}"] = f"{reached} of {len(group.runs)}"
        row[f"steps to {topic.target:g}"] = _steps_cell(group, topic.target)
        row[f"minutes to {topic.target:g}"] = _minutes_cell(group, topic.target)
    row["best evaluation"] = median_and_range([run.best for run in group.runs], score_text)
    if group.stopped_at_target:
        row["final score"] = "stopped at the target"
    else:
        row["final score"] = median_and_range([run.final for run in group.runs], score_text)
    minutes = [run.minutes for run in group.runs if run.minutes is not None]
    if len(minutes) == len(group.runs):
        row["minutes, whole run"] = median_and_range(minutes, minutes_text)
    return row


def _seed_row(topic: ResultTopic, group: ResultGroup, run: SeedResult) -> Row:
    """Return the cells of one run without its evaluations."""
    row = _group_cells(topic, group)
    row["seed"] = str(run.seed)
    row["commit"] = run.commit
    if topic.target is not None and not group.last_only:
        row[f"steps to {topic.target:g}"] = steps_text(run.steps_to_target(topic.target))
    if topic.target is not None and run.minutes_to_target is not None:
        row[f"minutes to {topic.target:g}"] = minutes_text(run.minutes_to_target)
    if run.minutes is not None:
        row["minutes, whole run"] = minutes_text(run.minutes)
    row["best"] = score_text(run.best)
    return row


def _group_cells(topic: ResultTopic, group: ResultGroup) -> Row:
    """Return the cells that identify a group."""
    row = {"agent": group.agent}
    if topic.has_several_envs:
        row["environment"] = group.env
    row["machine"] = group.machine
    row["setting"] = group.setting
    return row


def _steps_cell(group: ResultGroup, target: float) -> str:
    """Return median and range of the steps to the target, or "" if the curves do not show them."""
    if group.last_only:
        return ""
    return median_and_range([run.steps_to_target(target) for run in group.runs], steps_text)


def _minutes_cell(group: ResultGroup, target: float) -> str:
    """Return median and range of the minutes to the target, or "" if they were not all recorded."""
    minutes = group.minutes_to_target(target)
    if not minutes:
        return ""
    return median_and_range(minutes, minutes_text)


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return the column titles of all rows in the order of their first appearance."""
    return list(dict.fromkeys(column for row in rows for column in row))


def _thousands(steps: int) -> str:
    """Return the column title of an evaluation: 25,006 agent steps give "25k"."""
    return f"{round(steps / 1000)}k"


def _line(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
