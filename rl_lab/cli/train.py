"""The command `train`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable
from typing import Annotated

import tyro

from agents.core.settings import Count
from envs.spec import EnvSpec
from rl_lab.cli.parsing import value_of
from rl_lab.cli.training_options import parse_training_options
from rl_lab.errors import LabError
from rl_lab.experiment import config, launch
from rl_lab.experiment.registry import agents, is_resumable
from rl_lab.experiment.run import Run
from rl_lab.experiment.training_plan import plan_training
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG, shell_command
from rl_lab.training import trainer
from rl_lab.training.faults import how_to_resume


def train_command(args: list[str]) -> None:
    usage = f"{PROG} train AGENT --env NAME [options]; AGENT is one of: {', '.join(sorted(agents()))}"
    if args and args[0] in ("-h", "--help"):
        print(f"usage: {usage}\n{PROG} train AGENT --help shows the options of one")
        return
    if not args or args[0].startswith("-"):
        exit_with_error(f"which agent? {usage}")
    name, args = args[0], args[1:]
    several = [
        ("seeds", Annotated[str, tyro.conf.arg(help=SEEDS_HELP)], ""),
        ("jobs", Annotated[Count, tyro.conf.arg(help=JOBS_HELP)], 1),
    ]
    chosen, final, env_spec = parse_training_options(name, args, several)
    if chosen.jobs > 1 and not chosen.seeds:
        raise LabError(f"jobs is {chosen.jobs}; one run is one job: it needs --seeds, like 1..5")
    if chosen.seeds:
        _train_seeds(name, args, chosen.seeds, chosen.jobs, final, env_spec)
        return
    _finish(lambda: launch.train(final, env_spec))


def _train_seeds(name: str, args: list[str], given: str, jobs: int, final: config.Config, env_spec: EnvSpec) -> None:
    """Train each seed with the other options as they are."""
    from rl_lab.experiment import seed_group

    wanted = seed_group.parse_seeds(given)
    if value_of(args, "--seed") is not None:
        raise LabError("either --seed or --seeds, not both")
    own = ("--seeds", "--jobs", "--group", "--init-from")
    others = [a for i, a in enumerate(args) if not _belongs_to(args, i, own)]
    if final.run.init_from:  # "latest" would soon be another run
        found = str(Run.find(final.run.init_from, final.run.runs_dir))
        final = dataclasses.replace(final, run=dataclasses.replace(final.run, init_from=found))
        others += ["--init-from", found]
    if final.run.precision == "auto":  # it is measured: once for all of them
        others += ["--precision", plan_training(final, env_spec).config.run.precision]
    group = value_of(args, "--group") or f"{name}-{final.run.env.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    asked = dataclasses.replace(final, run=dataclasses.replace(final.run, group=group))
    try:
        work = seed_group.jobs_of_group(LAB, ["train", name, *others], wanted, asked)
        seed_group.train_group(work, side_by_side=jobs, group=group)
    except seed_group.Stopped as stop:
        how = "goes on with it" if is_resumable(name) else "does the seeds that were not begun"
        same = ["--group", group, *(["--init-from", final.run.init_from] if final.run.init_from else [])]
        print(f"stopped and saved; the same command with {shlex.join(same)} {how}")
        sys.exit(128 + stop.signal)
    where = [] if final.run.runs_dir == "runs" else ["--runs-dir", final.run.runs_dir]
    print(f"next:  {shell_command('compare', group, *where)}")


def _belongs_to(args: list[str], i: int, flags: tuple[str, ...]) -> bool:
    """Whether args[i] is one of the flags or its value."""
    return args[i].split("=")[0] in flags or (i > 0 and args[i - 1] in flags)


LAB = [sys.executable, "-m", "rl_lab"]
SEEDS_HELP = "Train these seeds as one group, 1..5 or 1,3,8, each as a run of its own."
JOBS_HELP = "How many of the seeds are trained side by side; they share the processor's cores."


def _finish(run: Callable[[], Run]) -> None:
    """Run training; after a signal say how to go on, and exit as that signal would."""
    try:
        run()
    except trainer.Interrupted as stop:
        print(f"stopped and saved; {how_to_resume(stop.run)}")
        sys.exit(128 + stop.signal)
