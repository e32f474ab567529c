"""Names for folders, groups and W&B that every system accepts, made from the names of environments."""

from __future__ import annotations

import re

AWKWARD = re.compile(r"[^\w.-]+")
"""Every character except letters, digits, underscores, dots and hyphens. Windows forbids \\ / : * ? " < > | in names of
files, macOS and lists of paths forbid the colon, and shells interpret spaces and most other characters."""


def portable_name(name: str) -> str:
    """Return a name without the characters that are awkward in names of files.

    Each run of such characters becomes a hyphen, and hyphens and dots at the ends are removed: a name must neither look
    like an option nor be hidden, and Windows removes dots at the end. `minatar:MinAtar/Breakout-v1` becomes
    `minatar-MinAtar-Breakout-v1`. Different names may become equal.
    """
    return AWKWARD.sub("-", name).strip("-.") or "unnamed"
