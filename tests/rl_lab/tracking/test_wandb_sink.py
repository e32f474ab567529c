"""Runs in W&B: offline, online with a local server, interrupted, and uploaded later with `sync`."""

import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_server import StoredRun, WandbServer

from envs.make import resolve
from rl_lab.cli.sync import sync_command
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.run import Run
from rl_lab.tracking.wandb_sink import wandb_run_id

TIME_METRICS = ("time/", "speed/", "seconds/", "checkpoint/")  # differ when a line is logged again after a crash
TIMEOUT = 120.0  # seconds


# --- Without a server -------------------------------------------------------------------------------------------------


def test_sync_skips_private_runs_and_reports_damaged_runs(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    args = ["--runs-dir", str(tmp_path / "runs")]
    run = train(steps=300, eval_every=0)
    sync_command(args)
    assert f"{run}: not uploaded, because it was trained with --wandb disabled" in capsys.readouterr().out
    (run.path / "config.yaml").write_text("a_key_of_2030: 1\n")
    with pytest.raises(LabError, match=f"{run} is left out: .* names no agent"):
        sync_command(args)


def test_sync_raises_if_there_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with pytest.raises(LabError, match="there are no runs in"):
        sync_command(["--runs-dir", str(tmp_path / "nothing")])


def test_wandb_run_id_holds_only_characters_that_wandb_accepts(tmp_path):
    env_spec = dataclasses.replace(resolve("CartPole-v1"), name="my/envs:Cart Pole-v1")
    run = Run.create(configuration.resolve("dqn", env_spec, {"runs_dir": str(tmp_path)}), env_spec)
    assert re.fullmatch(r"dqn-my-envs-Cart-Pole-v1-s\d+-[0-9a-f]{6}", wandb_run_id(run))


def test_offline_run_holds_all_metrics_and_videos(train, tmp_path, monkeypatch):
    """`wandb leet inspect` reads the files: every line of metrics.jsonl in its order, and each video."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run = train(steps=1200, wandb="offline", video_every=600)
    folder = next((run.path / "wandb").glob("offline-run-*"))
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    inspection = subprocess.run(command, capture_output=True, text=True)
    assert inspection.returncode == 0, inspection.stderr
    records = [json.loads(line) for line in inspection.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    for entry, line in zip(history, run.metrics(), strict=True):
        if "video" not in line:
            assert {key: value for key, value in entry.items() if not key.startswith("_")} == pytest.approx(line)
        assert entry["global_step"] == line["global_step"]
    video_steps = [entry["global_step"] for entry in history if any(key.startswith("video") for key in entry)]
    assert [step // 100 for step in video_steps] == [6, 12]
    assert len(list(folder.glob("files/media/videos/*"))) == 2


# --- With a local server ----------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Return a local server that all W&B clients of the test use."""
    with WandbServer.running() as running:
        monkeypatch.delenv("WANDB_SERVICE", raising=False)  # the W&B service of this process
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
        assert not running.unknown_operations


def start_training(tmp_path: Path, *flags: str, steps: int = 1500, every: int = 500) -> subprocess.Popen[str]:
    """Start `train dqn` on CartPole in its own process, with a checkpoint every `every` agent steps."""
    settings = {
        "steps": steps,
        "checkpoint-every": every,
        "log-every": every // 5,
        "eval-every": every + 100,
        "eval-episodes": 2,
        "seed": 3,
    }
    command = [sys.executable, "-m", "rl_lab", "train", "dqn", "--env", "CartPole-v1", "--runs-dir", str(tmp_path)]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a process. Return its output."""
    output, _ = process.communicate(timeout=TIMEOUT)
    return output


def run_command(*args: str) -> tuple[int, str]:
    """Run a command of the lab. Return its exit code and its output."""
    done = subprocess.run([sys.executable, "-m", "rl_lab", *args], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line without the metrics that depend on time, and without W&B's own entries."""
    return {key: value for key, value in line.items() if not key.startswith(("_", *TIME_METRICS))}


def check_uploaded(server: WandbServer, run: Run) -> StoredRun:
    """Check that the server has every line once and in order, all videos, the summary and both networks."""
    (stored,) = server.runs.values()
    lines = run.metrics()
    assert [entry["global_step"] for entry in stored.history] == [line["global_step"] for line in lines]
    for entry, line in zip(stored.history, lines, strict=True):
        found = without_times(entry)
        expected = without_times(line)
        assert found.keys() == expected.keys()
        found.pop("video", None)
        expected.pop("video", None)
        assert found == pytest.approx(expected)
    assert stored.summary["final"] == lines[-1].get("eval/return_mean", stored.summary["final"])
    num_videos = sum("video" in line for line in lines)
    assert len([path for path in stored.files if path.startswith("media/videos/")]) == num_videos
    check_networks(server, run)
    return stored


DESCRIPTION = ("--name", "slow lr", "--tags", "first, second", "--notes", "half the rate")


def check_networks(server: WandbServer, run: Run) -> None:
    """Check that the server has the best and the last network."""
    artifacts = [artifact for artifact in server.artifacts.values() if artifact.is_committed]
    assert {alias for artifact in artifacts for alias in artifact.aliases} >= {"best", "last"}
    best = (run.path / "checkpoints" / "best" / "network.safetensors").read_bytes()
    assert best in [a.files["network.safetensors"] for a in artifacts if "best" in a.aliases]


def test_online_run_is_uploaded_completely(server, tmp_path):
    output = finish(start_training(tmp_path, "--video-every", "700", "--target", "9", *DESCRIPTION))
    run = Run.find("latest", tmp_path)
    stored = check_uploaded(server, run)
    assert "W&B online" in output
    assert (stored.group, stored.job_type, stored.is_complete) == ("dqn/CartPole-v1", "train", True)
    assert {"dqn", "CartPole-v1", "first", "second"} <= set(stored.tags)
    assert (stored.display_name, stored.notes) == ("slow lr", "half the rate")
    assert stored.config["lr"] == run.config.settings.lr
    assert stored.config["env_card"]["name"] == "CartPole-v1"
    assert (stored.summary["target"], stored.summary["steps_to_target"]) == (9, 602)


def test_extended_run_continues_its_history(server, tmp_path):
    finish(start_training(tmp_path))
    code, output = run_command("resume", "latest", "--steps", "2000", "--runs-dir", str(tmp_path))
    assert code == 0, output
    assert check_uploaded(server, Run.find("latest", tmp_path)).history[-1]["global_step"] >= 2000


@pytest.mark.slow
def test_killed_run_continues_its_history_without_gaps_or_repetitions(server, tmp_path):
    process = start_training(tmp_path, steps=50_000, every=5_000)  # W&B uploads every 15 seconds
    saved_step = 0
    while process.poll() is None:
        folders = tmp_path.glob("*/*/*/checkpoints/step-?????????")
        saved_step = max([saved_step, *(int(path.name.removeprefix("step-")) for path in folders)])
        if saved_step and server.last_step() > saved_step + 100:
            break  # the server has lines that the resumed run will log again
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert 0 < saved_step < server.last_step() < 50_000
    code, output = run_command("resume", "latest", "--runs-dir", str(tmp_path))
    assert code == 0, output
    check_uploaded(server, Run.find("latest", tmp_path))


@pytest.mark.slow
def test_training_without_a_server_loses_little_time_and_sync_uploads_everything_later(server, tmp_path):
    server.is_down = True
    start = time.monotonic()
    process = start_training(tmp_path, "--video-every", "700")
    output = finish(process)
    assert process.returncode == 0, output
    assert time.monotonic() - start < 60
    run = Run.find("latest", tmp_path)
    code, output = run_command("sync", "--runs-dir", str(tmp_path))
    assert code == 1
    assert "FAILED: W&B could not start the run" in output
    server.is_down = False
    code, output = run_command("sync", "--runs-dir", str(tmp_path))
    assert code == 0, output
    num_lines = len(check_uploaded(server, run).history)
    code, output = run_command("sync", "--runs-dir", str(tmp_path))
    assert code == 0, output
    assert "of which 0 were missing" in output, "a second sync must upload nothing"
    assert len(check_uploaded(server, run).history) == num_lines


@pytest.mark.parametrize("comes_back", [pytest.param(True, marks=pytest.mark.slow), False])
def test_training_continues_if_the_server_fails(server, tmp_path, comes_back):
    process = start_training(tmp_path, "--replay-ratio", "160")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not server.last_step():
        time.sleep(0.02)
    assert process.poll() is None
    server.is_down = True
    if comes_back:
        time.sleep(3)
        server.is_down = False
    output = finish(process)
    assert process.returncode == 0, output
    run = Run.find("latest", tmp_path)
    assert run.metrics()[-1]["global_step"] >= 1500
    server.is_down = False
    code, output = run_command("sync", "--runs-dir", str(tmp_path))
    assert code == 0, output
    check_uploaded(server, run)
