"""metrics.jsonl and W&B beside it."""

import dataclasses
import json
import re
import subprocess
import sys
import time

import pytest
from wandb_server import WandbServer

from envs.make import resolve
from rl_lab.cli.sync import sync_command
from rl_lab.errors import Fault, LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.run import Run
from rl_lab.tracking.tracker import Wandb, open_tracker, summarise, wandb_mode

TIMES = ("time/", "speed/", "seconds/", "checkpoint/")  # what a line that is made again after a crash need not repeat


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_the_mode_is_resolved_without_asking_anyone(no_key, monkeypatch):
    assert wandb_mode("auto") == ("offline", "no key in WANDB_API_KEY or .netrc")
    assert wandb_mode("online")[0] == "offline"
    assert wandb_mode("disabled")[0] == "disabled"
    no_key.write_text("machine api.wandb.ai\n  login user\n  password 0123456789\n")
    assert wandb_mode("auto") == ("online", f"a key is in {no_key}")
    assert wandb_mode("offline") == ("offline", "as asked")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode("auto")[0] == "disabled"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("online") == ("online", "a key is in WANDB_API_KEY")


def test_sync_sends_nobody_what_was_to_be_kept(train, tmp_path, monkeypatch, capsys):
    """Nor does it succeed where there is nothing at all."""
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    runs = ["--runs-dir", str(tmp_path / "runs")]
    run = train(steps=300, eval_every=0)
    sync_command(runs)
    assert f"{run}: not sent: it was trained with --wandb disabled" in capsys.readouterr().out
    (run.path / "config.yaml").write_text("a_key_of_2030: 1\n")
    with pytest.raises(Fault, match="1 of 1 runs are not wholly uploaded"):
        sync_command(runs)
    assert f"{run}: FAILED: " in capsys.readouterr().out, "one that is damaged is told, and the others go on"
    with pytest.raises(LabError, match="there are no runs in"):
        sync_command(["--runs-dir", str(tmp_path / "nothing")])


def test_an_id_holds_only_what_wandb_takes(tmp_path):
    env_spec = dataclasses.replace(resolve("CartPole-v1"), name="my/envs:Cart Pole-v1")
    run = Run.create(configuration.resolve("dqn", env_spec, {"runs_dir": str(tmp_path)}), env_spec)
    assert re.fullmatch(r"dqn-my-envs-Cart-Pole-v1-s\d+-[0-9a-f]{6}", Wandb._id(run))


def test_lines_after_the_checkpoint_are_dropped_on_resume(train):
    run = train(steps=600)
    tracker = open_tracker(run, "disabled", 400)
    tracker.log(410, {"x": 1.0})
    tracker.close()
    steps = [line["global_step"] for line in run.metrics()]
    assert max(steps[:-1]) <= 400
    assert steps[-1] == 410


def test_an_offline_run_holds_all_of_the_metrics_and_the_videos(train, no_key):
    """What W&B wrote beside us, read back by its own `leet inspect`: every line of the log in its order, and each video."""
    run = train(steps=1200, wandb="offline", video_every=600)
    folder = next((run.path / "wandb").glob("offline-run-*"))
    read = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)], capture_output=True, text=True
    )
    assert read.returncode == 0, read.stderr
    records = [json.loads(line) for line in read.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    for theirs, line in zip(history, run.metrics(), strict=True):
        if "video" not in line:
            assert {k: v for k, v in theirs.items() if not k.startswith("_")} == pytest.approx(line)
        assert theirs["global_step"] == line["global_step"]
    films = [line["global_step"] for line in history if any(key.startswith("video") for key in line)]
    assert [step // 100 for step in films] == [6, 12]
    assert len(list(folder.glob("files/media/videos/*"))) == 2


# --- online, with a server of our own ---------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    with WandbServer.running() as running:
        monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of this process, which others would share
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
        assert not running.unknown


def start(tmp_path, *more, steps=1500, every=500):
    """`train dqn` on CartPole in a process of its own."""
    settings = {
        "steps": steps,
        "checkpoint-every": every,
        "log-every": every // 5,
        "eval-every": every + 100,
        "eval-episodes": 2,
        "seed": 3,
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "-m",
        "rl_lab",
        "train",
        "dqn",
        "--env",
        "CartPole-v1",
        "--runs-dir",
        str(tmp_path),
        *flags,
    ]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def lab(*args):
    """A command of the lab to its end."""
    done = subprocess.run([sys.executable, "-m", "rl_lab", *args], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def check_arrived(server, run):
    """The server has every line of the log once and in order, and what belongs to the run as a whole."""
    (there,) = server.runs.values()
    ours = run.metrics()
    assert [line["global_step"] for line in there.history] == [line["global_step"] for line in ours]
    for theirs, line in zip(there.history, ours, strict=True):
        values, expected = ({k: v for k, v in x.items() if not k.startswith(("_", *TIMES))} for x in (theirs, line))
        assert values.keys() == expected.keys()
        for one in (values, expected):
            one.pop("video", None)
        assert values == pytest.approx(expected)
    assert there.summary["final"] == ours[-1].get("eval/return_mean", there.summary["final"])
    films = [line for line in ours if "video" in line]
    assert len([path for path in there.files if path.startswith("media/videos/")]) == len(films)
    kept = [a for a in server.artifacts.values() if a.get("committed")]
    assert {alias for a in kept for alias in a["aliases"]} >= {"best", "last"}
    best = (run.path / "checkpoints" / "best" / "network.safetensors").read_bytes()
    assert any(a["files"]["network.safetensors"] == best and "best" in a["aliases"] for a in kept)
    return there


def test_an_online_run_arrives_whole(server, tmp_path):
    said, _ = start(tmp_path, "--video-every", "700", "--target", "9").communicate(timeout=120)
    run = Run.find("latest", tmp_path)
    there = check_arrived(server, run)
    assert "W&B online" in said
    assert (there.group, there.job_type, there.complete) == ("dqn/CartPole-v1", "train", True)
    assert {"dqn", "CartPole-v1"} <= set(there.tags)
    assert there.config["lr"] == run.config.settings.lr
    assert there.config["env_card"]["name"] == "CartPole-v1"
    assert (there.summary["target"], there.summary["steps_to_target"]) == (9, 602)


def test_an_extended_run_goes_on_in_the_same_history(server, tmp_path):
    start(tmp_path).communicate(timeout=120)
    code, said = lab("resume", "latest", "--steps", "2000", "--runs-dir", str(tmp_path))
    assert code == 0, said
    assert check_arrived(server, Run.find("latest", tmp_path)).history[-1]["global_step"] >= 2000


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was_without_loss_or_repetition(server, tmp_path):
    process = start(tmp_path, steps=50_000, every=5_000)  # W&B sends every 15 s
    while process.poll() is None:
        saved = [int(path.name[5:]) for path in tmp_path.glob("*/*/*/checkpoints/step-?????????")]
        if saved and server.reached() > max(saved) + 100:  # the server is ahead of what will be resumed
            break
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert 0 < max(saved) < server.reached() < 50_000
    code, said = lab("resume", "latest", "--runs-dir", str(tmp_path))
    assert code == 0, said
    check_arrived(server, Run.find("latest", tmp_path))


@pytest.mark.slow
def test_a_server_that_is_down_costs_seconds_and_sync_brings_everything_later(server, tmp_path):
    server.down = True
    began = time.monotonic()
    process = start(tmp_path, "--video-every", "700")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert time.monotonic() - began < 60
    run = Run.find("latest", tmp_path)
    code, said = lab("sync", "--runs-dir", str(tmp_path))
    assert code == 1
    assert "FAILED: W&B has not begun it" in said
    server.down = False
    code, said = lab("sync", "--runs-dir", str(tmp_path))
    assert code == 0, said
    check_arrived(server, run)
    lines = len(server.runs[next(iter(server.runs))].history)
    code, said = lab("sync", "--runs-dir", str(tmp_path))  # can be repeated
    assert code == 0, said
    assert "of which 0 were missing" in said
    assert len(check_arrived(server, run).history) == lines


@pytest.mark.parametrize("returns", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_server_that_dies_stops_nothing(server, tmp_path, returns):
    process = start(tmp_path, "--replay-ratio", "160")
    until = time.monotonic() + 60
    while time.monotonic() < until and not server.reached():
        time.sleep(0.02)
    assert process.poll() is None
    server.down = True
    if returns:
        time.sleep(3)
        server.down = False
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    run = Run.find("latest", tmp_path)
    assert run.metrics()[-1]["global_step"] >= 1500
    server.down = False
    code, said = lab("sync", "--runs-dir", str(tmp_path))
    assert code == 0, said
    check_arrived(server, run)


def test_a_summary_says_when_the_target_was_reached():
    lines = [{"global_step": 10, "loss": 1.0}]
    lines += [
        {"global_step": s, "eval/return_mean": r, "time/minutes": s / 10} for s, r in ((20, 5.0), (30, 9.0), (40, 7.0))
    ]
    found = summarise(lines, 8.0)
    assert found == {
        "best": 9.0,
        "final": 7.0,
        "steps": 40,
        "minutes": 4.0,
        "target": 8.0,
        "steps_to_target": 30,
        "minutes_to_target": 3.0,
    }
    assert summarise(lines, 10.0)["steps_to_target"] is None
    assert "target" not in summarise(lines, None)
    assert summarise([], None)["best"] is None
