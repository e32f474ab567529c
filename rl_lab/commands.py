"""The commands behind `python -m rl_lab`: each turns its options into a call of the lab and prints what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from agents.base import Count, Range, check_fields
from envs.card import EnvCard
from rl_lab import api, build, checkpoint, config, runner, start
from rl_lab.cli import PROG, as_typed, fail
from rl_lab.config import RunConfig, Seed
from rl_lab.errors import LabError
from rl_lab.guard import how_to_resume
from rl_lab.registry import agents, find_agent, is_resumable, load_env_plugins
from rl_lab.run import Run

RunName = Annotated[str, tyro.conf.Positional]


def parse(options: Any, args: list[str], command: str, description: str, **kwargs: Any) -> Any:
    """The dataclass `options` filled from `args` by tyro; what tyro says of bad input becomes one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                options,
                prog=f"{PROG} {command}",
                description=description,
                args=["=".join(str(config.whole(part)) for part in arg.split("=", 1)) for arg in args],  # --steps=1e6
                config=(tyro.conf.OmitArgPrefixes,),
                **kwargs,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        fail(f"{_one_line(errors.getvalue())} (see {PROG} {command} --help)")


def _one_line(box: str) -> str:
    """The message in tyro's box of several lines, drawn in Unicode or in ASCII, with the options it suggests."""
    lines = [line.strip(" │╭╮╰╯─|+") for line in box.splitlines()]
    title, *body = [line for line in lines if line.strip("-─ ")]
    end = next(
        (i for i, line in enumerate(body) if line.startswith(("Argument helptext", "For full", "Perhaps"))), None
    )
    near = [m[0] for line in body if (m := re.match(r"--[a-z][\w-]*", line))]
    suggestion = f"; nearest: {', '.join(dict.fromkeys(near))}" if "Perhaps you meant:" in body else ""
    said = (" ".join(body[:end]) or title) + suggestion
    for pattern, plain in PLAIN_WORDS.items():
        said = re.sub(rf"Error parsing (--[\w-]+): .*{pattern}.*", plain, said)
    return said


PLAIN_WORDS = {  # what tyro says -> what it means
    r"could not convert string to float: ('.*?')": r"\1 is \2; it must be a number",
    r"invalid literal for int\(\) with base 10: ('.*?')": r"\1 is \2; it must be a whole number",
    r"expected argument count \d+ of `\[bold\](.*?)\[/bold\]`": r"\1 takes \2",
}


# --- train --------------------------------------------------------------------------------------------------------


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
    chosen, final, card = configured(name, args, several)
    if chosen.jobs > 1 and not chosen.seeds:
        raise LabError(f"jobs is {chosen.jobs}; one run is one job: it needs --seeds, like 1..5")
    if chosen.seeds:
        _train_seeds(name, args, chosen.seeds, chosen.jobs, final, card)
        return
    _finish(lambda: start.train(final, card))


def configured(
    name: str, args: list[str], extras: Sequence[tuple[str, Any, Any]] = ()
) -> tuple[Any, config.Config, EnvCard]:
    """What `train NAME args` asks for: its options, with `extras` (name, type, default), the configuration and the env card."""
    entry = find_agent(name)
    file = value_of(args, "--config")
    env = value_of(args, "--env") or config.env_of(file)
    if env is None and not any(a in ("-h", "--help") for a in args):
        fail(f"which environment? add --env NAME, for example: {PROG} train {name} --env Pong")
    protocol = value_of(args, "--protocol") or config.protocol_of(file)
    card = api.resolve_env(env, protocol) if env else None
    layered = config.resolve(name, card, {}, preset=value_of(args, "--preset") or "default", file=file)

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
    assert card is not None
    final = config.Config(name, chosen.run, chosen.agent)
    config.check(final)
    return chosen, final, card


def _train_seeds(name: str, args: list[str], given: str, jobs: int, final: config.Config, card: EnvCard) -> None:
    """Train each seed with the other options as they are."""
    from rl_lab import seeds

    wanted = seeds.parse_seeds(given)
    if value_of(args, "--seed") is not None:
        raise LabError("either --seed or --seeds, not both")
    own = ("--seeds", "--jobs", "--group", "--init-from")
    others = [a for i, a in enumerate(args) if not _belongs_to(args, i, own)]
    if final.run.init_from:  # "latest" would soon be another run
        found = str(Run.find(final.run.init_from, final.run.runs_dir))
        final = dataclasses.replace(final, run=dataclasses.replace(final.run, init_from=found))
        others += ["--init-from", found]
    if final.run.precision == "auto":  # it is measured: once for all of them
        others += ["--precision", build.make_explicit(final, card).run.precision]
    group = value_of(args, "--group") or f"{name}-{final.run.env.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    asked = dataclasses.replace(final, run=dataclasses.replace(final.run, group=group))
    try:
        work = seeds.jobs_of_group(LAB, ["train", name, *others], wanted, asked)
        seeds.train_group(work, side_by_side=jobs, group=group)
    except seeds.Stopped as stop:
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


def value_of(args: list[str], flag: str) -> str | None:
    """The value of a flag that decides which defaults apply, before the real parsing."""
    found = None
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            found = args[i + 1]
        elif arg.startswith(f"{flag}="):
            found = arg.split("=", 1)[1]
    return found


def _finish(run: Callable[[], Run]) -> None:
    """Run training; after a signal say how to go on, and exit as that signal would."""
    try:
        run()
    except runner.Interrupted as stop:
        print(f"stopped and saved; {how_to_resume(stop.run)}")
        sys.exit(128 + stop.signal)


# --- resume, eval -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResumeOptions:
    run: RunName
    """A run folder, "latest", or an unambiguous part of its name."""
    steps: Annotated[int | None, Range(1)] = None
    """Agent steps in all, to extend a run; its own number unless given."""
    address: str = ""
    """Address of the Ray cluster where its collectors run, if it is another than before. Nothing else can change."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""


def resume_command(args: list[str]) -> None:
    chosen = parse(
        ResumeOptions, args, "resume", "Go on with a run from its last checkpoint, as if it had never stopped."
    )
    check_fields(chosen)
    _finish(lambda: api.resume(chosen.run, steps=chosen.steps, address=chosen.address, runs_dir=chosen.runs_dir))


@dataclass(frozen=True)
class PlayOptions:
    """What every command that plays with a run's checkpoint asks."""

    run: RunName
    """A run folder, "latest", an unambiguous part of its name, or "demo"."""
    seed: Seed = 0
    """Seed of the games. `watch`, and `eval` of one episode, play the same one with it."""
    checkpoint: str = "auto"
    """Which weights: best, last or a step; auto is the best, else the last."""
    runs_dir: str = "runs"
    """Folder that holds the runs."""

    @property
    def which(self) -> str | None:
        """The checkpoint as `api.load` takes it."""
        return None if self.checkpoint == "auto" else self.checkpoint


@dataclass(frozen=True)
class EvalOptions(PlayOptions):
    episodes: Count = 10
    """Whole games to play."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Share of random actions; the run's own eval_epsilon unless given."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object: mean, std, returns, lengths, episodes, checkpoint, env, agent."""


def eval_command(args: list[str]) -> None:
    chosen = parse(EvalOptions, args, "eval", "Play whole games with a run's checkpoint and print the raw score.")
    check_fields(chosen)
    run = Run.find(chosen.run, chosen.runs_dir)
    load_env_plugins()
    folder = checkpoint.find(run.path, chosen.which)
    step, agent = checkpoint.read_state(folder)["steps"], build.make_player(run.config, run.card)
    checkpoint.load_network(folder, agent)  # now: a run that trains may soon have others
    result = api.play(run, agent, episodes=chosen.episodes, epsilon=chosen.epsilon, seed=chosen.seed)
    if chosen.json:
        about = {"checkpoint": str(folder), "env": run.card.name, "agent": run.config.agent}
        print(json.dumps(result.to_dict() | about))
    else:
        print(f"{run.config.agent} on {run.card}\ncheckpoint {folder.name} of step {step:,}: {result}")


# --- list, doctor -------------------------------------------------------------------------------------------------


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


def doctor_command(args: list[str]) -> None:
    if args in (["-h"], ["--help"]):
        print(f"usage: {PROG} doctor\nWhat this machine has; exit code 1 if something is wrong with it.")
        return
    if args:
        raise LabError(f"doctor takes no options, not {' '.join(args)}")
    from rl_lab.doctor import report

    lines, problems = report()
    print("\n".join([*lines, *(f"PROBLEM: {p}" for p in problems)]))
    sys.exit(1 if problems else 0)
