"""A description of this machine: versions, device, memory, disk and W&B; and a list of known problems."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from rl_lab import __version__
from rl_lab.system.cores import num_cores
from rl_lab.system.device import resolve_device
from rl_lab.system.memory_budget import free_memory
from rl_lab.system.precision import bfloat16_speedup
from rl_lab.system.printable import count_of
from rl_lab.tracking.wandb_mode import resolve_wandb_mode

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

OPENCV_PACKAGES = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
"""Packages that install the same module, cv2."""


def describe_machine() -> list[str]:
    """Return one line each on versions, packages, device, matrix products, memory, disk and W&B."""
    device = resolve_device("auto")
    on_gpu = device.type == "cuda"
    device_name = torch.cuda.get_device_name(device) if on_gpu else platform.machine()
    memory = f"memory: {free_memory(torch.device('cpu')) / 1e9:.1f} GB free"
    if on_gpu:
        memory += f", {free_memory(device) / 1e9:.1f} GB free on the GPU"
    mode, reason = resolve_wandb_mode("auto")
    return [
        f"rl_lab {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages: " + ", ".join(f"{package} {installed_version(package) or 'MISSING'}" for package in PACKAGES),
        f"device: {device.type} ({device_name}), {count_of(num_cores(), 'core')},"
        f" {count_of(torch.get_num_threads(), 'torch thread')}",
        f"matrix products: bfloat16 is {bfloat16_speedup(device):.2f} times as fast as float32",
        memory,
        f"disk: {shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB free in {Path.cwd()}",
        f"W&B: {mode}, {reason}",
    ]


def find_problems() -> list[str]:
    """Return one line for each known problem of the installation, with the command that solves it."""
    required = [package for package in PACKAGES if package not in OPENCV_PACKAGES]
    missing = [package for package in required if installed_version(package) is None]
    problems = [f"{package} is not installed: pip install {package}" for package in missing]
    opencvs = [package for package in OPENCV_PACKAGES if installed_version(package)]
    if not opencvs:
        problems.append("OpenCV is not installed: pip install opencv-python-headless")
    if len(opencvs) > 1:
        problems.append(
            f"{' and '.join(opencvs)} overwrite each other's cv2: pip uninstall {' '.join(opencvs)},"
            " then pip install opencv-python-headless"
        )
    return problems


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
