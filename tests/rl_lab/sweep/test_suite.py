"""Suites as sweeps: their trials, their result files, and a suite that is killed."""

import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_cluster import Command

import rl_lab
from rl_lab import api, checkpoint, cli
from rl_lab.cli import sweep_resume
from rl_lab.errors import Fault
from rl_lab.experiment.run import Run
from rl_lab.suite.result_file import read_result, result_path
from rl_lab.suite.suite import read_suite
from rl_lab.sweep import trial
from rl_lab.sweep.suite import suite_cells, suite_trials
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial import train_trial

SUITE = """\
title: Toy
envs: [CartPole-v1, WindyGridworld-v0]
agents:
  tiny: {agent: dqn, settings: {hidden: 16, learning_starts: 100, lr: 1e-2}}
  table: {agent: tabular_q_learning, settings: {num_envs: 2}}
steps: 900
seeds: 1..2
settings: {eval_every: 300, eval_episodes: 2, checkpoint_every: 300, device: cpu, precision: float32}
evaluation: {when: end, games: 4, epsilon: 0.1, cut: 150}
"""


@pytest.fixture
def suite_file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(SUITE)
    return path


def make_trials(path: Path, agent: str, env: str, seeds: list[int], results: Path) -> list[dict[str, Any]]:
    """Return the trials of one agent on one environment, in the run folders of a sweep of their own."""
    suite = read_suite(str(path))
    runs_dir = str(results.parent / f"runs-{results.name}")
    machine = {"wandb": "disabled", "runs_dir": runs_dir}
    cells = suite_cells(suite, suite.choose_agents(agent), [env], machine)
    sweep = Sweep("grid", "20261130-000000", "group", runs_dir, 1.0, 0.0, 0, {})
    return suite_trials(sweep, suite, cells, seeds, results)


@pytest.fixture
def run_trial(monkeypatch):
    """Return a function that runs a trial as Tune does. Its attribute `reports` counts the results."""
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(trial.tune, "get_context", lambda: SimpleNamespace(get_trial_id=lambda: "ab12"))
    monkeypatch.setattr(trial.tune, "report", reports.append)

    def run(values: dict[str, Any]) -> Run:
        # A trial comes from sweep.json.
        train_trial({"trial": json.loads(json.dumps(values))})
        return Run(Path(values["path"]))

    return SimpleNamespace(run=run, reports=reports)


def without_minutes(path: Path) -> dict[str, Any]:
    """Return the content of a result file without the entry that depends on the speed of the machine."""
    content = json.loads(path.read_text())
    assert content.pop("minutes") >= 0
    return content


def test_a_trial_writes_the_evaluation_of_its_last_network(suite_file, run_trial, tmp_path):
    (values,) = make_trials(suite_file, "tiny", "CartPole-v1", [2], tmp_path / "results")
    run = run_trial.run(values)
    result = read_result(tmp_path / "results/toy/tiny/CartPole-v1/2.json")
    assert (result.agent, result.env, result.seed, result.steps) == ("tiny", "CartPole-v1", 2, 900)
    options: dict[str, Any] = {"episodes": 4, "epsilon": 0.1, "max_steps": 150, "seed": 2}
    expected = rl_lab.evaluate(run, which="last", **options)
    assert result.final.returns == expected.returns
    assert (result.final.mean, result.final.std) == (expected.mean, expected.std)
    options["seed"] = 3
    assert result.final.returns != rl_lab.evaluate(run, which="last", **options).returns
    evaluations = [line for line in run.metrics() if "eval/return_mean" in line]
    assert result.curve == [[line["global_step"], line["eval/return_mean"]] for line in evaluations]
    assert [round(step, -2) for step, _ in result.curve] == [300, 600, 900]
    assert result.settings["lr"] == 0.01
    assert result.settings["torch_threads"] == 1
    assert not {"runs_dir", "group", "wandb", "seed", "steps"} & result.settings.keys()
    assert run_trial.reports[-1]["steps"] >= 900


def test_the_best_network_is_never_evaluated(suite_file, run_trial, tmp_path):
    """The best network of the run is replaced by that of another seed, which has other scores."""
    first, second = make_trials(suite_file, "tiny", "CartPole-v1", [1, 2], tmp_path / "results")
    run = run_trial.run(first)
    other = run_trial.run(second)
    path = tmp_path / "results/toy/tiny/CartPole-v1/1.json"
    before = without_minutes(path)
    path.unlink()
    shutil.rmtree(run.path / "checkpoints/best")
    shutil.copytree(other.path / "checkpoints/best", run.path / "checkpoints/best")
    run_trial.run(first)
    assert without_minutes(path) == before
    best = rl_lab.evaluate(run, which="best", episodes=4, epsilon=0.1, max_steps=150, seed=1)
    assert best.returns != before["final"]["returns"]


@pytest.mark.parametrize(
    ("moment", "agent", "env"), [("training", "tiny", "CartPole-v1"), ("evaluation", "table", "WindyGridworld-v0")]
)
def test_an_interrupted_trial_gives_the_same_file(suite_file, run_trial, tmp_path, monkeypatch, moment, agent, env):
    (whole,) = make_trials(suite_file, agent, env, [1], tmp_path / "whole")
    run_trial.run(whole)
    (values,) = make_trials(suite_file, agent, env, [1], tmp_path / "cut")
    with monkeypatch.context() as patch:
        if moment == "evaluation":
            patch.setattr(api, "evaluate_agent", _killed)
        else:
            patch.setattr(trial.TuneReporter, "log", _killed_at(600))
        with pytest.raises((ConnectionError, Fault)):
            run_trial.run(values)
    path = result_path(tmp_path / "cut", "toy", agent, env, 1)
    assert not path.exists()
    run_trial.run(values)
    assert without_minutes(path) == without_minutes(result_path(tmp_path / "whole", "toy", agent, env, 1))


def _killed(*args: Any, **kwargs: Any) -> Any:
    raise ConnectionError("killed")


def _killed_at(step: int):
    """Return a `TuneReporter.log` that fails from an agent step on."""

    def log(self: Any, global_step: int, values: dict[str, Any]) -> None:
        if global_step >= step:
            raise ConnectionError("killed")

    return log


def test_runs_with_a_result_file_are_not_trained_again(suite_file, run_trial, tmp_path):
    results = tmp_path / "results"
    first, second = make_trials(suite_file, "table", "WindyGridworld-v0", [1, 2], results)
    run_trial.run(first)
    path = result_path(results, "toy", "table", "WindyGridworld-v0", 1)
    before = path.read_bytes() + b"\n"
    path.write_bytes(before)
    assert make_trials(suite_file, "table", "WindyGridworld-v0", [1, 2], results) == [second]
    run_trial.run(first)
    assert path.read_bytes() == before, "a resumed trial has repeated its evaluation"


def test_the_command_makes_one_sweep_of_the_chosen_runs(suite_file, monkeypatch, capsys):
    sweeps: list[Sweep] = []
    monkeypatch.setattr(sweep_resume, "run_sweep", lambda sweep, address: sweeps.append(sweep))
    command = ["sweep", "suite", "toy.yaml", "--wandb", "disabled", "--agents", "table", "--seeds", "3..4"]
    cli.main([*command, "--envs", "WindyGridworld-v0"])
    (sweep,) = sweeps
    assert Sweep.read(str(sweep.path)).kind == "grid"
    assert sweep.group.startswith("toy-")
    configs = [values["config"] for values in sweep.request["trials"]]
    assert [(each["agent"], each["env"], each["seed"]) for each in configs] == [
        ("tabular_q_learning", "WindyGridworld-v0", seed) for seed in (3, 4)
    ]
    assert "results toy.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "which suite?"),
        (["tabula"], "unknown suite 'tabula'; nearest: tabular"),
        (["toy.yaml", "--agents", "tiy"], "the suite toy has no 'tiy'; nearest: tiny"),
        (["toy.yaml", "--envs", "Pong"], "the suite toy has no 'Pong'"),
        (["toy.yaml", "--seeds", "1.5"], "seeds is '1.5'"),
        (["toy.yaml", "--steps", "100"], "--steps"),
        (["missing.yaml"], "missing.yaml"),
    ],
)
def test_wrong_options_are_one_line(suite_file, capsys, args, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", "suite", *args])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_suite_that_is_killed_and_resumed_gives_the_same_files(cluster, suite_file, tmp_path):
    """SIGKILL for the driver, later for the process of a trial."""
    chosen = ["--agents", "tiny", "--envs", "CartPole-v1"]
    command = ["sweep", "suite", "toy.yaml", "--wandb", "disabled", *chosen, "--group", "g"]
    text = SUITE.replace("steps: 900", "steps: 4500").replace("checkpoint_every: 300", "checkpoint_every: 500")
    suite_file.write_text(text)

    def saved_run(step: int) -> Path | None:
        for path in (tmp_path / "runs").glob("CartPole-v1/*/*"):
            generations = checkpoint.generations(path)
            if generations and checkpoint.step_of(generations[0]) >= step:
                return path
        return None

    driver = Command(tmp_path, *command)
    driver.wait_for(lambda: saved_run(500))
    driver.kill()
    driver = Command(tmp_path, "sweep", "resume", "runs/sweeps/g")
    path = driver.wait_for(lambda: saved_run(2000))
    os.kill(int((path / "lock").read_text()), signal.SIGKILL)
    code, output = driver.finish()
    assert code == 0, output

    code, output = Command(tmp_path, *command[:-1], "h", "--results-dir", "whole").finish()
    assert code == 0, output
    files = sorted(Path("whole").rglob("*.json"))
    assert len(files) == 2
    for file in files:
        assert without_minutes(Path("results", *file.parts[1:])) == without_minutes(file)
