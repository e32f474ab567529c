"""Train on environments without settings of their own: our agents and Stable-Baselines3's, with the same agent steps.

    python scripts/third_party.py list
    python scripts/third_party.py run minatar-breakout --seeds 1,2,3       # or several names, or "all"
    python scripts/third_party.py table                                    # the table of docs/benchmarks/untuned.md

`run` installs the packages of the environment into .benchmark/third_party/packages, without their dependencies, so that
no pinned package is replaced. It trains one run after the other, and writes results/third_party/NAME.json after each.
Repeat the command after an interruption: finished runs are skipped, an unfinished run of our agents is resumed, and one
of Stable-Baselines3 starts again. Our agents have the default settings for the kind of observations, and embed the
codes of MiniGrid. Stable-Baselines3's have the settings of rl-baselines3-zoo for the environment, where there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from third_party_envs import ENVIRONMENTS, EXAMPLES, OUR_AGENTS, ThirdPartyEnv
from training_processes import (
    REFUSED,
    RL_LAB,
    ROOT,
    add_run,
    file_lock,
    machine,
    read_evaluations,
    read_topic_file,
    recorded_commits,
    replace_file,
    run_folders,
    run_process,
    single_instance,
    train_all,
    train_or_resume,
)

WORK = ROOT / ".benchmark" / "third_party"
RESULTS = ROOT / "results" / "third_party"
BASELINES = ("sb3_dqn", "sb3_ppo")
EVALUATIONS = 5  # of a run
EVAL_MAX_STEPS = 10_000  # a greedy policy may otherwise play for hours
GROUP_FIELDS = ("command", "machine")  # in which the runs of a group agree
CANNOT_USE = " cannot use "  # text of the message of an agent that cannot use an environment


@dataclass(frozen=True)
class Training:
    """One run to train."""

    entry: ThirdPartyEnv
    agent: str
    seed: int
    steps: int
    extra: tuple[str, ...] = ()  # options of the person

    def arguments(self, seed: str) -> list[str]:
        """Return the words of the command `train`."""
        entry = self.entry
        words = ["train", self.agent, "--env", entry.env, *entry.flags]
        if self.agent not in BASELINES:
            words += entry.agent_flags
        words += ["--steps", str(self.steps), "--eval-every", str(max(1, self.steps // EVALUATIONS))]
        words += ["--eval-episodes", str(entry.eval_episodes), "--eval-max-steps", str(EVAL_MAX_STEPS)]
        return [*words, *self.extra, "--seed", seed, "--wandb", "disabled"]

    @property
    def command(self) -> str:
        """Return the command as text, with S in place of the seed."""
        return shlex.join(["python", "-m", "rl_lab", *self.arguments("S")])

    @property
    def folder(self) -> Path:
        """Return the folder of the runs of this training."""
        return WORK / "runs" / self.entry.name / f"{self.agent}-{self.steps}" / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.agent} on {self.entry.name}, {self.steps:,} steps, seed {self.seed}"


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the names of the environments")
    run = commands.add_parser("run", help="train and write results; unknown options go to all agents")
    run.add_argument("names", nargs="+", help='names of environments, or "all"')
    run.add_argument("--steps", type=int, help="agent steps of each run, in place of those of the entry")
    run.add_argument("--seeds", default="1,2,3", help="seeds, separated by commas")
    run.add_argument("--agents", help="our agents, separated by commas, in place of those of the entry")
    run.add_argument("--baselines", default=",".join(BASELINES), help="agents to compare with; empty for none")
    run.add_argument("--jobs", type=int, default=1, help="runs that are trained side by side")
    run.add_argument("--machine", default=machine(), help="name of the machine in the results")
    run.add_argument("--packages", type=Path, default=WORK / "packages", help="folder of the installed packages")
    run.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    table = commands.add_parser("table", help="print the table of the results")
    table.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options, extra = parser.parse_known_args()
    if options.command == "list":
        print("\n".join(f"{entry.name:<26}{entry.env}" for entry in ENVIRONMENTS.values()))
    elif options.command == "table":
        print(result_table(options.results))
    else:
        run_all(parser, options, tuple(extra))


def run_all(parser: argparse.ArgumentParser, options: argparse.Namespace, extra: tuple[str, ...]) -> None:
    """Train all runs that have no result yet. Exit with code 1 if a run fails."""
    names = list(ENVIRONMENTS) if options.names == ["all"] else options.names
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"unknown environment {unknown[0]}; the command list prints the names")
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError:
        parser.error(f"seeds is {options.seeds!r}; it must be whole numbers, separated by commas")
    baselines = [agent for agent in options.baselines.split(",") if agent]
    trainings = []
    for seed in seeds:  # all environments with the first seed, then with the next one
        for name in names:
            entry = ENVIRONMENTS[name]
            agents = options.agents.split(",") if options.agents else entry.agents
            steps = options.steps or entry.steps
            trainings += [Training(entry, agent, seed, steps, extra) for agent in dict.fromkeys([*agents, *baselines])]
    with single_instance(WORK):
        install([package for name in names for package in ENVIRONMENTS[name].packages], options.packages)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        try:
            succeeded = train_all(lambda training: train(training, options), trainings, options.jobs)
        except KeyboardInterrupt:
            sys.exit("interrupted; the same command continues")
    if not succeeded:
        sys.exit(1)


def install(packages: list[str], folder: Path) -> None:
    """Install the packages that a folder lacks, without their dependencies.

    Raises:
        subprocess.CalledProcessError: pip failed, for example because the registry cannot be reached.
    """
    record = folder / "installed.txt"
    installed = record.read_text().split() if record.exists() else []
    missing = [package for package in dict.fromkeys(packages) if package not in installed]
    if not missing:
        return
    print(f"installing {' '.join(missing)} into {folder}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    subprocess.run([*pip, *missing], check=True)
    record.write_text("\n".join([*installed, *missing]) + "\n")


def environment(packages: Path) -> dict[str, str]:
    """Return the environment variables with which the packages and our code are found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, packages.resolve(), EXAMPLES)))}


def train(training: Training, options: argparse.Namespace) -> bool:
    """Train a run and write its result, unless there is one. Return False if the run fails."""
    path = options.results / f"{training.entry.name}.json"
    if has_result(read_topic_file(path), training):
        print(f"{training}: has a result", flush=True)
        return True
    print(f"{training}: training", flush=True)
    done = train_process(training, options.packages)
    if done.returncode == REFUSED and CANNOT_USE in done.stderr:
        reason = done.stderr.strip().splitlines()[-1].removeprefix("rl_lab: ")
        print(f"{training}: refused: {reason}", flush=True)
        refusal = {"command": training.command, "reason": reason}
        update(path, training, lambda topic: topic["refused"].update({training.agent: refusal}))
        return True
    if done.returncode:
        print(f"{training}: failed with exit code {done.returncode}\n{done.stderr}", flush=True)
        return False
    (run,) = run_folders(training.folder)
    if last_step(run) < training.steps:
        print(f"{training}: failed: it has no evaluation after its last step", flush=True)
        return False
    group = {"agent": training.agent, "command": training.command, "steps": training.steps, **group_texts(options)}
    result = {"seed": training.seed, "commit": recorded_commits(training.folder), **read_result(run)}
    env_spec = json.loads((run / "env.json").read_text())
    random = None
    if training.agent not in BASELINES and "random" not in read_topic_file(path):
        random = random_score(run, training, options.packages)

    def add(topic: dict[str, Any]) -> None:
        topic["transformations"] = env_spec["transformations"]
        if random is not None:
            topic["random"] = random
        add_run(topic, group, result, GROUP_FIELDS)

    update(path, training, add)
    print(f"{training}: last evaluation {result['curve'][-1][1]:g}", flush=True)
    return True


def train_process(training: Training, packages: Path) -> subprocess.CompletedProcess[str]:
    """Train or resume a run in a process of its own."""
    folder = training.folder
    arguments = [*training.arguments(str(training.seed)), "--runs-dir", str(folder)]
    return train_or_resume(
        [*RL_LAB, *arguments],
        folder,
        environment(packages),
        record=shlex.join(arguments),
        is_resumable=not training.agent.startswith("sb3_"),
    )


def random_score(run: Path, training: Training, packages: Path) -> dict[str, float]:
    """Return the score of uniformly random (legal) actions in the environment of a run."""
    words = ["eval", str(run), "--episodes", str(training.entry.eval_episodes), "--epsilon", "1", "--json"]
    done = run_process([*RL_LAB, *words], training.folder, environment(packages))
    if done.returncode:
        raise RuntimeError(f"the evaluation of random actions failed: {done.stderr}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return {"mean": answer["mean"], "std": answer["std"], "episodes": answer["episodes"]}


def last_step(run: Path) -> int:
    """Return the agent step of the last evaluation of a run."""
    return max((line["global_step"] for line in read_evaluations(run)), default=0)


def read_result(run: Path) -> dict[str, Any]:
    """Return the minutes and the curve of a run."""
    lines = read_evaluations(run)
    curve = [[line["global_step"], round(line["eval/return_mean"], 3)] for line in lines]
    return {"minutes": round(lines[-1]["time/minutes"], 1), "curve": curve}


def has_result(topic: dict[str, Any], training: Training) -> bool:
    """Return True if a file of results holds a run, or the reason why the environment refuses the agent."""
    groups = [group for group in topic.get("groups", ()) if group["command"] == training.command]
    refusal = topic.get("refused", {}).get(training.agent)
    if refusal is not None and refusal["command"] == training.command:
        return True
    return any(run["seed"] == training.seed for group in groups for run in group["runs"])


def update(path: Path, training: Training, change: Any) -> None:
    """Change the content of a file of results. The new file replaces the old one at once."""
    entry = training.entry
    with file_lock:
        topic = read_topic_file(path) or {
            "title": entry.name,
            "env": entry.env,
            "packages": list(entry.packages),
            "eval_episodes": entry.eval_episodes,
            "groups": [],
            "refused": {},
        }
        change(topic)
        replace_file(path, json.dumps(topic, indent=1) + "\n")


def group_texts(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a group that describe the measurement (results/README.md)."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    setting = f"{threads} torch threads, {options.jobs} runs side by side"
    return {"machine": options.machine, "setting": setting, "note": "", "stopped_at_target": False}


def result_table(folder: Path) -> str:
    """Return the results as a Markdown table: median (range) of the last evaluations over the seeds."""
    lines = [
        f"| environment | agent steps | seeds | {' | '.join((*OUR_AGENTS, *BASELINES))} | random actions |",
        f"|---|---|---|{'---|' * len((*OUR_AGENTS, *BASELINES))}---|",
    ]
    for path in sorted(folder.glob("*.json")):
        topic = json.loads(path.read_text())
        for steps in sorted({group["steps"] for group in topic["groups"]}):
            groups: dict[str, Any] = {}
            for group in topic["groups"]:
                if group["steps"] == steps and groups.setdefault(group["agent"], group) is not group:
                    sys.exit(f"{path} has two groups of {group['agent']} with {steps:,} steps; keep one")
            random = f"{topic['random']['mean']:.2f}" if "random" in topic else "-"
            cells = [score_cell(topic, groups, agent) for agent in (*OUR_AGENTS, *BASELINES)]
            counts = [len(group["runs"]) for group in groups.values()]
            seeds = str(min(counts))
            if max(counts) > min(counts):
                seeds += f" to {max(counts)}"
            lines.append(f"| {topic['title']} | {steps:,} | {seeds} | {' | '.join(cells)} | {random} |")
    return "\n".join(lines)


def score_cell(topic: dict[str, Any], groups: dict[str, Any], agent: str) -> str:
    """Return the scores of an agent as text, or why there is none."""
    if agent in topic["refused"]:
        return "refused"
    if agent not in groups:
        return "-"
    scores = [run["curve"][-1][1] for run in groups[agent]["runs"]]
    if len(scores) == 1:
        return f"{scores[0]:.2f}"
    return f"{statistics.median(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})"


if __name__ == "__main__":
    main()
