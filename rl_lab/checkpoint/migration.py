"""Conversion of checkpoints of format 1, which older versions of the lab wrote, to the current format.

Format 1 has other names, and stores a list as a dict of its indices. It does not store empty lists and dicts.

    format 1                          format 2
    agent/replay/total_live           agent/replay/total_active
    agent/played/0/1                  agent/acting_records/[0]/[1]                 DRQN
    agent/played/0/log_prob           agent/acting_records/[0]/[0]                 REINFORCE
    agent/played/0/value              agent/acting_records/[0]/[1]                 REINFORCE
    run/loop/row/first                run/loop/row/is_first
    run/loop/pending/dead             run/loop/pending/is_last
    run/loop/pending/live             run/loop/pending/num_active
    run/loop/carry/0                  run/loop/carry/[0]
    run/loop/chunks/0/rows/dead       run/loop/chunks/[0]/rows/is_last             runs with --collectors
    run/loop/chunks/0/played/3/1      run/loop/chunks/[0]/acting_records/[3]/[1]   runs with --collectors
    run/loop/played/1                 run/loop/pending_record/[1]                  runs with --collectors
    run/loop/begins/0/loop/carry/1    run/loop/start_states/0/loop/carry/[1]       runs with --collectors

The field "dead" of the replay's rows is "is_last" in format 2.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

AGENT_NAMES = {"total_live": "total_active", "played": "acting_records"}
"""Parts of names below "agent" in format 1, and their names in format 2."""

LOOP_NAMES = {
    "first": "is_first",
    "dead": "is_last",
    "live": "num_active",
    "played": "acting_records",
    "games": "episodes",
    "played_at": "acting_steps",
    "sent": "next_weights",
    "begins": "start_states",
    "cut": "interrupted",
    "replaced": "num_replaced",
}
"""Parts of names below "run/loop" in format 1, and their names in format 2."""

RING_FIELDS = {"dead": "is_last"}
"""Fields of a ring buffer in format 1, and their names in format 2."""

LISTS = ("carry", "chunks", "acting_records", "pending_record")
"""Lists, by their name in format 2."""

RECORD_INDICES = {"log_prob": "[0]", "value": "[1]"}
"""Entries of REINFORCE's acting records, which format 1 stored by name."""


def migrate(flat: dict[str, Any]) -> dict[str, Any]:
    """Return tensors and values of format 1 under the flat names of format 2, and add empty lists and dicts."""
    migrated = {migrate_name(name): value for name, value in flat.items()}
    empty: dict[str, Any] = {"agent/acting_records": []}
    if "run/loop/index" in migrated:  # the state of a `CollectorLoop`
        empty |= {"run/loop/chunks": [], "run/loop/start_states": {}}
    elif _has(migrated, "run/loop"):
        empty |= {"run/loop/carry": []}
    for name, value in empty.items():
        if not _has(migrated, name):
            migrated[name] = value
    return migrated


def migrate_name(name: str) -> str:
    """Return the flat name of format 2 for a flat name of format 1."""
    if name.startswith("run/loop/played/"):
        name = name.replace("played", "pending_record", 1)
    renamed: dict[str, str] = {}
    if name.startswith("agent/"):
        renamed = AGENT_NAMES
    elif name.startswith("run/loop/"):
        renamed = LOOP_NAMES
    parts: list[str] = []
    for old in name.split("/"):
        if old.isdigit() and _is_list(parts):
            parts.append(f"[{old}]")
        elif old in RECORD_INDICES and "acting_records" in parts:
            parts.append(RECORD_INDICES[old])
        else:
            parts.append(renamed.get(old, old))
    return "/".join(parts)


def migrate_ring_fields(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the fields of a segment under the names of format 2.

    Generations of formats 1 and 2 may share a segment, so the format is that of the segment and not of the generation.
    """
    return {RING_FIELDS.get(name, name): field for name, field in rows.items()}


def _is_list(parts: list[str]) -> bool:
    """Return True if the parts name a list: one of `LISTS`, or an entry of acting records, which is a list too."""
    if not parts:
        return False
    is_record = len(parts) >= 2 and parts[-2] == "acting_records"
    return parts[-1] in LISTS or is_record


def _has(flat: dict[str, Any], name: str) -> bool:
    """Return True if `flat` has the name or a name below it."""
    return any(key == name or key.startswith(f"{name}/") for key in flat)
