"""The command `completion`: scripts for shells, and the words that these scripts ask for.

The script of a shell calls `completion words WORD...` with the words before the cursor, and receives the candidates for
the last one. So new agents, options and runs are completed without another installation of the script.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import typing
from collections.abc import Sequence
from pathlib import Path

import tyro

from rl_lab.errors import USER_ERRORS, LabError

SCRIPTS = {
    "bash": """_rl_lab() {
    local IFS=$'\\n'
    COMPREPLY=($(rl-lab completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _rl_lab rl-lab""",
    "zsh": """#compdef rl-lab
_rl_lab() {
    local -a candidates
    candidates=("${(@f)$(rl-lab completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then compadd -Q -- "${candidates[@]}"; else _files; fi
}
compdef _rl_lab rl-lab""",
    "fish": """function _rl_lab
    set -l candidates (rl-lab completion words (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if test -n "$candidates"
        printf '%s\\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c rl-lab -f -a '(_rl_lab)'""",
}

USAGE = """usage: rl-lab completion bash|zsh|fish

Print a script that completes commands, agents, options and runs of `rl-lab`.

  bash    eval "$(rl-lab completion bash)"        in ~/.bashrc
  zsh     eval "$(rl-lab completion zsh)"         in ~/.zshrc, after compinit
  fish    rl-lab completion fish | source         in ~/.config/fish/config.fish"""

OPTIONS = {  # command -> module:Class of its options
    "resume": "rl_lab.cli.resume:ResumeOptions",
    "eval": "rl_lab.cli.evaluate:EvalOptions",
    "watch": "rl_lab.cli.watch:WatchArguments",
    "play": "rl_lab.cli.play:HumanPlayOptions",
    "look": "rl_lab.cli.look:LookOptions",
    "compare": "rl_lab.cli.compare:CompareOptions",
    "export": "rl_lab.cli.export:ExportOptions",
    "push": "rl_lab.cli.push:PushOptions",
    "pull": "rl_lab.cli.pull:PullOptions",
    "results": "rl_lab.cli.results:ResultsOptions",
    "sync": "rl_lab.cli.sync:SyncOptions",
    "dash": "rl_lab.cli.dash:DashOptions",
    "rm": "rl_lab.cli.remove:RemoveOptions",
    "clean": "rl_lab.cli.clean:CleanOptions",
    "list runs": "rl_lab.cli.list_runs:ListRunsOptions",
    "sweep grid": "rl_lab.cli.sweep_grid:GridOptions",
    "sweep search": "rl_lab.cli.sweep_search:SearchOptions",
    "sweep suite": "rl_lab.cli.sweep_suite:SuiteOptions",
    "sweep resume": "rl_lab.cli.sweep_resume:SweepResumeOptions",
}

TAKE_RUNS = ("resume", "eval", "watch", "look", "export", "push", "compare", "sync", "dash", "rm", "clean")
"""Commands whose words are names of runs."""

TAKE_AGENTS = (("train",), ("sweep", "search"), ("list", "presets"))
"""Words after which the name of an agent stands."""

TAKE_SUITES = (("results",), ("sweep", "suite"))
"""Words after which the name of a suite stands."""

TAKE_SETTINGS = ("train", "sweep grid", "sweep search")
"""Commands that accept the settings of a run and of an agent."""

SUBCOMMANDS = {
    "list": ("runs", "agents", "envs", "presets", "demos"),
    "sweep": ("grid", "search", "suite", "resume", "status"),
    "completion": tuple(SCRIPTS),
}


def completion_command(args: list[str]) -> None:
    """Print the script of a shell, or the candidates that a script asks for.

    Raises:
        LabError: The shell is unknown.
    """
    if args[:1] == ["words"]:
        print("\n".join(candidates(args[1:])))
    elif not args or args[0] in ("-h", "--help"):
        print(USAGE)
    elif len(args) == 1 and args[0] in SCRIPTS:
        print(SCRIPTS[args[0]])
    else:
        raise LabError(f"completion {' '.join(args)}: the shells are {', '.join(SCRIPTS)}")


def candidates(words: Sequence[str]) -> list[str]:
    """Return the words that may stand in place of the last one, in alphabetical order.

    Args:
        words: The words after `rl-lab`. The last one is incomplete, and may be empty.
    """
    *before, last = words or [""]
    found = _candidates_after(before, last)
    return sorted(word for word in set(found) if word.startswith(last))


def _candidates_after(before: Sequence[str], last: str) -> list[str]:
    """Return candidates for the word after `before`, some of which may not begin with `last`."""
    if not before:
        from rl_lab.cli.main import COMMANDS

        return [*COMMANDS, "--help", "--version"]
    command = before[0]
    if last.startswith("-"):
        return _flags(before)
    if before[-1].startswith("--"):
        return _values_of_flag(before[-1])
    if len(before) == 1 and command in SUBCOMMANDS:
        return list(SUBCOMMANDS[command])
    if tuple(before) in TAKE_AGENTS:
        from rl_lab.experiment.registry import agents

        return list(agents())
    if tuple(before) in TAKE_SUITES:
        from rl_lab.suite.suite import suite_names

        return suite_names()
    return _run_names() if command in TAKE_RUNS else []


def _flags(before: Sequence[str]) -> list[str]:
    """Return the flags of a command."""
    names = {"help"}
    command = " ".join(before[:2]) if before[0] in SUBCOMMANDS else before[0]
    if command in OPTIONS:
        module, _, class_name = OPTIONS[command].partition(":")
        names |= _option_names(getattr(importlib.import_module(module), class_name))
    if command in TAKE_SETTINGS:
        names |= _training_flags(before[-1] if len(before) < 2 else before[1])
    return [f"--{name.replace('_', '-')}" for name in names]


def _training_flags(agent: str) -> set[str]:
    """Return the names of the settings of a run and of an agent, and the options of `train`."""
    from rl_lab.cli.train import TRAIN_OPTIONS
    from rl_lab.experiment.registry import find_agent
    from rl_lab.experiment.run_config import RunConfig

    names = {option.name for option in TRAIN_OPTIONS} | _field_names(RunConfig) | {"config", "env_arg", "wrapper"}
    with contextlib.suppress(*USER_ERRORS):
        names |= _field_names(find_agent(agent).load_config_class())
    return names - {"env_args", "wrappers"}


def _option_names(options: typing.Any) -> set[str]:
    """Return the names of the options of a command, without its positional arguments."""
    hints = typing.get_type_hints(options, include_extras=True)
    return {
        name for name in _field_names(options) if tyro.conf.Positional not in getattr(hints[name], "__metadata__", ())
    }


def _field_names(options: typing.Any) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}


def _values_of_flag(flag: str) -> list[str]:
    """Return the values of a flag, or nothing if they cannot be listed: the shell then completes names of files."""
    from rl_lab.experiment.run_config import RunConfig

    name = flag.removeprefix("--").replace("-", "_")
    if name == "init_from":
        return _run_names()
    hint = typing.get_type_hints(RunConfig).get(name)
    return [str(value) for value in typing.get_args(hint)] if typing.get_origin(hint) is typing.Literal else []


def _run_names() -> list[str]:
    """Return "latest", "demo", and the names of the run folders in runs/."""
    from rl_lab.experiment.run_search import find_run_folders

    names = [folder.name for folder in find_run_folders(Path("runs"), max_depth=3).runs]
    return ["latest", "demo", *names]
