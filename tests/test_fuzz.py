"""Tests of tests/fuzz.py: that it sees each kind of failure, and that random trials find none."""

import importlib
import random
import sys
import time
from pathlib import Path

import fuzz
import pytest
from fuzz import Result, Trial, judge

DONE = Result(0, "done\n", "", 1.0)
REFUSED = Result(2, "", "rl_lab: steps is 0; it must be at least 1\n", 1.0)
FAULT = Result(1, "train dqn\n", "WARNING: slow\nrl_lab: the disk is full; go on with resume\n", 1.0)


@pytest.mark.parametrize("result", [DONE, REFUSED, FAULT])
def test_documented_ends_are_no_failures(result):
    assert judge(Trial("flags", []), result) is None


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (DONE._replace(exit_code=None), "hang"),
        (DONE._replace(exit_code=-11), "traceback"),
        (DONE._replace(exit_code=3), "traceback"),
        (FAULT._replace(stderr="Traceback (most recent call last):\nKeyError: 1\n"), "traceback"),
        (FAULT._replace(stderr="killed\n"), "traceback"),
        (REFUSED._replace(stderr="rl_lab: a\nrl_lab: b\n"), "traceback"),
        (REFUSED._replace(stderr=""), "traceback"),
    ],
)
def test_other_ends_are_failures(result, reason):
    failure = judge(Trial("flags", []), result)
    assert failure is not None
    assert failure.reason == reason


STOPPED = Result(130, "run folder runs/x\n", "rl_lab: stopped\n", 1.0)


def test_environment_may_stop_the_command_by_a_keyboard_interrupt():
    stops = Trial("environments", [], source="    raise KeyboardInterrupt\n")
    assert judge(stops, STOPPED) is None
    assert judge(stops, STOPPED._replace(stderr="")) is not None
    assert judge(Trial("environments", [], source="pass"), STOPPED) is not None


def test_warnings_of_python_about_the_environment_are_no_lines_of_the_error():
    source = "import numpy as np\n\nx = np.float32(1e300)\n"
    trial = Trial("environments", [], source=source)
    warning = "/tmp/x/env.py:3: RuntimeWarning: overflow\n  x = np.float32(1e300)\n"
    assert judge(trial, REFUSED._replace(stderr=warning + REFUSED.stderr)) is None
    for extra in ("  x = np.float32(1e300)\n", "/tmp/x/env.py:3: RuntimeWarning: overflow\n  y = 3\n", "a warning\n"):
        assert judge(trial, REFUSED._replace(stderr=extra + REFUSED.stderr)) is not None
    assert judge(trial, REFUSED._replace(stderr=warning)) is not None


@pytest.mark.parametrize("name", ["space", "actions", "info", "obs"])
def test_parts_of_random_environments_are_valid_source(name):
    """A trial fails for its own reason, and not for a mistake in a part."""
    for part in fuzz.ENV_PARTS[name]:
        compile(part, part, "eval")


def test_loss_is_a_failure():
    failure = judge(Trial("flags", [], check=lambda result: "a run is gone"), DONE)
    assert failure is not None
    assert (failure.reason, failure.detail) == ("loss", "a run is gone")


def test_changed_and_lost_files_of_a_whole_run_are_found(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("steps: 1")
    before = fuzz.contents([run])
    assert fuzz.changed(before, fuzz.contents([run]), DONE, "eval") is None
    (run / "config.yaml").write_text("steps: 2")
    assert "config.yaml" in str(fuzz.changed(before, fuzz.contents([run]), DONE, "eval"))
    assert "config.yaml" in str(fuzz.changed(before, {}, DONE, "eval"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [("raise ValueError('a bug')", "traceback"), ("time.sleep(60)", "hang"), ("sys.exit(2)", "traceback")],
)
def test_bug_in_a_command_is_seen_through_a_real_process(source, reason, tmp_path, monkeypatch):
    """`main` is replaced by code with a planted bug."""

    def buggy_main(args: list[str]) -> None:
        exec(source, {"sys": sys, "time": time})

    monkeypatch.setattr(importlib.import_module("rl_lab.cli.main"), "main", buggy_main)
    failure = judge(Trial("flags", []), fuzz.run_command([], tmp_path, timeout=3))
    assert failure is not None
    assert failure.reason == reason


def test_same_number_gives_the_same_trial(tmp_path: Path):
    first, second = (fuzz.environments_trial(random.Random("1/7"), tmp_path, []) for _ in range(2))
    assert (first.args, first.description) == (second.args, second.description)


@pytest.mark.slow
def test_random_trials_find_no_tracebacks_hangs_or_losses():
    fuzzer = fuzz.fuzz(minutes=5, seed=1, kinds=list(fuzz.TRIALS))
    assert sum(fuzzer.counts.values()) > 50
    assert fuzzer.failures == []
