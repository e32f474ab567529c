"""Errors during training, reported in one line with the command that continues the run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from rl_lab import checkpoint
from rl_lab.errors import Fault
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.system.shell import shell_command


def how_to_resume(run: Run) -> str:
    """Return the end of a message about a run that stopped early: the command that continues the run."""
    if not checkpoint.generations(run.path):
        return f"{run} had no checkpoint yet"
    if not is_resumable(run.config.agent):
        new_run = shell_command("train", run.config.agent, "--env", run.config.run.env, "--init-from", run)
        return f"begin a new run with its best network:  {new_run}"
    return f"go on from the last checkpoint with:  {shell_command('resume', run)}"


@contextmanager
def faults(run: Run, device: torch.device) -> Iterator[None]:
    """Turn every exception into a Fault whose message ends with the command that continues the run.

    The traceback of an unexpected exception is written to traceback.txt in the run folder.
    """
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
        summary = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Fault(f"{summary} (see {path}); {how_to_resume(run)}") from error
