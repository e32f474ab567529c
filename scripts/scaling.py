"""What grows with what: speed, memory and learning over environments, sampling over the replay's size; and the time to begin.

    python scripts/scaling.py envs [--seconds 20]      # DQN on Pong with 1 to 64 environments at the same replay ratio
    python scripts/scaling.py learning [--seeds 1 2 3] # DQN on CartPole with 1 to 64 environments: what it learns, and how fast
    python scripts/scaling.py collectors [--address ADDR]  # the same with 8 environments here, and in 1 and 2 processes of Ray
    python scripts/scaling.py replay                   # a sample of 32 from 10,000 to 1,000,000 Atari frames (7 GB)
    python scripts/scaling.py startup                  # `--help`, and `train` to its first step

Each prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

import psutil
import torch

import rl_lab
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import Replay
from rl_lab.experiment.run import Run

CPU = torch.device("cpu")
LAB = [sys.executable, "-m", "rl_lab"]
NUM_ENVS = [1, 2, 4, 8, 16, 32, 64]


def envs(seconds: float) -> None:
    """The speed that training logs, and the memory of its process, twice in turn for each number of environments."""
    found: dict[int, list[tuple[float, float]]] = {n: [] for n in NUM_ENVS}
    for n in [*NUM_ENVS, *reversed(NUM_ENVS)]:
        found[n].append(speed_and_memory(n, seconds))
    print("| environments | agent steps/s | memory MB |\n|---|---|---|")
    for n, pairs in found.items():
        speeds, memories = zip(*pairs, strict=True)
        print(f"| {n} | {min(speeds):.0f} to {max(speeds):.0f} | {max(memories):.0f} |")


def learning(seeds: list[int]) -> None:
    """The mean over seeds of each evaluation, their lowest and highest last one, and the minutes of a run."""
    for n in NUM_ENVS:
        with tempfile.TemporaryDirectory() as folder:
            options = {"num_envs": n, "wandb": "disabled", "runs_dir": folder}
            runs = [rl_lab.train("dqn", env="CartPole-v1", seed=seed, quiet=True, **options) for seed in seeds]
            lines = [[line for line in run.metrics() if "eval/return_mean" in line] for run in runs]
        scores = [[line["eval/return_mean"] for line in of_run] for of_run in lines]
        if n == NUM_ENVS[0]:
            steps = " | ".join(f"{line['global_step']:,}" for line in lines[0])
            print(f"| environments | {steps} | last | minutes |\n{'|---' * (len(scores[0]) + 3)}|")
        means = " | ".join(f"{statistics.mean(at):.0f}" for at in zip(*scores, strict=True))
        last = [of_run[-1] for of_run in scores]
        minutes = statistics.median(of_run[-1]["time/minutes"] for of_run in lines)
        print(f"| {n} | {means} | {min(last):.0f} to {max(last):.0f} | {minutes:.1f} |", flush=True)


def collectors(seconds: float, address: str, rounds: int = 5) -> None:
    """The speed of training with collectors, in turn, and over that of training without, with its range over the rounds."""
    numbers = [0, 1, 2]
    found: dict[int, list[float]] = {n: [] for n in numbers}
    for _ in range(rounds):
        for n in numbers:
            found[n].append(speed_and_memory(8, seconds, "--collectors", str(n), "--address", address)[0])
    print("| collectors | agent steps/s | over none |\n|---|---|---|")
    for n, speeds in found.items():
        ratios = [a / b for a, b in zip(speeds, found[0], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"| {n} | {statistics.median(speeds):.0f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


def speed_and_memory(num_envs: int, seconds: float, *more: str) -> tuple[float, float]:
    """The median of the speeds that training logs once it learns, and resident MB with a full replay of 10,000."""
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--env Pong --num-envs {num_envs} --learning-starts 1000 --log-every 200 --replay-size 10000 --eval-every 0"
        command = [*LAB, "train", "dqn", *flags.split(), *more, "--wandb", "disabled", "--runs-dir", folder]
        training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert training.stdout is not None
        path = next(line.split("run folder ")[1].strip() for line in training.stdout if line.startswith("run folder"))
        process = psutil.Process(training.pid)
        began = time.monotonic()
        lines = []
        while not lines or lines[-1]["global_step"] < 11_000 or time.monotonic() - began < seconds:
            time.sleep(1)
            lines = Run.find(path).metrics()
        speeds = [line["speed/steps_per_s"] for line in lines if line["global_step"] > 2_000]
        memory = process.memory_info().rss / 1e6
        training.terminate()
        training.wait()
        training.stdout.close()
    return statistics.median(speeds), memory


def replay() -> None:
    """The median time of 200 samples of 32 transitions, uniform and by priority."""
    print("| frames | uniform, ms | by priority, ms |\n|---|---|---|")
    rows = EnvSpaces((84, 84), torch.uint8, 6, 8)
    for size in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        times = []
        for alpha in (0.0, 0.5):
            memory = Replay(
                rows,
                size,
                stack=4,
                n_step=3,
                gamma=0.99,
                device=CPU,
                generator=torch.Generator().manual_seed(1),
                priority_alpha=alpha,
            )
            no = torch.zeros(8, dtype=torch.bool)
            for t in range(size // 8):
                obs = torch.full((8, 84, 84), t % 256, dtype=torch.uint8)
                over = torch.arange(8) == t % 797  # a game ends now and then
                memory.add(StepResult(obs, no, no, no.long(), no.float(), over, no, 8))
            taken = []
            for _ in range(200):
                start = time.perf_counter()
                memory.sample(32, beta=0.5)
                taken.append(time.perf_counter() - start)
            times.append(statistics.median(taken) * 1e3)
            del memory
        print(f"| {size:,} | {times[0]:.2f} | {times[1]:.2f} |", flush=True)


def startup(rounds: int = 5) -> None:
    """Seconds of `--help`, and of `train` until its first step comes next, in turn; the first round warms the disk's cache."""
    with tempfile.TemporaryDirectory() as folder:
        train = "train dqn --env Pong --steps 8 --replay-size 1000 --eval-episodes 1 --num-envs 8 --wandb disabled"
        commands = {"--help": ["--help"], "train": [*train.split(), "--runs-dir", folder]}
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, args in commands.items():
                start = time.perf_counter()
                process = subprocess.Popen([*LAB, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith("run folder"):  # everything is built, the first step is next
                        break
                else:
                    process.wait()
                found[name].append(time.perf_counter() - start)
                process.kill()
                process.wait()
    print("| | seconds |\n|---|---|")
    for name, times in found.items():
        print(f"| {name} | {statistics.median(times[1:]):.2f} ({min(times[1:]):.2f} to {max(times[1:]):.2f}) |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["envs", "learning", "collectors", "replay", "startup"])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement at least")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of what is learned")
    parser.add_argument(
        "--address", default="", help="of the Ray cluster whose collectors are measured; none: one of its own"
    )
    args = parser.parse_args()
    {
        "envs": lambda: envs(args.seconds),
        "learning": lambda: learning(args.seeds),
        "collectors": lambda: collectors(args.seconds, args.address),
        "replay": replay,
        "startup": startup,
    }[args.what]()


if __name__ == "__main__":
    main()
