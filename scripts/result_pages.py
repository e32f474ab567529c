"""Keep the tables of the pages in docs/benchmarks/ equal to the data files in results/."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from result_data import ResultTopic, read_topic
from result_tables import command_table, seed_table, summary_table

BLOCK = re.compile(r"<!-- tables of results/([\w-]+)\.json -->\n.*?<!-- end of the tables -->", re.DOTALL)
"""A block of a page that holds the tables of one data file. Group 1 is the name of the topic."""


def update_page(path: Path, data: Path) -> bool:
    """Write the tables of the data files in the folder `data` into the blocks of the page `path`.

    Returns:
        True if the page changed.

    Raises:
        FileNotFoundError: If a block names a data file that does not exist.
    """
    page = path.read_text()
    updated = fill_blocks(page, lambda name: read_topic(data / f"{name}.json"))
    if updated == page:
        return False
    path.write_text(updated)
    return True


def fill_blocks(page: str, read: Callable[[str], ResultTopic]) -> str:
    """Return the text of a page with the tables of each topic in its block. `read` returns the topic of a name."""
    return BLOCK.sub(lambda match: tables_block(read(match.group(1))), page)


def tables_block(topic: ResultTopic) -> str:
    """Return the block of a topic: its three tables, folded, between two comments that mark it."""
    parts = [
        f"<!-- tables of results/{topic.name}.json -->",
        "<details><summary>All runs: commands, conditions, commits, and each evaluation</summary>",
        "",
        summary_table(topic),
        "",
        command_table(topic),
        "",
        seed_table(topic),
        "",
        "</details>",
        "<!-- end of the tables -->",
    ]
    return "\n".join(parts)
