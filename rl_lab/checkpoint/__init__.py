"""Checkpoints: everything that an exact resume needs, written so that no crash can lose a run."""

from rl_lab.checkpoint.checkpoint import (
    Damaged,
    bytes_to_write,
    discard_newer,
    find,
    generations,
    load,
    load_network,
    read_state,
    save,
    save_best,
    step_of,
)

__all__ = [
    "Damaged",
    "bytes_to_write",
    "discard_newer",
    "find",
    "generations",
    "load",
    "load_network",
    "read_state",
    "save",
    "save_best",
    "step_of",
]
