"""The command `sweep`: grids and searches on Ray."""

from __future__ import annotations

import dataclasses
import re
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console

from agents.core.settings import ConfigError, Count, CountOrZero, NonNegative, Positive, check_fields
from rl_lab.cli.compare import compare_command
from rl_lab.cli.parsing import parse, value_of
from rl_lab.cli.train import configured
from rl_lab.distributed.ray_cluster import check_room, connected, require_ray
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config, Seed
from rl_lab.experiment.run import Run
from rl_lab.experiment.seed_group import parse_seeds
from rl_lab.system.exit_codes import fail
from rl_lab.system.shell import PROG, as_typed
from rl_lab.tracking.run_table import table

if TYPE_CHECKING:
    from rl_lab.sweep.sweep import Sweep

USAGE = f"""usage: {PROG} sweep grid --agents A,B --envs X,Y --seeds 1..5 [options] [settings]
       {PROG} sweep search AGENT --env E --trials N [options] [settings]
       {PROG} sweep resume PATH [--address ADDR]
       {PROG} sweep status PATH

Many runs on this machine or on a cluster, by Ray. PATH is the sweep's folder, runs/sweeps/<group>.
{PROG} sweep grid --help and sweep search --help show the options; settings are those of `train`."""


def sweep_command(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return
    verbs = {"grid": _grid, "search": _search, "resume": _resume, "status": _status}
    if args[0] not in verbs:
        fail(f"sweep {args[0]}: it is sweep {', sweep '.join(verbs)}")
    require_ray()
    verbs[args[0]](args[1:])


@dataclass(frozen=True)
class SweepOptions:
    """What grids and searches ask alike."""

    cpu_per_run: Positive = 1.0
    """Processor cores that a run takes; so many run side by side as there are."""
    gpu_per_run: NonNegative = 0.0
    """Share of a GPU that a run takes: .25 puts four on one."""
    retries: CountOrZero = 3
    """Times that a run which breaks, with its process or its node, is taken up again from its last checkpoint."""
    address: str = ""
    """The Ray cluster: host:port, "auto" for this machine's; else RAY_ADDRESS, else one that begins and ends with the sweep."""


@dataclass(frozen=True)
class GridOptions(SweepOptions):
    agents: str = ""
    """Agents: dqn,double_dqn."""
    envs: str = ""
    """Environments: Pong,CartPole-v1."""
    seeds: str = "1..5"
    """Seeds of each agent on each environment: 1..5 or 1,3,8."""


@dataclass(frozen=True)
class SearchOptions(SweepOptions):
    trials: Count = 20
    """Settings to try, the agent's own first."""
    scheduler: Literal["none", "asha", "pbt"] = "asha"
    """asha ends trials that lag behind early (Li et al. 2020); pbt lets them take over each other's (Jaderberg et al. 2017)."""
    space: str = ""
    """YAML file of the settings to vary; else configs/search.yaml's of the agent."""
    objective: Literal["mean", "best", "final"] = "mean"
    """What is to be large: the mean of all evaluations (the area under the curve), the best, or the last."""
    finalists: Count = 3
    """The best trials, of which each is trained with more seeds before one is chosen; 1 chooses by the trials alone."""
    final_seeds: Count = 3
    """How many more seeds."""
    search_seed: Seed = 0
    """Seed of the search itself."""
    check_seeds: str = "1..3"
    """Fresh seeds that the best settings are trained with at the end, beside the agent's own; below 1,000,000."""


def _options(kind: Any, args: list[str], about: str) -> tuple[Any, list[str]]:
    """The options of a sweep, and what is left: the settings of its runs."""
    flags = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(kind)}
    own, rest, mine = [], [], False
    for arg in args:
        if arg.startswith("--"):
            mine = arg.split("=")[0].replace("_", "-") in flags or arg == "--help"
        (own if mine else rest).append(arg)
    chosen = parse(kind, own, f"sweep {kind.__name__.removesuffix('Options').lower()}", about)
    check_fields(chosen)
    return chosen, rest


def _new(kind: str, chosen: SweepOptions, group: str, runs_dir: str, asked: dict[str, Any]) -> Sweep:
    from rl_lab.sweep.sweep import Sweep

    if group and not re.fullmatch(r"\w[\w .+-]*", group):
        raise LabError(f"group is {group!r}; a sweep's is the name of its folder: letters, digits and ._+- ")
    now = time.strftime("%Y%m%d-%H%M%S")
    name = group or f"{kind}-{now}"
    return Sweep(kind, now, name, runs_dir, chosen.cpu_per_run, chosen.gpu_per_run, chosen.retries, asked)


def _names(text: str, flag: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise LabError(f"{flag} is {text!r}; it must be names with commas between them, each once")
    return names


def _grid(args: list[str]) -> None:
    chosen, settings = _options(
        GridOptions, args, "Train every agent on every environment with every seed, without pruning."
    )
    seeds = parse_seeds(chosen.seeds)
    _refuse(settings, {"--env": "envs", "--seed": "seeds"})
    from rl_lab.sweep.grid import Cell, trials

    cells = [
        Cell(*configured(agent, ["--env", env, *settings])[1:])
        for agent in _names(chosen.agents, "agents")
        for env in _names(chosen.envs, "envs")
    ]
    run = cells[0].config.run
    _check_collectors(cells[0].config)
    sweep = _new("grid", chosen, run.group, run.runs_dir, {})
    sweep = dataclasses.replace(sweep, asked={"trials": trials(sweep, cells, seeds)})
    sweep.write()
    _go_on(sweep, chosen.address)


def _refuse(settings: list[str], flags: dict[str, str]) -> None:
    """Raise LabError where flags of a single run are among the settings; each with the option that takes its place."""
    for flag, instead in flags.items():
        if (given := value_of(settings, flag)) is not None:
            raise LabError(f"{flag[2:]} is {given!r}; a sweep has many, so it must be {instead}")


def _check_collectors(config: Config) -> None:
    if config.run.collectors:
        raise ConfigError(
            f"collectors is {config.run.collectors}; a sweep's runs play where they learn, so it must be 0"
        )


def _search(args: list[str]) -> None:
    if not args or (args[0].startswith("-") and "--help" not in args):
        fail(f"which agent? {PROG} sweep search AGENT --env E")
    name, args = (args[0], args[1:]) if not args[0].startswith("-") else ("", args)
    chosen, settings = _options(SearchOptions, args, "Search for settings of an agent on an environment.")
    _refuse(settings, {"--seed": "search_seed"})
    _, config, env_spec = configured(name, settings)
    if not config.run.eval_every:
        raise ConfigError("eval_every is 0; a search judges by evaluations, so it must be at least 1")
    if config.run.eval_every > config.run.steps:
        raise ConfigError(
            f"eval_every is {config.run.eval_every}; a search needs it to be at most steps, {config.run.steps}"
        )
    _check_collectors(config)
    if max(parse_seeds(chosen.check_seeds)) >= 10**6:
        raise LabError(f"check_seeds is {chosen.check_seeds!r}; seeds from 1,000,000 on are the search's own")
    from rl_lab.sweep.space import read_space
    from rl_lab.sweep.trial import plain

    read_space(config, chosen.space, on_the_way=chosen.scheduler == "pbt")  # refused before there is a folder
    sweep = _new("search", chosen, config.run.group, config.run.runs_dir, {})
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, group=sweep.group))
    trial = plain(config, env_spec, Run.folder_of(config, env_spec) / sweep.began)
    sweep = dataclasses.replace(sweep, asked={**dataclasses.asdict(chosen), "trial": trial})
    sweep.write()
    _go_on(sweep, chosen.address)


@dataclass(frozen=True)
class ResumeOptions:
    path: Annotated[str, tyro.conf.Positional]
    """The sweep's folder, runs/sweeps/<group>."""
    address: str = ""
    """The Ray cluster, as for the sweep's beginning."""


def _resume(args: list[str]) -> None:
    from rl_lab.sweep.sweep import Sweep

    chosen = parse(ResumeOptions, args, "sweep resume", "Go on with a sweep: what is finished stays as it is.")
    _go_on(Sweep.read(chosen.path), chosen.address)


@dataclass(frozen=True)
class StatusOptions:
    path: Annotated[str, tyro.conf.Positional]
    """The sweep's folder, runs/sweeps/<group>."""


def _status(args: list[str]) -> None:
    from rl_lab.sweep.sweep import Sweep, lines_of

    chosen = parse(StatusOptions, args, "sweep status", "How far a sweep is, from its run folders.")
    sweep = Sweep.read(chosen.path)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=200)
    console.print(table(lines_of(sweep), f"group {sweep.group}"))


def _go_on(sweep: Sweep, address: str) -> None:
    """Carry a sweep out from where it stands."""
    from rl_lab.sweep.grid import grid
    from rl_lab.sweep.search import check, search
    from rl_lab.sweep.sweep import Stopped

    runs = f"{len(sweep.asked['trials'])} runs" if sweep.kind == "grid" else f"{sweep.asked['trials']} trials"
    print(f"{runs}, group {sweep.group}, in {sweep.path}")
    group = sweep.group
    try:
        with connected(address):
            check_room(sweep.cpu_per_run, sweep.gpu_per_run)
            if sweep.kind == "grid":
                grid(sweep, sweep.asked["trials"])
            else:
                settings = search(sweep)
                if not settings:
                    print("the best are the agent's own settings: nothing is left to check")
                    return
                print("best: " + " ".join(f"--{key.replace('_', '-')} {value}" for key, value in settings.items()))
                print(f"beside the agent's own settings, with the fresh seeds {sweep.asked['check_seeds']}:")
                group = check(sweep, settings).group
    except LabError:
        sweep.forget_if_empty()
        raise
    except (Stopped, KeyboardInterrupt) as stop:
        number = stop.signal if isinstance(stop, Stopped) else signal.SIGINT
        print(f"stopped; go on with:  {as_typed('sweep', 'resume', sweep.path)}")
        sys.exit(128 + number)
    where = [] if sweep.runs_dir == "runs" else ["--runs-dir", sweep.runs_dir]
    if sweep.kind == "search":
        compare_command([group, *where, "--html", ""])
    print(f"next:  {as_typed('compare', group, *where)}")
