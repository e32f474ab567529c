"""TensorBoard's event files hold the lines of metrics.jsonl, read by TensorBoard itself."""

import sys
from typing import Any

import numpy as np
import pytest

import rl_lab
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run

Point = tuple[str, int, float]  # name, agent step, value


def read_events(run: Run) -> list[Point]:
    """Return the values in the event files, sorted."""
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    names = events.Tags()["scalars"]
    return sorted((name, event.step, event.value) for name in names for event in events.Scalars(name))


def numbers(run: Run) -> list[Point]:
    """Return the numbers in metrics.jsonl, sorted and rounded to float32."""
    points = []
    for line in run.metrics():
        step = line.pop("global_step")
        points += [(name, step, float(np.float32(value))) for name, value in line.items() if name != "video"]
    return sorted(points)


def test_events_equal_the_lines_of_an_extended_run(train: Any):
    pytest.importorskip("tensorboard")
    run = train(steps=800, tensorboard=True)
    assert read_events(run) == numbers(run)
    rl_lab.resume(run, steps=1600, quiet=True)
    expected = numbers(run)
    assert max(step for _, step, _ in expected) >= 1600
    assert read_events(run) == expected


def test_lines_after_the_checkpoint_are_replaced(train: Any):
    """A crash leaves lines after the last checkpoint; the resumed run logs these steps again, with other values."""
    pytest.importorskip("tensorboard")
    from rl_lab.tracking.tracker import open_tracker

    run = train(steps=600, tensorboard=True)
    tracker = open_tracker(run, "disabled", 600, tensorboard=True)
    tracker.log(650, {"x": 1.0})
    tracker.close()
    tracker = open_tracker(run, "disabled", 620, tensorboard=True)
    tracker.log(660, {"x": 2.0})
    tracker.close()
    events = read_events(run)
    assert [point for point in events if point[0] == "x"] == [("x", 660, 2.0)]
    assert events == numbers(run)


def test_all_lines_are_replaced_if_the_checkpoint_is_before_the_first_line(train: Any):
    pytest.importorskip("tensorboard")
    from rl_lab.tracking.tracker import open_tracker

    run = train(steps=300)
    for step, value in ((0, 1.0), (50, 2.0)):  # a new run, then one that resumes at a checkpoint of step 50
        tracker = open_tracker(run, "disabled", step, tensorboard=True)
        tracker.log(100, {"x": value})
        tracker.close()
    assert read_events(run) == numbers(run) == [("x", 100, 2.0)]


def test_a_run_without_event_files_gets_all_lines(train: Any):
    pytest.importorskip("tensorboard")
    from rl_lab.tracking.tracker import open_tracker

    run = train(steps=600)
    open_tracker(run, "disabled", 10_000, tensorboard=True).close()
    assert read_events(run) == numbers(run)


def test_a_missing_package_is_named_before_the_run_exists(train: Any, tmp_path: Any, monkeypatch: Any):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(LabError, match=r"--tensorboard needs the package tensorboard.*rl-lab\[tensorboard\]"):
        train(steps=600, tensorboard=True)
    assert not list(tmp_path.rglob("config.yaml"))
