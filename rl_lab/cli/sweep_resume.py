"""The command `sweep resume`, and the execution of sweeps by all commands."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Annotated

import tyro

from rl_lab.cli.parsing import parse
from rl_lab.errors import LabError
from rl_lab.sweep.sweep import Sweep
from rl_lab.system.exit_codes import CommandExit
from rl_lab.system.printable import print_line, print_wrapped
from rl_lab.system.quiet_output import quiet_if_lost
from rl_lab.system.shell import shell_command


@dataclass(frozen=True)
class SweepResumeOptions:
    """The options of `sweep resume`."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of the sweep, runs/sweeps/<group>."""
    address: str = ""
    """Address of the Ray cluster, as for `sweep grid`."""


def sweep_resume_command(args: list[str]) -> None:
    """Run the command `sweep resume`."""
    description = "Continue an interrupted sweep. Finished runs are not trained again."
    options = parse(SweepResumeOptions, args, "sweep resume", description)
    from rl_lab.sweep.old_names import register_old_names

    register_old_names()
    run_sweep(Sweep.read(options.path), options.address)


@quiet_if_lost()
def run_sweep(sweep: Sweep, address: str) -> None:
    """Run a new sweep or continue an interrupted one, and print the next command. Exit with 128 + n after signal n.

    Args:
        sweep: The sweep. Its folder exists.
        address: Address of the Ray cluster.
    """
    from rl_lab.cli.compare import compare_command
    from rl_lab.distributed.ray_cluster import check_resources, connected
    from rl_lab.sweep.tuner import SweepStopped

    if sweep.kind == "grid":
        print_wrapped(f"{len(sweep.request['trials'])} runs, group {sweep.group}, in {sweep.path}")
    else:
        print_wrapped(f"{sweep.request['trials']} trials, group {sweep.group}, in {sweep.path}")
    cluster = address or os.environ.get("RAY_ADDRESS", "")
    if cluster in ("", "local"):
        print_line("starting Ray on this machine, which takes some seconds")
    else:
        print_line(f"connecting to the Ray cluster at {cluster}")
    try:
        with connected(address):
            check_resources(sweep.cpu_per_run, sweep.gpu_per_run)
            group = _run_grid(sweep) if sweep.kind == "grid" else _run_search(sweep)
    except LabError:
        sweep.remove_if_not_started()
        raise
    except (SweepStopped, KeyboardInterrupt) as stop:
        number = stop.signal if isinstance(stop, SweepStopped) else signal.SIGINT
        print_line(f"stopped; continue with:  {shell_command('sweep', 'resume', sweep.path)}")
        raise CommandExit(128 + number) from None
    if group is None:
        print_line(f"next:  {shell_command('list', 'runs', sweep.group, *_runs_dir_args(sweep))}")
        return
    runs_dir = _runs_dir_args(sweep)
    if sweep.kind == "search":
        compare_command([group, *runs_dir, "--html", ""])
    print_line(f"next:  {shell_command('compare', group, *runs_dir)}")


def _runs_dir_args(sweep: Sweep) -> list[str]:
    """Return the option --runs-dir of commands about the runs of the sweep, or nothing for the default."""
    return [] if sweep.runs_dir == "runs" else ["--runs-dir", sweep.runs_dir]


def _run_grid(sweep: Sweep) -> str:
    """Run a grid. Return its group."""
    from rl_lab.sweep.grid import run_grid

    run_grid(sweep)
    return sweep.group


def _run_search(sweep: Sweep) -> str | None:
    """Run a search. Return the group of the final check, or None if the agent's own settings won."""
    from rl_lab.sweep.search import run_check, run_search

    settings = run_search(sweep)
    if not settings:
        print("the agent's own settings are the best: there is nothing to check")
        return None
    print_line("best: " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items()))
    print_line(f"check against the agent's own settings, with the fresh seeds {sweep.request['check_seeds']}:")
    return run_check(sweep, settings).group
