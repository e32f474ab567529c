"""The argument for the picture that a script writes."""

from __future__ import annotations

import argparse
from pathlib import Path


def png(path: str) -> Path:
    """Return the path of a PNG file, as an argparse type.

    The folder is created at once, so that a script fails before hours of computation and not after them.

    Raises:
        argparse.ArgumentTypeError: The name does not end with .png, or the folder cannot be created.
    """
    out = Path(path)
    if out.suffix != ".png":
        raise argparse.ArgumentTypeError(f"{path} is not the name of a PNG file, such as {out.stem or 'picture'}.png")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be written: {error.strerror}: {error.filename}") from None
    return out
