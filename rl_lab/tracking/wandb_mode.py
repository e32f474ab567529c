"""Whether metrics go to Weights & Biases, decided from settings and files only, without contacting the server."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

WandbMode = Literal["online", "offline", "disabled"]

NO_WANDB_KEY = "no API key in WANDB_API_KEY or .netrc"


def resolve_wandb_mode(setting: str) -> tuple[WandbMode, str]:
    """Return the W&B mode of a run, and the reason for it in a few words.

    W&B itself is not called: `wandb.init` may prompt for a key or wait for the network.

    Args:
        setting: The setting `wandb` of the run: "auto", "online", "offline" or "disabled".
    """
    mode = _mode_without_key(setting)
    if mode is not None:
        return mode, "set by --wandb"
    mode = _mode_without_key(os.environ.get("WANDB_MODE"))
    if mode is not None and setting == "auto":
        return mode, "set by WANDB_MODE"
    source = find_wandb_key()
    if source is not None:
        return "online", f"API key found in {source}"
    if setting == "online":
        return "offline", f"{NO_WANDB_KEY}; run `wandb login` first"
    return "offline", NO_WANDB_KEY


def find_wandb_key() -> str | None:
    """Return where the W&B API key is stored (WANDB_API_KEY or the path of a .netrc file), or None if there is none."""
    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        has_key = netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return None
    return str(path) if has_key else None


def _mode_without_key(text: str | None) -> WandbMode | None:
    """Return `text` if it names a mode that needs no API key, else None."""
    if text == "offline":
        return "offline"
    if text == "disabled":
        return "disabled"
    return None
