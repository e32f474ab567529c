"""Minutes to a score, side by side: our agents, Stable-Baselines3's, and a plain DQN in one file.

    python scripts/race.py Pong                      # to a score of 18, at most 60 minutes a run
    python scripts/race.py Breakout --target 100
    python scripts/race.py Freeway --target 25 --minutes 30 --agents dqn,ppo --seeds 1,2,3
    python scripts/race.py table [Pong]              # print the results as Markdown
    python scripts/race.py picture [Pong]            # draw docs/race-pong.png

Each agent trains until an evaluation reaches the target, or until its minutes are over. All agents have the same cores
and the same evaluations. The runs of the first seed are trained first, then those of the next seed, and
results/race-pong.json is written after each run. Minutes are those of the metric time/minutes: they include
evaluations and checkpoints, but not the start of the process. OMP_NUM_THREADS limits the threads of each run.

Repeat the command after an interruption: finished runs are skipped, an unfinished run of our agents is resumed, and its
minutes continue. An unfinished run of Stable-Baselines3 or of the single file starts again.

Our agents train for as many agent steps as fit into the minutes. Stable-Baselines3's keep the number of steps of
rl-baselines3-zoo, because their schedules depend on it: a run may end before its minutes are over. The agent
single_file is CleanRL's DQN in outline (contenders/single_file_training.py), and plays Atari games only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from result_data import ResultTopic, read_topic
from result_tables import minutes_text, race_table, score_text, steps_text
from training_processes import (
    RL_LAB,
    ROOT,
    add_run,
    fast_formats,
    file_lock,
    find_group,
    machine,
    read_evaluations,
    read_metrics,
    read_topic_file,
    recorded_commits,
    replace_file,
    run_folders,
    single_instance,
    train_all,
    train_or_resume,
)

from rl_lab import api
from rl_lab.errors import USER_ERRORS, LabError
from rl_lab.experiment.registry import find_agent, is_resumable
from rl_lab.experiment.seed_list import parse_seeds
from rl_lab.system.cores import share_of_cores
from rl_lab.system.portable_name import portable_name
from rl_lab.system.printable import count_of
from rl_lab.system.signals import stop_signals_interrupt

WORK = ROOT / ".benchmark" / "race"
RESULTS = ROOT / "results"
DOCS = ROOT / "docs"
SINGLE_FILE = "single_file"
SINGLE_FILE_TRAINING = Path("scripts", "contenders", "single_file_training.py")
AGENTS = ("dqn", "dueling_double_dqn", "rainbow", "ppo", "a2c", "pqn", "sb3_dqn", "sb3_ppo", SINGLE_FILE)
BASELINE_PREFIX = "sb3_"
UNLIMITED_STEPS = 1_000_000_000  # agent steps; the minutes end the run
GROUP_FIELDS = ("command", "machine", "setting")  # in which the runs of a group agree
STOPPED = (0, 143, -15)  # exit codes of a process that SIGTERM has stopped, or that ended by itself just before
INTERRUPTED = (130, 143, -2, -15)  # exit codes of a process that the person has interrupted


@dataclass(frozen=True)
class Race:
    """Settings of all runs of a race. The fields are those of a file of results."""

    env: str
    target: float
    minutes_limit: float
    eval_every: int  # agent steps
    eval_episodes: int


@dataclass(frozen=True)
class Training:
    """One run to train."""

    race: Race
    agent: str
    seed: int
    threads: int
    machine: str
    setting: str

    def words(self, seed: str) -> list[str]:
        """Return the words of the command after the name of Python."""
        race = self.race
        options = ["--env", race.env, "--target", f"{race.target:g}"]
        options += ["--eval-every", str(race.eval_every), "--eval-episodes", str(race.eval_episodes), "--seed", seed]
        if self.agent == SINGLE_FILE:
            return [str(SINGLE_FILE_TRAINING), *options]
        options += ["--stop-at-target", "--wandb", "disabled"]
        if not self.agent.startswith(BASELINE_PREFIX):
            options += ["--steps", str(UNLIMITED_STEPS)]
        return ["-m", "rl_lab", "train", self.agent, *options]

    def process(self) -> list[str]:
        """Return the command of the process."""
        words = self.words(str(self.seed))
        if self.agent == SINGLE_FILE:
            command = [sys.executable, str(ROOT / SINGLE_FILE_TRAINING), *words[1:]]
        else:
            command = [*RL_LAB, *words[2:]]
        return [*command, "--runs-dir", str(self.folder)]

    @property
    def group(self) -> dict[str, Any]:
        """Return the group of the run in a file of results, without runs."""
        command = shlex.join(["python", *self.words("S")])
        return {
            "agent": self.agent,
            "machine": self.machine,
            "setting": self.setting,
            "stopped_at_target": True,
            "command": f"OMP_NUM_THREADS={self.threads} {command}",
            "note": "",
        }

    @property
    def folder(self) -> Path:
        """Return the folder of the run."""
        return WORK / "runs" / race_name(self.race.env) / self.agent / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.agent} on {self.race.env}, seed {self.seed}"


class TimeLimit:
    """Says when the minutes of a run are over.

    The process writes metrics.jsonl anew when it begins to train. From then on, and between two lines of the file, the
    clock counts.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.is_over = False
        self._folder = folder
        self._minutes = minutes
        self._old_files = metrics_files(folder)
        self._logged = logged_minutes(folder)
        self._logged_at: float | None = None  # None until the process begins to train

    def __call__(self) -> bool:
        """Return True if the minutes are over."""
        logged = logged_minutes(self._folder)
        has_begun = self._logged_at is None and not metrics_files(self._folder) <= self._old_files
        if has_begun or logged != self._logged:
            self._logged = logged
            self._logged_at = time.monotonic()
        minutes = logged
        if self._logged_at is not None:
            minutes += (time.monotonic() - self._logged_at) / 60
        self.is_over = minutes >= self._minutes
        return self.is_over


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise LabError."""
        raise LabError(message)


def main(words: Sequence[str]) -> None:
    """Run the command of the command line. Exit with code 2 if the command is wrong."""
    try:
        if words[:1] == ["table"]:
            print_tables(words[1:])
        elif words[:1] == ["picture"]:
            draw_pictures(words[1:])
        else:
            run_race(words)
    except USER_ERRORS as error:
        print(f"race.py: {error}", file=sys.stderr)
        sys.exit(2)


def run_race(words: Sequence[str]) -> None:
    """Train all runs that have no result yet. Exit with code 1 if a run fails."""
    options = parse_race(words)
    trainings = plan(options)
    path = options.results / file_name(options.env)
    check_same_race(path, trainings[0].race)
    with single_instance(WORK), stop_signals_interrupt():
        try:
            succeeded = train_all(lambda training: train(training, path), trainings, options.jobs)
        except KeyboardInterrupt:
            sys.exit("interrupted; the same command continues")
    if not succeeded:
        sys.exit(1)


def print_tables(words: Sequence[str]) -> None:
    """Print the command `table`: a paragraph and a table for each race."""
    for topic in read_races(parse_report("table", words)):
        print(f"{describe(topic)}\n\n{race_table(topic)}\n")


def draw_pictures(words: Sequence[str]) -> None:
    """Run the command `picture`: draw a picture of each race."""
    from race_picture import draw_race  # needs matplotlib, which training does not

    options = parse_report("picture", words)
    for topic in read_races(options):
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"{topic.name}.png"
        draw_race(topic, path)
        print(path)


def parse_race(words: Sequence[str]) -> argparse.Namespace:
    """Return the options of a race."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env", help="name of an Atari game, or a Gymnasium id")
    parser.add_argument("--target", type=finite_number, help="mean score of an evaluation (default: that of dqn)")
    parser.add_argument("--minutes", type=positive_number, default=60.0, help="wall time after which a run is stopped")
    parser.add_argument("--agents", help=f"names, separated by commas (default: {','.join(AGENTS)})")
    parser.add_argument("--seeds", default="1..5", help="1..5 or 1,3,8")
    parser.add_argument(
        "--eval-every", type=whole_number, help="agent steps between two evaluations (default: those of dqn)"
    )
    parser.add_argument("--eval-episodes", type=whole_number, default=10, help="episodes of an evaluation")
    parser.add_argument("--jobs", type=whole_number, default=1, help="runs side by side, which share the cores evenly")
    parser.add_argument("--machine", default=describe_machine(), help="name of the machine in the results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args(words)


def parse_report(command: str, words: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command `table` or `picture`."""
    parser = OneLineParser(prog=f"race.py {command}")
    parser.add_argument("env", nargs="?", help="environment (default: all races)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    if command == "picture":
        parser.add_argument("--out", type=Path, default=DOCS, help="folder of the pictures")
    return parser.parse_args(words)


def plan(options: argparse.Namespace) -> list[Training]:
    """Return the runs in the order of training: all agents with the first seed, then with the next one.

    Raises:
        LabError, ConfigError, EnvError: The environment, an agent or a seed is wrong, or there is no target.
    """
    config, env_spec = api.resolve_run("dqn", options.env, {})
    env = env_spec.name if options.env.lower() == env_spec.name.lower() else options.env  # pong becomes Pong
    is_atari_game = env_spec.backend == "ale" and env == env_spec.name
    target = config.run.target if options.target is None else options.target
    if target is None:
        raise LabError(f"{env} has no target score of its own; name one with --target")
    race = Race(
        env=env,
        target=float(target),
        minutes_limit=options.minutes,
        eval_every=options.eval_every or config.run.eval_every,
        eval_episodes=options.eval_episodes,
    )
    agents = [agent for agent in AGENTS if is_atari_game or agent != SINGLE_FILE]
    if options.agents is not None:
        agents = list(dict.fromkeys(options.agents.split(",")))
    for agent in agents:
        if agent != SINGLE_FILE:
            find_agent(agent)
        elif not is_atari_game:
            raise LabError(f"{SINGLE_FILE} cannot use {env}; it plays Atari games, by names such as Pong")
    threads = min(torch.get_num_threads(), share_of_cores(runs=options.jobs))  # the first one is OMP_NUM_THREADS
    setting = f"{count_of(threads, 'thread')}, {count_of(options.jobs, 'run')} at a time"
    return [
        Training(race, agent, seed, threads, options.machine, setting)
        for seed in parse_seeds(options.seeds)
        for agent in agents
    ]


def check_same_race(path: Path, race: Race) -> None:
    """Raise LabError if the results in a file are those of another race."""
    topic = read_topic_file(path)
    for field, value in asdict(race).items():
        if topic and topic[field] != value:
            raise LabError(f"{path} has runs with {field} {topic[field]}, not {value}; choose another --results folder")


def train(training: Training, path: Path) -> bool:
    """Train a run and write its result, unless there is one. Return False if the run fails."""
    group = find_group(read_topic_file(path), training.group, GROUP_FIELDS)
    if group is not None and any(run["seed"] == training.seed for run in group["runs"]):
        print(f"{training}: has a result", flush=True)
        return True
    print(f"{training}: training", flush=True)
    limit = TimeLimit(training.folder, training.race.minutes_limit)
    done = train_or_resume(
        training.process(),
        training.folder,
        environment(training.threads),
        record=shlex.join([*training.process(), training.machine, training.setting]),
        is_resumable=training.agent != SINGLE_FILE and is_resumable(training.agent),
        should_stop=limit,
    )
    runs = run_folders(training.folder)
    if not runs or done.returncode not in (STOPPED if limit.is_over else (0,)):
        is_interruption = done.returncode in INTERRUPTED
        reason = "interrupted" if is_interruption else f"failed with exit code {done.returncode}\n{done.stderr}"
        print(f"{training}: {reason}", flush=True)
        return False
    result = {
        "seed": training.seed,
        "commit": recorded_commits(training.folder),
        **read_result(runs[0], training.race, is_over=limit.is_over),
    }
    with file_lock:
        topic = read_topic_file(path) or {"title": title(training.race), **asdict(training.race), "groups": []}
        add_run(topic, training.group, result, GROUP_FIELDS)
        replace_file(path, topic_text(topic))
    remove_checkpoints(runs[0])
    print(f"{training}: {describe_result(training.race, result)}", flush=True)
    return True


def read_result(run: Path, race: Race, *, is_over: bool) -> dict[str, Any]:
    """Return the minutes and the curves of a run. Evaluations after the last minute do not count.

    Args:
        run: Folder of the run.
        race: The race.
        is_over: The run was stopped because its minutes were over.
    """
    lines = [line for line in read_evaluations(run) if line["time/minutes"] <= race.minutes_limit]
    evaluations = [
        (line["global_step"], round(line["time/minutes"], 2), round(line["eval/return_mean"], 3)) for line in lines
    ]
    minutes = newest_minutes(run)
    if is_over:  # the single file logs nothing when it is stopped
        minutes = max(minutes, race.minutes_limit)
    result: dict[str, Any] = {"minutes": round(minutes, 2)}
    reached = [reached_at for _, reached_at, score in evaluations if score >= race.target]
    if reached:
        result["minutes_to_target"] = reached[0]
    elif evaluations and not is_over and minutes <= race.minutes_limit:
        result["note"] = f"Ended after {evaluations[-1][0]:,} agent steps, the number in its settings."
    result["curve"] = [[steps, score] for steps, _, score in evaluations]
    result["minutes_curve"] = [[logged_at, score] for _, logged_at, score in evaluations]
    return result


def remove_checkpoints(run: Path) -> None:
    """Delete the checkpoints of a run, which hold the replay. The best network is kept."""
    for path in (run / "checkpoints").glob("*/"):
        if path.name != "best":
            shutil.rmtree(path)


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a run. Our code and modules of the working directory are found."""
    folders = [str(ROOT), str(Path.cwd())]
    if "PYTHONPATH" in os.environ:
        folders.append(os.environ["PYTHONPATH"])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": str(threads)}


def logged_minutes(folder: Path) -> float:
    """Return the newest time in the metrics of the folder of a run, or 0."""
    return max((newest_minutes(run) for run in run_folders(folder)), default=0.0)


def metrics_files(folder: Path) -> set[tuple[int, int]]:
    """Return inode and time of change of each metrics.jsonl in the folder of a run."""
    stats = [(run / "metrics.jsonl").stat() for run in run_folders(folder)]
    return {(stat.st_ino, stat.st_mtime_ns) for stat in stats}


def newest_minutes(run: Path) -> float:
    """Return the minutes in the last line of metrics.jsonl that has a time, or 0."""
    for line in reversed(read_metrics(run)):
        if "time/minutes" in line:
            return line["time/minutes"]
    return 0.0


def describe_result(race: Race, result: dict[str, Any]) -> str:
    """Return a line on a finished run."""
    if "minutes_to_target" in result:
        steps = result["curve"][-1][0]
        minutes = minutes_text(result["minutes_to_target"])
        return f"reached {race.target:g} after {minutes} min and {steps_text(steps)} agent steps"
    best = max((score for _, score in result["curve"]), default=None)
    text = "no evaluation" if best is None else f"best evaluation {score_text(best)}"
    return f"did not reach {race.target:g} within {minutes_text(result['minutes'])} min; {text}"


def read_races(options: argparse.Namespace) -> list[ResultTopic]:
    """Return the results of the race in an environment, or of all races."""
    paths = sorted(options.results.glob("race-*.json"))
    if options.env is not None:
        paths = [options.results / file_name(options.env)]
    missing = [path for path in paths if not path.exists()]
    if missing or not paths:
        raise LabError(f"there is no {options.results / 'race-*.json' if not paths else missing[0]}; run a race first")
    return [read_topic(path) for path in paths]


def describe(topic: ResultTopic) -> str:
    """Return the title of a race, with the limit of minutes, and machine and setting if all groups have the same."""
    text = f"{topic.title}, at most {topic.minutes_limit:g} minutes a run"
    for values in ({group.machine for group in topic.groups}, {group.setting for group in topic.groups}):
        if len(values) == 1:
            text += f"; {values.pop()}"
    return f"{text}."


def describe_machine() -> str:
    """Return cores, processor, fast number formats and GPU of this machine."""
    names = [machine(), *fast_formats()]
    if torch.cuda.is_available():
        names.append(torch.cuda.get_device_name())
    return ", ".join(names)


def title(race: Race) -> str:
    """Return the title of a race."""
    return f"Minutes to a score of {race.target:g} on {race.env}"


def race_name(env: str) -> str:
    """Return the name of an environment in names of files and folders."""
    return portable_name(env).lower()


def file_name(env: str) -> str:
    """Return the name of the file of results of an environment."""
    return f"race-{race_name(env)}.json"


def topic_text(topic: dict[str, Any]) -> str:
    """Return the content of a file of results, with one run a line."""
    groups = []
    for group in topic["groups"]:
        fields = json.dumps({name: value for name, value in group.items() if name != "runs"}, indent=1)
        runs = ",\n".join(json.dumps(run) for run in group["runs"])
        groups.append(fields.removesuffix("\n}") + f',\n "runs": [\n{runs}\n]}}')
    fields = json.dumps({name: value for name, value in topic.items() if name != "groups"}, indent=1)
    return fields.removesuffix("\n}") + ',\n "groups": [\n' + ",\n".join(groups) + "\n]}\n"


def finite_number(text: str) -> float:
    """Return a number, as an argparse type."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return number


def positive_number(text: str) -> float:
    """Return a number above 0, as an argparse type."""
    number = finite_number(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def whole_number(text: str) -> int:
    """Return a whole number of at least 1, as an argparse type."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return number


if __name__ == "__main__":
    main(sys.argv[1:])
