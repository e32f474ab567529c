"""The pages in docs/benchmarks/, BENCHMARKS.md and the README agree with the data files in results/."""

import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from result_data import read_topic
from result_pages import update_page
from result_tables import race_table
from third_party import result_table

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/benchmarks").glob("*.md"))
TOPICS = sorted(path for path in (ROOT / "results").glob("*.json") if not path.stem.startswith("race-"))
RACES = sorted((ROOT / "results").glob("race-*.json"))
PROCESSORS = {"A": "EPYC", "B": "Xeon", "C": "EPYC"}  # third-party results and races name the processor
LEARNING_COLUMNS = ["environment", "target", "agent", "machine", "seeds at target", "agent steps to target"]
"""The first columns of a table that summarises runs. Minutes and the final score may follow."""


def short_names(path: Path) -> str:
    """Return a path below the root, as the name of a test case."""
    return str(path.relative_to(ROOT))


def learning_rows(page: Path) -> list[dict[str, str]]:
    """Return the rows of all tables of a page that begin with LEARNING_COLUMNS, as cells by column."""
    rows: list[dict[str, str]] = []
    columns: list[str] = []
    for line in page.read_text().splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if cells[: len(LEARNING_COLUMNS)] == LEARNING_COLUMNS:
            columns = cells
        elif columns and not set(cells[0]) <= set("-:"):
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def measured_groups() -> list[dict[str, Any]]:
    """Return the groups of all data files, each with its environment."""
    groups = []
    for path in [*TOPICS, *RACES, *sorted((ROOT / "results/third_party").glob("*.json"))]:
        topic = json.loads(path.read_text())
        groups += [{"env": topic.get("env"), **group} for group in topic["groups"]]
    return groups


def is_on_machine(group: dict[str, Any], machine: str) -> bool:
    """Return True if a group has all parts of a machine cell such as "B, bfloat16, 1 thread"."""
    letter, *settings = machine.split(", ")
    same_machine = group["machine"] == letter or PROCESSORS.get(letter, "no machine") in group["machine"]
    return same_machine and set(settings) <= set(group["setting"].split(", "))


def spread(values: list[float], text: Callable[[float], str]) -> str:
    """Return "median (lowest to highest)", or one value if all are equal. Infinity is "not reached"."""
    low, middle, high = (
        "not reached" if math.isinf(value) else text(value)
        for value in (min(values), statistics.median(values), max(values))
    )
    return low if low == high else f"{middle} ({low} to {high})"


def two_decimals(value: float) -> str:
    """Return a number with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def best_score(run: dict[str, Any]) -> float:
    """Return the score of the best evaluation of a run."""
    return run.get("best", max(score for _, score in run["curve"]))


def steps_cell(group: dict[str, Any], target: float) -> str:
    """Return the agent steps to the target, or what is known of them if only the last evaluation was kept."""
    reached = [best_score(run) >= target for run in group["runs"]]
    if not any(reached):
        return "not reached"
    if group.get("last_only"):
        return f"within {group['runs'][0]['curve'][-1][0]:,}" if all(reached) else "not recorded"
    steps = [min([step for step, score in run["curve"] if score >= target], default=math.inf) for run in group["runs"]]
    return spread(steps, lambda value: f"{round(value):,}")


def minutes_cells(group: dict[str, Any], target: float) -> dict[str, str]:
    """Return the cells of the columns "minutes to target", "minutes, whole run", and "minutes"."""
    runs = group["runs"]
    to_target = [run.get("minutes_to_target", math.inf if best_score(run) < target else None) for run in runs]
    whole = [run.get("minutes") for run in runs]
    whole_cell = "" if None in whole else spread(whole, two_decimals)
    target_cell = "" if None in to_target else spread(to_target, two_decimals)
    timed = any("minutes_to_target" in run for run in runs)
    return {
        "minutes to target": target_cell,
        "minutes, whole run": whole_cell,
        "minutes": target_cell if timed else whole_cell,
    }


def cells_of(group: dict[str, Any], target: float) -> dict[str, str]:
    """Return the measured cells of a summary table by column."""
    runs = group["runs"]
    reached = sum(best_score(run) >= target for run in runs)
    return {
        "seeds at target": f"{reached} of {len(runs)}",
        "agent steps to target": steps_cell(group, target),
        "final score": spread([run.get("final", run["curve"][-1][1]) for run in runs], two_decimals),
        **minutes_cells(group, target),
    }


def is_measured(row: dict[str, str], groups: list[dict[str, Any]]) -> bool:
    """Return True if one group of the data gives every cell of a row."""
    for group in groups:
        if (group["env"], group["agent"]) != (row["environment"], row["agent"]):
            continue
        if not is_on_machine(group, row["machine"]):
            continue
        expected = cells_of(group, float(row["target"]))
        if all(row[column] == expected[column] for column in row.keys() & expected.keys()):
            return True
    return False


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "BENCHMARKS.md", *(page for page in PAGES if learning_rows(page))],
    ids=short_names,
)
def test_rows_of_learning_tables_are_those_of_the_data(page):
    rows = learning_rows(page)
    assert rows
    groups = measured_groups()
    assert [row for row in rows if not is_measured(row, groups)] == []


def test_speeds_of_the_readme_are_those_of_the_page_on_speed():
    readme = (ROOT / "README.md").read_text()
    (table,) = re.findall(
        r"^\| agent \| machine \| rl_lab in float32 .*\n\|[-|]+\|\n((?:\|.*\n)+)", readme, re.MULTILINE
    )
    speeds = (ROOT / "docs/benchmarks/speed.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert 0 < len(rows) <= 4
    for agent, machine, *ratios in rows:
        found = [line for line in speeds if line.startswith(f"| {agent} | {machine[0]}") and " | ".join(ratios) in line]
        assert len(found) == 1, (agent, machine, ratios)


def test_every_topic_has_its_tables_on_one_page():
    blocks = [
        name for page in PAGES for name in re.findall(r"<!-- tables of results/([\w-]+)\.json -->", page.read_text())
    ]
    assert sorted(blocks) == [path.stem for path in TOPICS]


@pytest.mark.parametrize("page", PAGES, ids=short_names)
def test_tables_of_a_page_are_those_of_the_data(page, tmp_path):
    copy = tmp_path / page.name
    copy.write_text(page.read_text())
    assert not update_page(copy, ROOT / "results"), "python scripts/plot_results.py pages updates the page"


def test_scores_without_tuning_are_those_of_the_data():
    assert result_table(ROOT / "results/third_party") in (ROOT / "docs/benchmarks/untuned.md").read_text()


@pytest.mark.parametrize("path", RACES, ids=lambda path: path.stem)
def test_pages_show_the_table_of_each_race_that_they_have_a_picture_of(path):
    for page in [ROOT / "BENCHMARKS.md", *PAGES]:
        text = page.read_text()
        if f"{path.stem}.png" in text:  # no page has a picture of a race that goes on
            assert race_table(read_topic(path)) in text


def test_update_replaces_the_tables_between_the_marks_only(tmp_path):
    group = {"agent": "dqn", "machine": "A", "setting": "1 thread", "stopped_at_target": False, "command": "train"}
    runs = [{"seed": 1, "commit": "abc", "curve": [[1000, 3.5]]}]
    (tmp_path / "tiny.json").write_text(
        json.dumps({"title": "Tiny", "env": "Pong", "groups": [{**group, "note": "Alone.", "runs": runs}]})
    )
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- tables of results/tiny.json -->\nold\n<!-- end of the tables -->\nafter\n")
    assert update_page(page, tmp_path)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert "| dqn | A | 1 thread | 1 | 3.5 | 3.5 |" in lines
    assert "| dqn | A | 1 thread | `train` | Alone. |" in lines
    assert "| dqn | A | 1 thread | 1 | abc | 3.5 | 3.5 |" in lines
    assert not update_page(page, tmp_path)


def test_update_raises_if_a_block_names_no_data_file(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- tables of results/missing.json -->\n<!-- end of the tables -->\n")
    with pytest.raises(FileNotFoundError):
        update_page(page, tmp_path)
