"""Where a result comes from: the commit of the checkout, and the machine in a few words."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from rl_lab.system.cores import num_cores

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"
GIT_SECONDS = 10.0  # time limit of a git command


def describe_commit(folder: Path = ROOT) -> str:
    """Return the abbreviated commit of a checkout, with "+" if tracked files of `agents`, `envs`, `rl_lab` or
    `configs` differ from the commit, and "unknown" if the folder is no checkout.
    """
    commit = _git(folder, "rev-parse", "--short=10", "HEAD")
    if not commit:
        return UNKNOWN
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "agents", "envs", "rl_lab", "configs")
    return f"{commit}+" if changes else commit


def describe_machine_briefly(device: str) -> str:
    """Return the cores that the process may use, the processor and, for the device "cuda", the GPU."""
    count = num_cores()
    parts = [f"{count} core{'' if count == 1 else 's'}", _processor()]
    if device == "cuda":
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def _git(folder: Path, *args: str) -> str:
    """Return the output of a git command in a folder, "" if the folder is no checkout of its own or git is missing."""
    if not (folder / ".git").exists():
        return ""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *args],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    """Return the name of the processor, or its architecture where the system does not tell the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
