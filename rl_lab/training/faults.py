"""Errors during training, reported in one line with the command that resumes the run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from rl_lab import checkpoint
from rl_lab.errors import Fault
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.system.shell import as_typed


def how_to_resume(run: Run) -> str:
    """The end of a message about a run that stopped too early."""
    if not checkpoint.generations(run.path):
        return f"{run} had no checkpoint yet"
    if not is_resumable(run.config.agent):
        anew = as_typed("train", run.config.agent, "--env", run.config.run.env, "--init-from", run)
        return f"begin a new run with its best network:  {anew}"
    return f"go on from the last checkpoint with:  {as_typed('resume', run)}"


@contextmanager
def faults(run: Run, device: torch.device) -> Iterator[None]:
    """Whatever breaks becomes a Fault that says how to go on; the traceback of what we did not foresee goes to a file."""
    try:
        yield
    except Fault as fault:
        raise Fault(f"{fault}; {how_to_resume(run)}") from fault
    except torch.OutOfMemoryError as error:
        advice = "lower replay_size or batch_size"
        raise Fault(f"{device} is out of memory: {advice}; {how_to_resume(run)}") from error
    except Exception as error:
        path = run.path / "traceback.txt"
        with suppress(OSError):
            path.write_text(traceback.format_exc())
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Fault(f"{what} (see {path}); {how_to_resume(run)}") from error
