"""The command `list`."""

from __future__ import annotations

import shutil
import sys
import textwrap

from rl_lab.errors import LabError
from rl_lab.experiment.config_layers import preset_sections
from rl_lab.experiment.demo_agents import DemoRecord, demo_names
from rl_lab.experiment.registry import agents, find_agent
from rl_lab.system.printable import print_line
from rl_lab.system.shell import PROG

USAGE = f"""usage: {PROG} list [runs|agents|envs [MODULE]|presets [AGENT]|demos]

List the agents and the environments.

  list runs               the runs, newest first; list runs --help shows the options
  list agents             the agents with their papers
  list envs               the environments that this installation can train on
  list envs MODULE        the environments that a module registers
  list presets [AGENT]    the presets of an agent, or of all agents, and what they have settings for
  list demos              the trained agents that are part of the lab: watch demo:NAME"""

MAX_INDENT = 26  # columns before the second line of an entry
MIN_TEXT_WIDTH = 20  # columns of an entry on a very narrow terminal


def list_command(args: list[str]) -> None:
    """Print the runs, the agents, the environments, the presets of agents, or the demos.

    Raises:
        LabError: The arguments are wrong.
    """
    if args and args[0] == "runs":
        from rl_lab.cli.list_runs import list_runs_command

        list_runs_command(args[1:])
    elif "-h" in args or "--help" in args:
        print(USAGE)
    elif args == ["agents"]:
        _print_agents()
    elif args == ["envs"]:
        _print_environments()
    elif len(args) == 2 and args[0] == "envs":
        _print_module(args[1])
    elif args and args[0] == "presets" and len(args) <= 2:
        _print_presets(args[1:] or sorted(agents()))
    elif args == ["demos"]:
        _print_demos()
    elif not args:
        _print_agents()
        _print_environments()
    else:
        raise LabError(
            f"list {' '.join(args)}: the usage is list, list runs, list agents, list envs [MODULE],"
            " list presets [AGENT] or list demos"
        )


def _print_agents() -> None:
    width = max(len(name) for name in agents())
    for name, entry in sorted(agents().items()):
        _print_entry(f"{name:<{width}}  ", entry.paper)


def _print_environments() -> None:
    """Print the names by kind: as many in a line as the terminal shows, or one a line in a file."""
    from rl_lab import api

    for kind, names in api.environments().items():
        print(f"\n{kind}:")
        if not sys.stdout.isatty():
            names = [f"  {name}" for name in names]
        else:
            names = [f"  {line}" for line in _joined(names, _terminal_width() - 2)]
        for line in names:
            print_line(line)


def _print_presets(names: list[str]) -> None:
    """Print the presets of agents, and the environments and kinds of environments for which they have settings."""
    for name in names:
        presets = preset_sections(find_agent(name).presets)
        for preset, sections in presets.items():
            _print_entry(f"{name} --preset {preset}: ", ", ".join(sections) or "the same settings everywhere")


def _print_demos() -> None:
    """Print the trained agents that are part of the package, with their scores."""
    records = {f"demo:{name}": DemoRecord.read(name) for name in demo_names()}
    width = max(len(name) for name in records)
    for name, record in records.items():
        text = f"{record.agent} on {record.env}, score {record.score:.2f} +- {record.score_std:.2f}"
        _print_entry(f"{name:<{width}}  ", text)


def _print_entry(head: str, text: str) -> None:
    """Print a line. On a terminal it is broken between words, and the further lines begin below the text."""
    if not sys.stdout.isatty():
        print_line(head + text)
        return
    indent = min(len(head), MAX_INDENT)
    width = max(_terminal_width() - indent, MIN_TEXT_WIDTH)
    lines = textwrap.wrap(head + text, width + indent, subsequent_indent=" " * indent, break_on_hyphens=False)
    for line in lines:
        print_line(line)


def _joined(names: list[str], width: int) -> list[str]:
    """Return lines of names with two spaces between them. No name is broken."""
    lines = [names[0]] if names else []
    for name in names[1:]:
        if len(lines[-1]) + 2 + len(name) <= width:
            lines[-1] += f"  {name}"
        else:
            lines.append(name)
    return lines


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns


def _print_module(module: str) -> None:
    """Print the ids of a module's environments as `--env` expects them."""
    from envs.registration import module_ids

    ids = module_ids(module)
    if not ids:
        raise LabError(f"{module} registers no environments")
    for env_id in ids:
        print_line(f"{module}:{env_id}")
