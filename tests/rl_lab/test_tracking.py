"""metrics.jsonl and W&B beside it."""

import json
import subprocess
import sys

import pytest

from rl_lab.tracking import JsonLines, wandb_mode


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


def test_lines_after_the_checkpoint_are_dropped_on_resume(train):
    run = train(steps=600)
    sink = JsonLines(run, 400)
    sink.log(410, {"x": 1.0})
    sink.close()
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
    films = [line for line in history if any(key.startswith("video") for key in line)]
    logged = [line for line in history if line not in films]
    ours = run.metrics()
    assert [line["global_step"] for line in logged] == [line["global_step"] for line in ours]
    for theirs, line in zip(logged, ours, strict=True):
        assert {k: v for k, v in theirs.items() if not k.startswith("_")} == pytest.approx(line)
    assert [line["global_step"] // 100 for line in films] == [6, 12]
    assert len(list(folder.glob("files/media/videos/*"))) == 2
