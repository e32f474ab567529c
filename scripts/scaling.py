"""Measure how speed, memory and learning depend on sizes. Each command prints a Markdown table.

    python scripts/scaling.py envs [--seconds 20]          # DQN on Pong with 1 to 64 environments
    python scripts/scaling.py learning [--seeds 1 2 3]     # DQN on CartPole with 1 to 64 environments
    python scripts/scaling.py collectors [--address ADDR]  # DQN on Pong, 8 environments, with 0 to 2 Ray collectors
    python scripts/scaling.py contention [--rounds 3]      # DQN on Pong beside 0, 1 and 2 busy processes
    python scripts/scaling.py replay                       # sampling from 10,000 to 1,000,000 Atari frames (7 GB)
    python scripts/scaling.py startup                      # `--help`, and `train` up to its first step

Measurements of speed alternate between the variants, so that slow changes of the machine affect all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil
import torch

import rl_lab
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import Replay
from rl_lab.experiment.run import Run

CPU = torch.device("cpu")
PROGRAM = [sys.executable, "-m", "rl_lab"]
NUM_ENVS = [1, 2, 4, 8, 16, 32, 64]

COLLECTORS = [0, 1, 2]
COLLECTOR_ROUNDS = 5

REPLAY_SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)  # frames
REPLAY_ENVS = 8
REPLAY_SAMPLES = 200  # samples per measurement
EPISODE_ROWS = 797  # rows between two ends of episodes in the replay

TRAINING_FLAGS = "--env Pong --learning-starts 1000 --log-every 200 --replay-size 10000 --eval-every 0 --wandb disabled"
LEARNING_STEP = 2_000  # agent steps after which training runs at its final speed
FULL_REPLAY_STEP = 11_000  # agent steps after which the replay of 10,000 is full

STARTUP_ROUNDS = 5
STARTUP_FLAGS = "--env Pong --steps 8 --replay-size 1000 --eval-episodes 1 --num-envs 8 --wandb disabled"


BUSY_PROCESSES = (0, 1, 2)
BUSY_LOOP = "while True: pass"
CONTENTION_FLAGS = "--env Pong --num-envs 8 --learning-starts 200 --log-every 40 --eval-every 0 --wandb disabled"
CONTENTION_STEP = 400  # agent steps after which training runs at its final speed
CONTENDERS = {
    "`dqn`, default": "dqn --replay-size 10000",
    "`dqn`, bfloat16, 2 threads": "dqn --replay-size 10000 --precision bfloat16 --torch-threads 2",
    "`dqn`, bfloat16, 1 thread": "dqn --replay-size 10000 --precision bfloat16 --torch-threads 1",
    "`dqn`, float32, 1 thread": "dqn --replay-size 10000 --precision float32 --torch-threads 1",
    "`sb3_dqn`": "sb3_dqn --buffer-size 10000",
}


class TrainingCost(NamedTuple):
    """What a training process needs."""

    steps_per_s: float  # median of the logged speeds while learning
    megabytes: float  # resident memory with a full replay of 10,000


def measure_envs(seconds: float) -> None:
    """Measure the speed and the memory of training twice for each number of environments, and print their ranges."""
    costs: dict[int, list[TrainingCost]] = {n: [] for n in NUM_ENVS}
    for n in [*NUM_ENVS, *reversed(NUM_ENVS)]:
        costs[n].append(training_cost(n, seconds))
    print("| environments | agent steps/s | memory MB |\n|---|---|---|")
    for n, pair in costs.items():
        speeds = [cost.steps_per_s for cost in pair]
        memory = max(cost.megabytes for cost in pair)
        print(f"| {n} | {min(speeds):.0f} to {max(speeds):.0f} | {memory:.0f} |")


def measure_learning(seeds: list[int]) -> None:
    """Print the scores and the minutes of DQN on CartPole for each number of environments.

    The columns are the mean over seeds of each evaluation, the range of the last one, and the median of the minutes.
    """
    for n in NUM_ENVS:
        evaluations = [train_on_cartpole(n, seed) for seed in seeds]
        scores = [[line["eval/return_mean"] for line in lines] for lines in evaluations]
        if n == NUM_ENVS[0]:
            steps = " | ".join(f"{line['global_step']:,}" for line in evaluations[0])
            print(f"| environments | {steps} | last | minutes |\n{'|---' * (len(scores[0]) + 3)}|")
        means = " | ".join(f"{statistics.mean(column):.0f}" for column in zip(*scores, strict=True))
        last = [of_run[-1] for of_run in scores]
        minutes = statistics.median(lines[-1]["time/minutes"] for lines in evaluations)
        print(f"| {n} | {means} | {min(last):.0f} to {max(last):.0f} | {minutes:.1f} |", flush=True)


def train_on_cartpole(num_envs: int, seed: int) -> list[dict[str, float]]:
    """Train DQN on CartPole. Return the lines of metrics.jsonl that hold evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        run = rl_lab.train(
            "dqn",
            env="CartPole-v1",
            seed=seed,
            quiet=True,
            num_envs=num_envs,
            wandb="disabled",
            runs_dir=folder,
        )
        return [line for line in run.metrics() if "eval/return_mean" in line]


def measure_collectors(seconds: float, address: str) -> None:
    """Print the speed for each number of collectors, and its ratio to the speed without: median and range."""
    speeds: dict[int, list[float]] = {n: [] for n in COLLECTORS}
    for _ in range(COLLECTOR_ROUNDS):
        for n in COLLECTORS:
            cost = training_cost(8, seconds, "--collectors", str(n), "--address", address)
            speeds[n].append(cost.steps_per_s)
    print("| collectors | agent steps/s | over none |\n|---|---|---|")
    for n in COLLECTORS:
        ratios = [speed / base for speed, base in zip(speeds[n], speeds[0], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {n} | {statistics.median(speeds[n]):.0f} | {spread} |")


def training_cost(num_envs: int, seconds: float, *flags: str) -> TrainingCost:
    """Train DQN on Pong in its own process until the replay is full and `seconds` have passed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*PROGRAM, "train", "dqn", *TRAINING_FLAGS.split(), "--num-envs", str(num_envs)]
        command += [*flags, "--runs-dir", folder]
        training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert training.stdout is not None
        path = next(line.split("run folder ")[1].strip() for line in training.stdout if line.startswith("run folder"))
        start = time.monotonic()
        lines = []
        while not lines or lines[-1]["global_step"] < FULL_REPLAY_STEP or time.monotonic() - start < seconds:
            time.sleep(1)
            lines = Run.find(path).metrics()
        speeds = [line["speed/steps_per_s"] for line in lines if line["global_step"] > LEARNING_STEP]
        megabytes = psutil.Process(training.pid).memory_info().rss / 1e6
        training.terminate()
        training.wait()
        training.stdout.close()
    return TrainingCost(statistics.median(speeds), megabytes)


def measure_replay() -> None:
    """Print the median time to sample 32 transitions, uniformly and by priority, for each size of the replay."""
    print("| frames | uniform, ms | by priority, ms |\n|---|---|---|")
    for size in REPLAY_SIZES:
        uniform = sampling_milliseconds(size, priority_alpha=0.0)
        prioritised = sampling_milliseconds(size, priority_alpha=0.5)
        print(f"| {size:,} | {uniform:.2f} | {prioritised:.2f} |", flush=True)


def sampling_milliseconds(size: int, *, priority_alpha: float) -> float:
    """Return the median time to sample 32 transitions from a full replay of Atari frames."""
    memory = Replay(
        EnvSpaces((84, 84), torch.uint8, 6, REPLAY_ENVS),
        size,
        stack=4,
        n_step=3,
        gamma=0.99,
        device=CPU,
        generator=torch.Generator().manual_seed(1),
        priority_alpha=priority_alpha,
    )
    false = torch.zeros(REPLAY_ENVS, dtype=torch.bool)
    for row in range(size // REPLAY_ENVS):
        obs = torch.full((REPLAY_ENVS, 84, 84), row % 256, dtype=torch.uint8)
        terminated = torch.arange(REPLAY_ENVS) == row % EPISODE_ROWS
        memory.add(StepResult(obs, false, false, false.long(), false.float(), terminated, false, REPLAY_ENVS))
    times = []
    for _ in range(REPLAY_SAMPLES):
        start = time.perf_counter()
        memory.sample(32, beta=0.5)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measure_contention(seconds: float, rounds: int) -> None:
    """Print the speed of training beside busy processes: median and range, and the share of the speed without them.

    The settings of `sb3_dqn` differ from those of `dqn` (network, updates per step): only the shares are comparable.
    """
    speeds: dict[tuple[str, int], list[float]] = {(name, busy): [] for name in CONTENDERS for busy in BUSY_PROCESSES}
    for _ in range(rounds):
        for busy in BUSY_PROCESSES:
            for name, flags in CONTENDERS.items():
                speeds[name, busy].append(contention_speed(flags.split(), busy, seconds))
    print("| |" + "".join(f" {busy} busy processes |" for busy in BUSY_PROCESSES))
    print("|---|" + "---|" * len(BUSY_PROCESSES))
    for name in CONTENDERS:
        quiet = statistics.median(speeds[name, 0])
        cells = []
        for busy in BUSY_PROCESSES:
            values = speeds[name, busy]
            median = statistics.median(values)
            cells.append(f"{median:.0f} ({min(values):.0f} to {max(values):.0f}), {median / quiet:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


def contention_speed(args: list[str], num_busy: int, seconds: float) -> float:
    """Return the agent steps per second of training beside busy processes, measured for `seconds`."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(num_busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [*PROGRAM, "train", *args, *CONTENTION_FLAGS.split(), "--runs-dir", folder]
            training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert training.stdout is not None
            path = next(line.split("run folder ")[1].strip() for line in training.stdout if "run folder " in line)
            lines: list[dict[str, float]] = []
            while len(lines) < 2 or 60 * (lines[-1]["time/minutes"] - lines[0]["time/minutes"]) < seconds:
                time.sleep(1)
                lines = [line for line in Run.find(path).metrics() if line["global_step"] > CONTENTION_STEP]
            training.terminate()
            training.wait()
            training.stdout.close()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    first, last = lines[0], lines[-1]
    return (last["global_step"] - first["global_step"]) / 60 / (last["time/minutes"] - first["time/minutes"])


def measure_startup() -> None:
    """Print the seconds of `--help`, and of `train` up to its first step: median and range.

    The first round is not counted, because it loads the program from disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {"--help": ["--help"], "train": ["train", "dqn", *STARTUP_FLAGS.split(), "--runs-dir", folder]}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(STARTUP_ROUNDS + 1):
            for name, args in commands.items():
                times[name].append(startup_seconds(args))
    print("| | seconds |\n|---|---|")
    for name, (_, *seconds) in times.items():
        print(f"| {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) |")


def startup_seconds(args: list[str]) -> float:
    """Return the seconds until a command of the lab ends.

    Training is stopped when it prints its run folder: everything is created then, and the first step follows.
    """
    start = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    is_training = any(line.startswith("run folder") for line in process.stdout)
    if not is_training:
        process.wait()
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    return seconds


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=["envs", "learning", "collectors", "contention", "replay", "startup"])
    parser.add_argument("--seconds", type=float, default=20.0, help="minimum duration of a measurement of speed")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of `contention`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of `learning`")
    address_help = "address of the Ray cluster for `collectors`; by default a cluster that is started and stopped"
    parser.add_argument("--address", default="", help=address_help)
    args = parser.parse_args()
    measurements: dict[str, Callable[[], None]] = {
        "envs": lambda: measure_envs(args.seconds),
        "learning": lambda: measure_learning(args.seeds),
        "collectors": lambda: measure_collectors(args.seconds, args.address),
        "contention": lambda: measure_contention(args.seconds, args.rounds),
        "replay": measure_replay,
        "startup": measure_startup,
    }
    measurements[args.measurement]()


if __name__ == "__main__":
    main()
