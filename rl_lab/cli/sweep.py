"""The command `sweep`: grids and searches of many runs with Ray Tune."""

from __future__ import annotations

import importlib

from rl_lab.distributed.ray_cluster import require_ray
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG

USAGE = f"""usage: {PROG} sweep grid --agents A,B --envs X,Y --seeds 1..5 [options] [settings]
       {PROG} sweep search AGENT --env E --trials N [options] [settings]
       {PROG} sweep suite NAME [--agents A,B] [--envs X,Y] [--seeds 1..5] [options]
       {PROG} sweep resume PATH [--address ADDR]
       {PROG} sweep status PATH

Train many runs on this machine or on a cluster, with Ray Tune. PATH is the folder of a sweep, runs/sweeps/<group>.
{PROG} sweep grid --help, sweep search --help and sweep suite --help show the options. The settings are those of
`train`."""
SUBCOMMANDS = ("grid", "search", "suite", "resume", "status")


def sweep_command(args: list[str]) -> None:
    """Run `sweep grid`, `sweep search`, `sweep suite`, `sweep resume` or `sweep status`."""
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return
    name, *args = args
    if name not in SUBCOMMANDS:
        exit_with_error(f"unknown command: sweep {name}; the commands are sweep {', sweep '.join(SUBCOMMANDS)}")
    require_ray("sweep")
    module = importlib.import_module(f"rl_lab.cli.sweep_{name}")
    getattr(module, f"sweep_{name}_command")(args)
