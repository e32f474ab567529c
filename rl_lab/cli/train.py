"""The command `train`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from agents.core.settings import Count, check_fields
from envs.spec import EnvSpec
from rl_lab import api
from rl_lab.cli.parsing import parse, value_of
from rl_lab.errors import LabError
from rl_lab.experiment import config, factory, launch
from rl_lab.experiment.config import RunConfig
from rl_lab.experiment.registry import agents, find_agent, is_resumable
from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import fail
from rl_lab.system.shell import PROG, as_typed
from rl_lab.training import trainer
from rl_lab.training.faults import how_to_resume


def train_command(args: list[str]) -> None:
    usage = f"{PROG} train AGENT --env NAME [options]; AGENT is one of: {', '.join(sorted(agents()))}"
    if args and args[0] in ("-h", "--help"):
        print(f"usage: {usage}\n{PROG} train AGENT --help shows the options of one")
        return
    if not args or args[0].startswith("-"):
        fail(f"which agent? {usage}")
    name, args = args[0], args[1:]
    several = [
        ("seeds", Annotated[str, tyro.conf.arg(help=SEEDS_HELP)], ""),
        ("jobs", Annotated[Count, tyro.conf.arg(help=JOBS_HELP)], 1),
    ]
    chosen, final, env_spec = configured(name, args, several)
    if chosen.jobs > 1 and not chosen.seeds:
        raise LabError(f"jobs is {chosen.jobs}; one run is one job: it needs --seeds, like 1..5")
    if chosen.seeds:
        _train_seeds(name, args, chosen.seeds, chosen.jobs, final, env_spec)
        return
    _finish(lambda: launch.train(final, env_spec))


def configured(
    name: str, args: list[str], extras: Sequence[tuple[str, Any, Any]] = ()
) -> tuple[Any, config.Config, EnvSpec]:
    """What `train NAME args` asks for: its options, with `extras` (name, type, default), the configuration and the env card."""
    entry = find_agent(name)
    file = value_of(args, "--config")
    env = value_of(args, "--env") or config.env_of(file)
    if env is None and not any(a in ("-h", "--help") for a in args):
        fail(f"which environment? add --env NAME, for example: {PROG} train {name} --env Pong")
    protocol = value_of(args, "--protocol") or config.protocol_of(file)
    env_spec = api.resolve_env(env, protocol) if env else None
    layered = config.resolve(name, env_spec, {}, preset=value_of(args, "--preset") or "default", file=file)

    # The defaults that the help shows and that the flags overrule are those of this env and preset.
    options = dataclasses.make_dataclass(
        "Train",
        [
            ("run", RunConfig),
            ("agent", type(layered.settings)),
            ("config", Annotated[str, tyro.conf.arg(help=CONFIG_HELP)]),
            *((key, kind) for key, kind, _ in extras),
        ],
    )
    about = (
        entry.paper
        if env
        else f"{entry.paper}. Defaults depend on the environment: --env NAME --help shows those of one."
    )
    defaults = options(layered.run, layered.settings, file or "", *(default for _, _, default in extras))
    chosen = parse(options, args, f"train {name}", about, default=defaults)
    check_fields(chosen)
    assert env_spec is not None
    final = config.Config(name, chosen.run, chosen.agent)
    config.check(final)
    return chosen, final, env_spec


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
        others += ["--precision", factory.make_explicit(final, env_spec).run.precision]
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
    print(f"next:  {as_typed('compare', group, *where)}")


def _belongs_to(args: list[str], i: int, flags: tuple[str, ...]) -> bool:
    """Whether args[i] is one of the flags or its value."""
    return args[i].split("=")[0] in flags or (i > 0 and args[i - 1] in flags)


LAB = [sys.executable, "-m", "rl_lab"]
SEEDS_HELP = "Train these seeds as one group, 1..5 or 1,3,8, each as a run of its own."
JOBS_HELP = "How many of the seeds are trained side by side; they share the processor's cores."
CONFIG_HELP = "A YAML file of settings, such as a run's config.yaml; flags overrule it."


def _finish(run: Callable[[], Run]) -> None:
    """Run training; after a signal say how to go on, and exit as that signal would."""
    try:
        run()
    except trainer.Interrupted as stop:
        print(f"stopped and saved; {how_to_resume(stop.run)}")
        sys.exit(128 + stop.signal)
