"""The command `list`."""

from __future__ import annotations

from rl_lab.errors import LabError
from rl_lab.experiment.registry import agents
from rl_lab.system.printable import print_line
from rl_lab.system.shell import PROG


def list_command(args: list[str]) -> None:
    """Print the agents, the environments, or both.

    Raises:
        LabError: The arguments are wrong.
    """
    if args in (["-h"], ["--help"]):
        print(f"usage: {PROG} list [agents|envs [MODULE]]")
        print("List the agents and the environments, or the environments that a module registers.")
    elif args == ["agents"]:
        _print_agents()
    elif args == ["envs"]:
        _print_environments()
    elif len(args) == 2 and args[0] == "envs":
        _print_module(args[1])
    elif not args:
        _print_agents()
        _print_environments()
    else:
        raise LabError(f"list {' '.join(args)}: the usage is list, list agents, list envs or list envs MODULE")


def _print_agents() -> None:
    width = max(len(name) for name in agents())
    for name, entry in sorted(agents().items()):
        print_line(f"{name:<{width}}  {entry.paper}")


def _print_environments() -> None:
    from rl_lab import api

    for kind, names in api.environments().items():
        print(f"\n{kind}:")
        print_line(f"  {'  '.join(names)}")


def _print_module(module: str) -> None:
    """Print the ids of a module's environments as `--env` expects them."""
    from envs.registration import module_ids

    ids = module_ids(module)
    if not ids:
        raise LabError(f"{module} registers no environments")
    for env_id in ids:
        print_line(f"{module}:{env_id}")
