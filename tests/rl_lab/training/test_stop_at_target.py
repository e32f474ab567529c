"""Tests of the target score: messages, and runs that end when they reach it (`stop_at_target`)."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from identical import assert_identical

import rl_lab
from agents.core.settings import ConfigError
from envs.make import resolve
from rl_lab import api, checkpoint, cli
from rl_lab.experiment import config as configuration
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run
from rl_lab.sweep import trial
from rl_lab.sweep.trial_spec import TrialSpec
from rl_lab.tracking.progress import ProgressDisplay
from rl_lab.training.evaluation import Evaluation
from rl_lab.training.hooks import EvaluateAgent
from rl_lab.training.trainer import Interrupted

FEW_STEPS: dict[str, Any] = {
    "steps": 2000,
    "eval_every": 300,
    "learning_starts": 200,
    "eval_episodes": 4,
    "log_every": 150,
}


def with_scores(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let the evaluations have these scores, one after another."""
    remaining = iter(scores)
    monkeypatch.setattr(
        "rl_lab.training.hooks.evaluate", lambda *_, **__: Evaluation([next(remaining)], [5], value=0.0, realised=0.0)
    )


def evaluations(run: Run) -> list[dict[str, Any]]:
    return [line for line in run.metrics() if "eval/return_mean" in line]


def best_target(train: Any) -> float:
    """Return the best score of the evaluations of a run with `FEW_STEPS`."""
    return max(line["eval/return_mean"] for line in evaluations(train(**FEW_STEPS, target=None)))


def saved_steps(run: Run) -> int:
    return checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"]


def test_first_evaluation_at_the_target_is_announced_once_and_stays_in_the_progress_line(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(ProgressDisplay, "is_due", lambda _: True)
    with_scores(monkeypatch, [3.0, 8.0, 9.0])
    run = train(target=8, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    second = evaluations(run)[1]["global_step"]
    solved_lines = [line for line in lines if "solved: target 8 reached" in line]
    assert solved_lines[0].startswith(f"eval at step {second:,} (0.0 min): 8.00")
    assert solved_lines[1] == f"solved: target 8 reached at step {second:,} after 0.0 min"
    assert len(solved_lines) == 2
    progress = [line for line in lines if line.startswith("step ")]
    solved = [f"solved at {second:,}" in line for line in progress]
    assert solved == sorted(solved), "it must not disappear"
    assert 0 < sum(solved) < len(solved)
    assert all(line.index("solved") < 59 for line in progress if "solved" in line)  # 80 columns without the bar


@pytest.mark.parametrize("score", [float("inf"), float("nan"), 7.99])
def test_score_below_the_target_or_not_finite_solves_nothing(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], score: float
):
    with_scores(monkeypatch, [score] * 3)
    run = train(target=8, stop_at_target=True, quiet=False)
    assert "solved" not in capsys.readouterr().out
    assert len(evaluations(run)) == 3


def test_target_that_was_reached_before_a_resume_is_not_announced_again(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with_scores(monkeypatch, [9.0, 3.0, 3.0, 9.0, 9.0])
    run = train(target=8)
    first = evaluations(run)[0]["global_step"]
    rl_lab.resume(run, steps=2000)
    out = capsys.readouterr().out
    assert out.count("solved: ") == 1
    assert f"solved: target 8 reached at step {first:,} after 0.0 min\n" in out


def test_run_stops_at_its_target_and_equals_a_run_with_that_many_steps(train: Any, capsys: pytest.CaptureFixture[str]):
    long_run = train(**FEW_STEPS, target=None)
    scores = [line["eval/return_mean"] for line in evaluations(long_run)]
    target = max(scores)
    end = evaluations(long_run)[scores.index(target)]["global_step"]
    capsys.readouterr()
    stopped = train(**FEW_STEPS, target=target, stop_at_target=True, quiet=False)
    out = capsys.readouterr().out
    assert saved_steps(stopped) == end
    assert is_finished(stopped)
    solved = f"solved: target {target:g} reached at step {end:,} after "
    assert re.search(re.escape(solved) + r"\d+\.\d min, which ended the run \(stop_at_target\)", out)
    assert "next:  python -m rl_lab eval" in out
    assert evaluations(stopped)[-1]["global_step"] == end
    assert_identical(stopped, train(**{**FEW_STEPS, "steps": end}, target=None))


@pytest.mark.parametrize("interrupted", ["first", "last"])
def test_run_that_a_signal_stops_in_an_evaluation_ends_the_same_way(
    train: Any, monkeypatch: pytest.MonkeyPatch, interrupted: str
):
    settings = {**FEW_STEPS, "target": best_target(train), "stop_at_target": True}
    whole = train(**settings)
    assert len(evaluations(whole)) > 1
    number = 1 if interrupted == "first" else len(evaluations(whole))
    count = 0
    evaluate = EvaluateAgent.evaluate

    def evaluate_with_signal(self: EvaluateAgent) -> None:
        nonlocal count
        count += 1
        if count == number:
            signal.raise_signal(signal.SIGTERM)
        evaluate(self)

    monkeypatch.setattr(EvaluateAgent, "evaluate", evaluate_with_signal)
    with pytest.raises(Interrupted) as stop:
        train(**settings)
    run = stop.value.run
    assert not is_finished(run)
    api.resume(run, quiet=True)
    assert is_finished(run)
    assert_identical(whole, run)


def test_resume_of_a_solved_run_says_so_and_more_steps_train_on(train: Any, capsys: pytest.CaptureFixture[str]):
    run = train(**FEW_STEPS, target=0, stop_at_target=True)
    end = saved_steps(run)
    assert end < 400
    assert rl_lab.resume(run) == run
    assert capsys.readouterr().out == f"{run} is finished: its target 0 is reached; --steps N extends it\n"
    with pytest.raises(Interrupted):
        interrupt_first_row(run, steps=1000)
    assert not is_finished(run), "a run that is extended does not stop at its target again"
    rl_lab.resume(run, quiet=True)
    assert saved_steps(run) >= 1000
    assert_identical(run, train(**{**FEW_STEPS, "steps": 1000}, target=0))


def interrupt_first_row(run: Run, **options: Any) -> None:
    """Resume a run, and stop it after its next row by a signal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_lab.training.hooks.LogMetrics.after_row", lambda _: signal.raise_signal(signal.SIGTERM))
        rl_lab.resume(run, quiet=True, **options)


def test_run_that_is_not_solved_keeps_stop_at_target_when_it_is_extended(train: Any):
    run = train(**{**FEW_STEPS, "steps": 250}, target=1000, stop_at_target=True)
    rl_lab.resume(run, steps=500, quiet=True)
    assert run.config.run.stop_at_target
    assert saved_steps(run) >= 500


def test_stop_at_target_needs_a_target(train: Any, tmp_path: Path):
    with pytest.raises(ConfigError, match="^stop_at_target needs a target score: set target, or leave out"):
        train(target=None, stop_at_target=True)
    assert not (tmp_path / "runs").exists()


def test_search_refuses_stop_at_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["sweep", "search", "dqn", "--env", "CartPole-v1", "--stop-at-target"])
    assert capsys.readouterr().err.startswith("rl_lab: stop_at_target is true; a search compares runs with equal")
    assert list(tmp_path.iterdir()) == []


def test_group_of_solved_runs_is_done(tmp_path: Path):
    command = "train dqn --env CartPole-v1 --steps 100000 --eval-every 300 --eval-episodes 2 --learning-starts 200"
    options = "--wandb disabled --target 1 --stop-at-target --seeds 1..2 --group study"
    args = [sys.executable, "-m", "rl_lab", *command.split(), *options.split()]
    for _ in range(2):  # the second time nothing is left to do
        done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
        assert done.returncode == 0, done.stdout + done.stderr
        assert "seed 1 done, evaluation" in done.stdout
        assert "seed 2 done, evaluation" in done.stdout
    assert len(list(tmp_path.glob("runs/*/*/*/config.yaml"))) == 2


def test_solved_trial_of_a_grid_is_reported_once_as_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reports: list[Any] = []
    monkeypatch.setattr(trial.tune, "get_context", lambda: SimpleNamespace(get_trial_id=lambda: "ab12"))
    monkeypatch.setattr(trial.tune, "report", reports.append)
    env_spec = resolve("CartPole-v1")
    settings = {**FEW_STEPS, "target": 0, "stop_at_target": True, "wandb": "disabled", "runs_dir": str(tmp_path)}
    spec = TrialSpec(configuration.resolve("dqn", env_spec, settings), env_spec, tmp_path / "run")
    trial.train_trial({"trial": spec.to_dict()})
    assert [report["steps"] for report in reports] == [saved_steps(Run(spec.path))]
    trial.train_trial({"trial": spec.to_dict()})
    assert len(reports) == 2, "a finished trial is only reported"
