"""Whether two runs are the same, bit for bit, in all that the clock does not decide."""

import torch
from safetensors.torch import load_file

from agents.memory.ring import Ring
from rl_lab import checkpoint
from rl_lab.checkpoint import ring_files
from rl_lab.experiment.run import Run

OF_THE_CLOCK = ("time/", "speed/", "seconds/", "checkpoint/")


def metrics(run: Run):
    """The lines of the log without what the clock decides."""
    lines = [{k: v for k, v in line.items() if not k.startswith(OF_THE_CLOCK)} for line in run.metrics()]
    return [line for line in lines if len(line) > 1]


def replay_rows(folder) -> Ring:
    state = checkpoint._read_state(folder)["state"]
    (name,) = (key.removesuffix("/segments") for key in state if key.endswith("/segments"))
    paths = [folder.parent / file for file in state[f"{name}/segments"]]
    stored = ring_files.StoredRing(paths, state[f"{name}/capacity"], state[f"{name}/total"])
    fields = {k: torch.zeros((stored.capacity, *x.shape[1:]), dtype=x.dtype) for k, x in load_file(paths[0]).items()}
    stored.copy_into(fields)
    return Ring(fields, stored.total)


def assert_identical(one: Run, other: Run):
    """Weights, optimiser, replay, generators, carry, emulators' way, and every number of the log."""
    a, b = (checkpoint.generations(run.path)[0] for run in (one, other))
    assert a.name == b.name
    files = [p.name for p in a.glob("*.safetensors")]
    assert (
        sorted(files)
        == sorted(p.name for p in b.glob("*.safetensors"))
        == ["learner.safetensors", "network.safetensors"]
    )
    for name in files:
        mine, theirs = load_file(a / name), load_file(b / name)
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert torch.equal(mine[key], theirs[key]), key
    mine, theirs = (replay_rows(folder) for folder in (a, b))
    assert mine.total == theirs.total
    for name, field in mine.fields.items():
        assert torch.equal(field, theirs.fields[name]), name
    assert metrics(one) == metrics(other)
