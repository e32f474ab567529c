"""Lists of seeds as users write them: 1..5 or 1,3,8."""

from __future__ import annotations

import re

from rl_lab.errors import LabError

MAX_SEED = 2**31 - 1
MAX_RANGE = 10_000  # most seeds that one range may hold


def parse_seeds(text: str) -> list[int]:
    """Return the seeds in a text such as "1..5", "1,3,8" or "1..3,8".

    Raises:
        LabError: The text is not a list of seeds, a range is empty or too long, or a seed is named twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?\s*", part)
        if match is None:
            raise LabError(f"seeds is {text!r}; it must be like 1..5 or 1,3,8")
        first = int(match[1])
        last = int(match[2] or match[1])
        if last > MAX_SEED or last - first >= MAX_RANGE:
            raise LabError(f"seeds is {text!r}; seeds must be below 2147483648, and a range at most 10,000 long")
        if last < first:
            raise LabError(f"seeds is {text!r}; the range {first}..{last} is empty")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise LabError(f"seeds is {text!r}; it names a seed twice")
    return seeds
