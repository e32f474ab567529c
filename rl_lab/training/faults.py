"""Errors during training: each becomes a `Fault`, whose message names the command that continues the run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from envs.errors import EnvFault
from rl_lab import checkpoint
from rl_lab.errors import Fault
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import describe_exit
from rl_lab.system.shell import shell_command


def how_to_resume(run: Run) -> str:
    """Return the end of an error message: the command that continues the run.

    If the run has no checkpoint, the text says so. If the agent is not resumable, the command starts a new run.
    """
    if not checkpoint.generations(run.path):
        return f"{run} had no checkpoint yet"
    if not is_resumable(run.config.agent):
        new_run = shell_command("train", run.config.agent, "--env", run.config.run.env, "--init-from", run)
        return f"begin a new run with its best network:  {new_run}"
    return f"go on from the last checkpoint with:  {shell_command('resume', run)}"


@contextmanager
def faults(run: Run, device: torch.device) -> Iterator[None]:
    """Convert exceptions in the `with` block to Faults. Each message ends with `how_to_resume`.

    A `SystemExit` is a fault too: a run is done when its steps are made, and not when an environment ends the program.
    `KeyboardInterrupt` is not converted.

    The traceback of an exception that is neither a Fault nor `torch.OutOfMemoryError` is written to traceback.txt in
    the run folder.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except Fault as fault:
        raise Fault(f"{fault}; {how_to_resume(run)}") from fault
    except torch.OutOfMemoryError as error:
        advice = "lower replay_size or batch_size"
        raise Fault(f"{device} is out of memory: {advice}; {how_to_resume(run)}") from error
    except BaseException as error:
        with suppress(OSError):
            # A message of an environment may hold characters that the encoding lacks.
            (run.path / "traceback.txt").write_text(traceback.format_exc(), "utf-8", errors="backslashreplace")
        raise Fault(f"{_summary(error)} (see {run}/traceback.txt); {how_to_resume(run)}") from error


def _summary(error: BaseException) -> str:
    """Return one line that describes an exception."""
    if isinstance(error, EnvFault):
        return str(error)
    if isinstance(error, SystemExit):
        return describe_exit(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
