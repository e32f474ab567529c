"""Tests of scripts/plot_results.py: its tables and its pictures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from plot_results import median_band
from result_data import read_topic
from result_tables import summary_table

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/plot_results.py"


def tiny_topic() -> dict[str, Any]:
    """Return a topic with one group of three seeds, of which the third does not reach the target of 10."""
    runs = [
        {"seed": 1, "commit": "abc", "minutes_to_target": 4.0, "curve": [[1000, -5], [2003, 12.5]]},
        {"seed": 2, "commit": "abc", "minutes_to_target": 2.0, "curve": [[1001, 11.0]]},
        {"seed": 3, "commit": "abc", "curve": [[1000, 0], [2000, 3], [3000, 9]]},
    ]
    group = {
        "agent": "dqn",
        "machine": "A",
        "setting": "1 thread",
        "stopped_at_target": True,
        "command": "train",
        "note": "",
        "runs": runs,
    }
    return {"title": "Tiny", "env": "Pong", "target": 10, "picture": "tiny.png", "groups": [group]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write the tiny topic into a folder of data files and return the folder."""
    (tmp_path / "tiny.json").write_text(json.dumps(tiny_topic()))
    return tmp_path


def run_script(*arguments: str | Path) -> str:
    """Run the script and return what it prints."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def is_picture(path: Path) -> bool:
    """Return True if the file is an image with more than one colour."""
    image = cv2.imread(str(path))
    return image is not None and bool(image.std() > 0)


def test_tables_hold_median_and_range_over_seeds(data):
    # Steps to 10: 2003, 1001 and never, so the median is 2003. Minutes: 4, 2 and never; median 4.
    # Best scores: 12.5, 11 and 9; median 11.
    cells = ["dqn", "A", "1 thread", "3", "2 of 3", "2,003 (1,001 to not reached)", "4 (2 to not reached)"]
    cells += ["11 (9 to 12.5)", "stopped at the target"]
    assert "| " + " | ".join(cells) + " |" in run_script("tables", "--data", data).splitlines()


def test_tables_list_every_evaluation_of_a_seed(data):
    lines = run_script("tables", "--data", data).splitlines()
    assert "| agent | machine | setting | seed | commit | steps to 10 | minutes to 10 | best | 1k | 2k | 3k |" in lines
    assert "| dqn | A | 1 thread | 3 | abc | not reached |  | 9 | 0 | 3 | 9 |" in lines


def test_minutes_are_left_out_if_one_was_not_recorded(data):
    topic = tiny_topic()
    del topic["groups"][0]["runs"][0]["minutes_to_target"]
    (data / "tiny.json").write_text(json.dumps(topic))
    assert "minutes" not in summary_table(read_topic(data / "tiny.json"))


def test_band_repeats_the_last_score_of_a_run_stopped_at_the_target(data):
    # Seeds at 1,000 steps: -5, 11, 0. At 2,000: 12.5, 11 (repeated), 3. At 3,000: 12.5 and 11 (both repeated), 9.
    (group,) = read_topic(data / "tiny.json").groups
    assert median_band(group) == [(1000, 0, -5, 11), (2000, 11, 3, 12.5), (3000, 11, 9, 12.5)]


def test_band_ends_with_the_shortest_run_if_runs_were_not_stopped_at_the_target(data):
    topic = tiny_topic()
    topic["groups"][0]["stopped_at_target"] = False
    (data / "tiny.json").write_text(json.dumps(topic))
    (group,) = read_topic(data / "tiny.json").groups
    assert median_band(group) == [(1000, 0, -5, 11)]


def test_pictures_writes_a_png_of_the_curves(data):
    run_script("pictures", "--data", data, "--out", data)
    assert is_picture(data / "tiny.png")


def test_pictures_writes_a_png_of_the_minutes_to_18_on_pong(data):
    topic = tiny_topic()
    topic["target"] = 18
    topic["groups"][0]["runs"][0]["curve"].append([3000, 18.5])
    topic["groups"][0]["runs"][1]["curve"].append([2000, 20])
    (data / "tiny.json").write_text(json.dumps(topic))
    run_script("pictures", "--data", data, "--out", data)
    assert is_picture(data / "minutes-to-18.png")


def test_minutes_picture_is_not_drawn_if_no_seed_reached_the_target(data):
    topic = tiny_topic()
    topic["target"] = 18
    for run in topic["groups"][0]["runs"]:
        run.pop("minutes_to_target", None)
    (data / "tiny.json").write_text(json.dumps(topic))
    run_script("pictures", "--data", data, "--out", data)
    assert not (data / "minutes-to-18.png").exists()


def test_minutes_picture_leaves_out_races(data):
    topic: dict[str, Any] = {**tiny_topic(), "target": 18, "minutes_limit": 60}
    for run in topic["groups"][0]["runs"]:
        run["curve"].append([4000, 20])
        run["minutes_to_target"] = 5.0
    (data / "tiny.json").write_text(json.dumps(topic))
    run_script("pictures", "--data", data, "--out", data)
    assert not (data / "minutes-to-18.png").exists()
