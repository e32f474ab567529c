"""What this machine has for the lab: versions, device, threads, memory, disk, W&B; and what is wrong with it."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from rl_lab import __version__
from rl_lab.system.device import bfloat16_speedup, free_memory, num_cores, resolve_device, resolve_precision
from rl_lab.tracking.tracker import wandb_mode

PACKAGES = (
    "torch",
    "gymnasium",
    "ale-py",
    "stable-baselines3",
    "opencv-python-headless",
    "wandb",
    "numpy",
    "scipy",
    "safetensors",
    "tyro",
    "rich",
)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report() -> tuple[list[str], list[str]]:
    """What there is, a line each, and the problems found."""
    device = resolve_device("auto")
    precision = str(resolve_precision("auto", device)).removeprefix("torch.")
    mode, why = wandb_mode("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    lines = [
        f"rl_lab {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages: " + ", ".join(f"{p} {_version(p) or 'MISSING'}" for p in PACKAGES),
        f"device: {device.type} ({name}), {num_cores()} cores, {torch.get_num_threads()} torch threads",
        f"precision: {precision} (bfloat16 is {bfloat16_speedup(device):.2f} times as fast as float32 at matrices here)",
        f"memory: {free_memory(torch.device('cpu')) / 1e9:.1f} GB free"
        + (f", {free_memory(device) / 1e9:.1f} GB free on the GPU" if device.type == "cuda" else ""),
        f"disk: {shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB free in {Path.cwd()}",
        f"W&B: {mode}, {why}",
    ]
    return lines, problems()


def problems() -> list[str]:
    """Everything known to break the lab, in words that say what to do."""
    found = [f"{p} is not installed: pip install {p}" for p in PACKAGES if _version(p) is None and "opencv" not in p]
    opencvs = [p for p in ("opencv-python", "opencv-python-headless", "opencv-contrib-python") if _version(p)]
    if len(opencvs) > 1:
        found.append(
            f"{' and '.join(opencvs)} overwrite each other's cv2: pip uninstall {' '.join(opencvs)},"
            " then pip install opencv-python-headless"
        )
    elif not opencvs:
        found.append("OpenCV is not installed: pip install opencv-python-headless")
    return found
