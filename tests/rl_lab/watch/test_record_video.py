"""Tests of the videos that a run records while it trains."""

from itertools import zip_longest

import pytest
import torch
from safetensors.torch import load_file

from rl_lab import api, checkpoint
from rl_lab.watch.record_video import record_video


def test_recording_writes_videos_and_does_not_change_training(train):
    recorded = train(video_every=500, eval_every=500)
    plain = train(eval_every=500)
    videos = sorted(path.name for path in (recorded.path / "videos").glob("*"))
    assert [name[:9] for name in videos] == ["step-0000", "step-0000"]
    assert [int(name[5:14]) // 100 for name in videos] == [5, 10]
    weights = [load_file(checkpoint.find(run.path, "last") / "network.safetensors") for run in (recorded, plain)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    lines = [line for line in recorded.metrics() if "video" not in line]
    assert len(recorded.metrics()) - len(lines) == 2
    for line, plain_line in zip_longest(lines, plain.metrics()):
        for key in ("loss", "eval/return_mean", "train/return"):
            assert line.get(key) == plain_line.get(key)


def test_interrupted_recording_leaves_no_file(train):
    run = train(steps=300, eval_every=0, eval_episodes=1)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_video(run, api.load_agent(run), 300, 1, torch.device("cpu"), interrupt)
    assert list((run.path / "videos").glob("*")) == []
