"""Videos of evaluation games while a run trains."""

import pytest
import torch
from safetensors.torch import load_file

from rl_lab import api, checkpoint
from rl_lab.watch.record_video import film


def test_a_run_is_filmed_and_notices_nothing(train):
    """A video each `video_every` steps, of the game that the evaluation of that step began with; the same weights as without."""
    filmed, plain = train(video_every=500, eval_every=500), train(eval_every=500)
    videos = sorted(path.name for path in (filmed.path / "videos").glob("*"))
    assert [name[:9] for name in videos] == ["step-0000", "step-0000"]
    assert [int(name[5:14]) // 100 for name in videos] == [5, 10]
    one, other = (load_file(checkpoint.find(r.path, "last") / "network.safetensors") for r in (filmed, plain))
    assert all(torch.equal(one[name], other[name]) for name in one)
    keys = ("loss", "eval/return_mean", "train/return")
    lines = [line for line in filmed.metrics() if "video" not in line]
    assert len(filmed.metrics()) - len(lines) == 2
    assert [[line.get(k) for k in keys] for line in lines] == [[line.get(k) for k in keys] for line in plain.metrics()]


def test_a_film_that_is_stopped_leaves_none(train):
    run = train(steps=300, eval_every=0, eval_episodes=1)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film(run, api.load(run), 300, 1, torch.device("cpu"), stop)
    assert list((run.path / "videos").glob("*")) == []
