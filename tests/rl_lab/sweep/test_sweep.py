"""Sweeps on a cluster of two nodes: what is killed goes on, and comes to what it would have come to undisturbed."""

import json
import os
import signal

import pytest
from identical import assert_identical
from sweep_cluster import Command

import rl_lab
from rl_lab import checkpoint, cli
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run

SETTINGS = {"steps": 4500, "eval_every": 1500, "eval_episodes": 2, "checkpoint_every": 500, "learning_starts": 300}
FLAGS = [word for key, value in SETTINGS.items() for word in (f"--{key.replace('_', '-')}", str(value))]
GRID = ["sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1", "--seeds", "1..2", "--wandb", "disabled", *FLAGS]


def saved(folder, seed, step):
    """The run of a seed once it has a checkpoint of at least this step."""
    for run in map(Run, (folder / "runs").glob(f"CartPole-v1/dqn/*-s{seed}")):
        found = checkpoint.generations(run.path)
        if found and int(found[0].name.removeprefix("step-")) >= step:
            return run
    return None


def test_what_is_killed_goes_on_and_ends_as_if_nothing_had_been(cluster, tmp_path, capsys):
    """The driver, a trial's process and a node, each with SIGKILL, in one grid."""
    driver = Command(tmp_path, *GRID)
    driver.wait_for(lambda: saved(tmp_path, 1, 500) or saved(tmp_path, 2, 500))
    driver.kill()

    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    driver = Command(tmp_path, "sweep", "resume", str(sweep))
    first = driver.wait_for(lambda: saved(tmp_path, 1, 1500))
    os.kill(int((first.path / "lock").read_text()), signal.SIGKILL)
    driver.wait_for(lambda: saved(tmp_path, 2, 2500))
    cluster.do("kill")
    code, said = driver.finish()
    cluster.do("add")
    assert code == 0, said
    assert "time(s)" in said, "nothing was killed"

    for seed in (1, 2):
        quiet = {"quiet": True, "wandb": "disabled", "runs_dir": str(tmp_path / "calm")}
        calm = rl_lab.train("dqn", env="CartPole-v1", seed=seed, **quiet, **SETTINGS)
        assert_identical(saved(tmp_path, seed, 4500), calm)

    cli.main(["sweep", "status", str(sweep)])
    assert capsys.readouterr().out.count("done") == 2
    written = [saved(tmp_path, seed, 4500).path / "metrics.jsonl" for seed in (1, 2)]
    before = [path.stat().st_mtime_ns for path in written]
    code, said = Command(tmp_path, "sweep", "resume", str(sweep)).finish()
    assert code == 0, said
    assert before == [path.stat().st_mtime_ns for path in written]


def test_a_run_that_breaks_is_told_and_the_others_are_carried_out(cluster, tmp_path):
    """One of two settings makes the weights infinite: its trial fails, the search goes on to its end."""
    (tmp_path / "space.yaml").write_text("lr: [1e-3, 1e+30]\nn_step: [20, 21]\n")
    short = ["--steps", "600", "--learning-starts", "100", "--eval-every", "300", "--eval-episodes", "1"]
    search = [
        "sweep",
        "search",
        "dqn",
        "--env",
        "CartPole-v1",
        "--trials",
        "3",
        "--scheduler",
        "none",
        "--retries",
        "0",
        "--check-seeds",
        "1",
        "--finalists",
        "2",
        "--final-seeds",
        "2",
    ]
    driver = Command(tmp_path, *search, "--space", "space.yaml", "--search-seed", "1", "--wandb", "disabled", *short)
    code, said = driver.finish()
    assert "the weights are no finite numbers any more" in said
    assert "Traceback" not in said
    assert code == 0, said
    assert "the best are the agent's own" in said or "next:  python -m rl_lab compare search-" in said
    sweep = min((tmp_path / "runs" / "sweeps").iterdir(), key=lambda path: len(path.name))
    assert json.loads((sweep / "sweep.json").read_text())["kind"] == "search"
    finals = [Run(path).config.run for path in (tmp_path / "runs").glob("CartPole-v1/dqn/*-finals-*")]
    assert sorted(run.seed for run in finals) == 2 * [2_000_000] + 2 * [2_000_001]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("grid --agents dqn --envs CartPole-v1 --seeds 3..1", "seeds is '3..1'"),
        ("grid --agents dqn,dqn --envs CartPole-v1", "agents is 'dqn,dqn'"),
        ("grid --agents dqn", "envs is ''"),
        ("grid --agents dqm --envs CartPole-v1", "unknown agent 'dqm'"),
        ("grid --agents dqn --envs CartPole-v1 --lr -1", "lr is -1.0"),
        ("grid --agents dqn --envs CartPole-v1 --env Pong", "env is 'Pong'; a sweep has many, so it must be envs"),
        ("search dqn --env CartPole-v1 --seed 7", "seed is '7'; a sweep has many, so it must be search_seed"),
        ("search dqn --env CartPole-v1 --group study/lr", "group is 'study/lr'"),
        ("grid --agents dqn --envs CartPole-v1 --cpu-per-run 0", "cpu_per_run is 0.0"),
        ("search dqn --env CartPole-v1 --eval-every 0", "eval_every is 0"),
        (
            "search dqn --env CartPole-v1 --steps 2000",
            "eval_every is 5000; a search needs it to be at most steps, 2000",
        ),
        (
            "grid --agents dqn --envs CartPole-v1 --collectors 2",
            "collectors is 2; a sweep's runs play where they learn",
        ),
        ("search dqn --env CartPole-v1 --check-seeds 1000000", "check_seeds is '1000000'"),
        ("search dqn --env CartPole-v1 --space nothing.yaml", "nothing.yaml cannot be read"),
        ("resume nowhere", "nowhere is no sweep"),
        ("status nowhere", "nowhere is no sweep"),
        ("all", "sweep all"),
    ],
)
def test_bad_input_is_refused_before_there_is_a_folder(args, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", *args.split()])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_no_node_has_is_refused_and_leaves_no_sweep(cluster, tmp_path):
    code, said = Command(tmp_path, *GRID, "--cpu-per-run", "2").finish()
    assert code == 2, said
    assert "a run takes 2 cores and 0 GPUs (cpu_per_run, gpu_per_run); no node has them, the most are 1 and 0" in said
    assert not list(tmp_path.glob("runs/sweeps/*"))


def test_without_ray_the_command_says_what_to_install(monkeypatch):
    from rl_lab.distributed import ray_cluster

    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"pip install 'rl-lab\[cluster\]'"):
        ray_cluster.require_ray()
