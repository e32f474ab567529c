"""The picture that a script draws: where it goes, asked for before the work."""

from __future__ import annotations

import argparse
from pathlib import Path


def png(path: str) -> Path:
    """An argument that names the PNG to write; its folder is made, so that hours of work are not lost for want of one."""
    out = Path(path)
    if out.suffix != ".png":
        raise argparse.ArgumentTypeError(f"{path} is no PNG; a name like {out.stem or 'picture'}.png would be")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be written: {error.strerror}: {error.filename}") from None
    return out
