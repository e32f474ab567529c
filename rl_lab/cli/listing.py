"""The command `list`."""

from __future__ import annotations

from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.experiment.registry import agents
from rl_lab.system.shell import PROG


def list_command(args: list[str]) -> None:
    if args in (["-h"], ["--help"]):
        print(f"usage: {PROG} list [agents|envs]")
        return
    if args not in ([], ["agents"], ["envs"]):
        raise LabError(f"list {' '.join(args)}: it is list, list agents or list envs")
    if args != ["envs"]:
        for name, entry in sorted(agents().items()):
            print(f"{name:<20} {entry.paper}")
    if args != ["agents"]:
        for title, names in api.environments().items():
            print(f"\n{title}:\n  {'  '.join(names)}")
