"""Sweeps on a cluster of two nodes. Killed trials must resume and give the result of an uninterrupted run."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from identical import assert_identical
from sweep_cluster import Command

import rl_lab
from rl_lab import checkpoint, cli
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run

SETTINGS: dict[str, Any] = {
    "steps": 4500,
    "eval_every": 1500,
    "eval_episodes": 2,
    "checkpoint_every": 500,
    "learning_starts": 300,
}
FLAGS = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
GRID = ["sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1", "--seeds", "1..2", "--wandb", "disabled", *FLAGS]


def find_saved_run(folder: Path, seed: int, step: int) -> Run | None:
    """Return the run of a seed if it has a checkpoint of at least this step, else None."""
    for path in (folder / "runs").glob(f"CartPole-v1/dqn/*-s{seed}"):
        generations = checkpoint.generations(path)
        if generations and checkpoint.step_of(generations[0]) >= step:
            return Run(path)
    return None


def finished_run(folder: Path, seed: int) -> Run:
    """Return the run of a seed after its last step."""
    run = find_saved_run(folder, seed, SETTINGS["steps"])
    assert run is not None
    return run


def test_killed_driver_trial_and_node_resume_to_the_same_result(cluster, tmp_path, capsys):
    """SIGKILL for the driver, then for the process of a trial, then for a node, in one grid."""
    driver = Command(tmp_path, *GRID)
    driver.wait_for(lambda: find_saved_run(tmp_path, 1, 500) or find_saved_run(tmp_path, 2, 500))
    driver.kill()

    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    driver = Command(tmp_path, "sweep", "resume", str(sweep))
    run = driver.wait_for(lambda: find_saved_run(tmp_path, 1, 1500))
    os.kill(int((run.path / "lock").read_text()), signal.SIGKILL)
    driver.wait_for(lambda: find_saved_run(tmp_path, 2, 2500))
    cluster.do("kill")
    code, output = driver.finish()
    cluster.do("add")
    assert code == 0, output
    assert "time(s)" in output, "no trial was killed"

    for seed in (1, 2):
        uninterrupted = rl_lab.train(
            "dqn",
            env="CartPole-v1",
            seed=seed,
            quiet=True,
            wandb="disabled",
            runs_dir=str(tmp_path / "uninterrupted"),
            **SETTINGS,
        )
        assert_identical(finished_run(tmp_path, seed), uninterrupted)

    cli.main(["sweep", "status", str(sweep)])
    assert capsys.readouterr().out.count("done") == 2
    files = [finished_run(tmp_path, seed).path / "metrics.jsonl" for seed in (1, 2)]
    times_before = [file.stat().st_mtime_ns for file in files]
    code, output = Command(tmp_path, "sweep", "resume", str(sweep)).finish()
    assert code == 0, output
    assert times_before == [file.stat().st_mtime_ns for file in files], "a finished run was trained again"


def test_search_continues_after_a_failed_trial(cluster, tmp_path):
    """One of the two learning rates makes the weights infinite, so its trials fail."""
    (tmp_path / "space.yaml").write_text("lr: [1e-3, 1e+30]\nn_step: [20, 21]\n")
    options = "--trials 3 --scheduler none --retries 0 --check-seeds 1 --finalists 2 --final-seeds 2 --search-seed 1"
    settings = "--steps 600 --learning-starts 100 --eval-every 300 --eval-episodes 1 --wandb disabled"
    command = f"sweep search dqn --env CartPole-v1 {options} --space space.yaml {settings}"
    code, output = Command(tmp_path, *command.split()).finish()
    assert "the weights are" in output
    assert "Traceback" not in output
    assert code == 0, output
    assert "the agent's own settings are the best" in output or "next:  python -m rl_lab compare search-" in output
    sweep = min((tmp_path / "runs" / "sweeps").iterdir(), key=lambda path: len(path.name))
    assert json.loads((sweep / "sweep.json").read_text())["kind"] == "search"
    finals = [Run(path).config.run for path in (tmp_path / "runs").glob("CartPole-v1/dqn/*-finals-*")]
    assert sorted(run.seed for run in finals) == 2 * [2_000_000] + 2 * [2_000_001]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("grid --agents dqn --envs CartPole-v1 --seeds 3..1", "seeds is '3..1'"),
        ("grid --agents dqn,dqn --envs CartPole-v1", "agents is 'dqn,dqn'"),
        ("grid --agents dqn", "envs is ''"),
        ("grid --agents dqm --envs CartPole-v1", "unknown agent 'dqm'"),
        ("grid --agents dqn --envs CartPole-v1 --lr -1", "lr is -1.0"),
        ("grid --agents dqn --envs CartPole-v1 --env Pong", "env is 'Pong'; a sweep has many runs, so use envs"),
        ("search dqn --env CartPole-v1 --seed 7", "seed is '7'; a sweep has many runs, so use search_seed"),
        ("search dqn --env CartPole-v1 --group study/lr", "group is 'study/lr'"),
        ("grid --agents dqn --envs CartPole-v1 --cpu-per-run 0", "cpu_per_run is 0.0"),
        ("search dqn --env CartPole-v1 --eval-every 0", "eval_every is 0"),
        (
            "search dqn --env CartPole-v1 --steps 2000",
            "eval_every is 5000; for a search it must be at most steps, 2000",
        ),
        ("grid --agents dqn --envs CartPole-v1 --collectors 2", "collectors is 2; it must be 0"),
        ("search dqn --env CartPole-v1 --check-seeds 1000000", "check_seeds is '1000000'"),
        ("search dqn --env CartPole-v1 --space nothing.yaml", "nothing.yaml cannot be read"),
        ("resume nowhere", "nowhere is no sweep"),
        ("status nowhere", "nowhere is no sweep"),
        ("all", "sweep all"),
    ],
)
def test_invalid_arguments_are_rejected_before_any_file_is_written(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", *args.split()])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_too_large_resources_are_rejected_and_leave_no_sweep_folder(cluster, tmp_path):
    code, output = Command(tmp_path, *GRID, "--cpu-per-run", "2").finish()
    assert code == 2, output
    assert "a run takes 2 cores and 0 GPUs (cpu_per_run, gpu_per_run); no node has them" in output
    assert "1 and 0" in output
    assert not list(tmp_path.glob("runs/sweeps/*"))


def test_require_ray_names_the_packages_to_install(monkeypatch):
    from rl_lab.distributed import ray_cluster

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LabError, match=r'packages ray and optuna; install with: pip install "rl-lab\[ray\]"'):
        ray_cluster.require_ray()
