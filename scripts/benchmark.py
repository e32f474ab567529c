"""Compare the speed of our agents with that of other projects on the same machine: python scripts/benchmark.py.

The task is Pong with four stacked frames of 84 x 84. There are three parts, and `--parts` chooses among them:

- dqn: our DQN beside other DQNs at equal work. The Nature network, batches of 32, one update per 4 agent steps, a
  replay memory of 100,000 and epsilon 0.01. Ratios are printed for equal numbers of environments only.
- policy-gradient: our `ppo` beside Stable-Baselines3's PPO at equal work. The Nature network, 8 environments,
  rollouts of 128 rows, 4 epochs of minibatches of 256. A measurement has whole rollouts, and an update is one gradient
  step.
- shipped: our DQN with its default settings beside Stable-Baselines3's DQN with the settings of rl-baselines3-zoo. The
  report has one line on it. The two do different work.

Each contender is a process that has warmed up and waits (scripts/contenders). A round measures all contenders of a
part, one after the other, in an order that changes from round to round. So a ratio of two contenders compares
measurements that are close in time. At equal work our float32 and our bfloat16 have columns of their own; the other
projects compute in float32. Columns with percentages are shares of the host's time.

The contenders of other projects get virtual environments of their own under .benchmark/. With --here nothing is
installed, and only contenders whose packages this Python can import take part.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_processes import fast_formats, machine

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS_FOLDER = ROOT / "scripts" / "contenders"
ATARI_PACKAGES = ("ale-py", "gymnasium", "opencv-python-headless", "numpy")
SB3_PACKAGES = ("stable-baselines3", *ATARI_PACKAGES)
PARTS = ("dqn", "policy-gradient", "shipped")  # in the order of the report
PRECISIONS = ("float32", "bfloat16")
OURS_SHIPPED = "rl_lab as shipped"
SB3_SHIPPED = "SB3 as shipped"
TIME_SHARES = ("acting", "emulation", "sampling", "updating")

BATCH_SIZE = 32
STEPS_PER_UPDATE = 4
# Multiply-accumulate operations of the Nature network for one state: three convolutions, the hidden layer, the output
# layer.
MACS_FIRST_LAYER = 400 * 32 * 256
MACS_FORWARD = MACS_FIRST_LAYER + 81 * 64 * 512 + 49 * 64 * 576 + 3136 * 512 + 512 * 6

Answer = dict[str, Any]
"""Answer of a contender: "steps", "updates", "seconds", "shares", "bytes" and "setup" (see contenders/serve.py)."""


@dataclass(frozen=True)
class Contender:
    """A script of scripts/contenders with its arguments."""

    script: str
    num_envs: int
    args: tuple[str, ...] = ()  # arguments after the warm-up steps and the device
    packages: tuple[str, ...] | None = None  # packages that it needs beside torch; None: it runs in our environment

    def python(self, here: bool) -> Path:
        """Return the interpreter: that of its own virtual environment, or ours if `here`."""
        if here or self.packages is None:
            return Path(sys.executable)
        return ROOT / ".benchmark" / self.main_package / "bin" / "python"

    @property
    def main_package(self) -> str:
        """Return the package that the contender measures. Contenders with the same one share a virtual environment."""
        return "rl_lab" if self.packages is None else self.packages[0].split("==")[0]

    def is_importable(self) -> bool:
        """Return True if this Python has the package that the contender measures."""
        return importlib.util.find_spec(self.main_package.replace("-", "_")) is not None


class ContenderProcess:
    """A running contender. It has warmed up when the constructor returns."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._read_line()  # "ready"

    def request(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self._read_line())

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.command)} ended with {self.process.wait()}")
        return line


def main() -> None:
    """Parse the command line, measure, and print the report."""
    args = parse_args()
    sections = [describe_machine()]  # of the report
    for part in PARTS:
        contenders = chosen_contenders(part, args) if part in args.parts else {}
        if not contenders:
            continue
        print(f"part {part}", flush=True)
        rounds, limits = measure(contenders, args, with_limits=part == "dqn")
        sections.append(part_report(part, rounds, limits, contenders))
        print(f"\n{sections[-1]}\n", flush=True)  # now already, because a later part may fail
    if len(sections) == 1:
        sys.exit("no contender was measured: --only or --here leaves none")
    print("", *sections, sep="\n\n")


def parse_args() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare the speed of our agents with that of other projects.")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="parts of the comparison")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each contender")
    parser.add_argument(
        "--steps",
        type=int,
        default=1_000,
        help="agent steps of a measurement, rounded up to whole rollouts of 1,024 in the part policy-gradient",
    )
    parser.add_argument(
        "--here", action="store_true", help="install nothing; run the contenders that this Python can import"
    )
    parser.add_argument(
        "--warm-up", type=int, default=3_000, help="agent steps before the first round; DQN learns from halfway on"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--precisions", nargs="*", default=PRECISIONS, choices=PRECISIONS, help="of our agents at equal work"
    )
    parser.add_argument("--only", nargs="*", help="run only contenders whose names contain one of these words")
    return parser.parse_args()


def chosen_contenders(part: str, args: argparse.Namespace) -> dict[str, Contender]:
    """Return the contenders of a part that the options choose, by name. Install their packages without `--here`."""
    contenders = all_contenders(part, args.device, args.precisions)
    if args.only:
        contenders = {name: c for name, c in contenders.items() if any(word in name for word in args.only)}
    if args.here:
        return {name: c for name, c in contenders.items() if c.is_importable()}
    for contender in contenders.values():
        install(contender)
    return contenders


def all_contenders(part: str, device: str, precisions: Sequence[str]) -> dict[str, Contender]:
    """Return the contenders of a part by name, ours first."""
    if part == "dqn":
        return dqn_contenders(device, precisions)
    if part == "policy-gradient":
        return policy_gradient_contenders(device, precisions)
    return {
        OURS_SHIPPED: Contender("lab.py", 8, ("dqn", "shipped")),
        SB3_SHIPPED: Contender("sb3_dqn.py", 1, ("shipped",), SB3_PACKAGES),
    }


def dqn_contenders(device: str, precisions: Sequence[str]) -> dict[str, Contender]:
    """Return the contenders of the part dqn by name, ours first."""
    contenders = {}
    for precision in precisions:
        for num_envs in (1, 8, 32):
            contenders |= our_contenders("dqn", precision, num_envs, device)
    for num_envs in (1, 8, 32):
        contenders[f"SB3, {env_count(num_envs)}"] = Contender("sb3_dqn.py", num_envs, (str(num_envs),), SB3_PACKAGES)
    contenders["Tianshou, 8 envs"] = Contender("tianshou_dqn.py", 8, ("8",), ("tianshou==2.0.1", *ATARI_PACKAGES))
    contenders["single file, 1 env"] = Contender("single_file.py", 1, (), ATARI_PACKAGES)
    return contenders


def policy_gradient_contenders(device: str, precisions: Sequence[str]) -> dict[str, Contender]:
    """Return the contenders of the part policy-gradient by name, ours first."""
    contenders = {}
    for precision in precisions:
        contenders |= our_contenders("ppo", precision, 8, device)
    contenders["SB3, 8 envs"] = Contender("sb3_ppo.py", 8, ("8",), SB3_PACKAGES)
    return contenders


def our_contenders(agent: str, precision: str, num_envs: int, device: str) -> dict[str, Contender]:
    """Return our agent at equal work by name: once, and on a GPU once more with CUDA graphs."""
    name = our_name(precision, num_envs)
    args = (agent, str(num_envs), precision)
    contenders = {name: Contender("lab.py", num_envs, args)}
    if device == "cuda":
        contenders[f"{name}, CUDA graphs"] = Contender("lab.py", num_envs, (*args, "graphs"))
    return contenders


def our_name(precision: str, num_envs: int) -> str:
    """Return the name of our contender with this precision and number of environments."""
    return f"rl_lab {precision}, {env_count(num_envs)}"


def env_count(num_envs: int) -> str:
    """Return "1 env", "8 envs" and so on."""
    return "1 env" if num_envs == 1 else f"{num_envs} envs"


def install(contender: Contender) -> None:
    """Create the virtual environment of a contender, unless it exists with the same packages and constraints."""
    if contender.packages is None:
        return
    python = contender.python(here=False)
    folder = python.parent.parent
    constraints = ROOT / "constraints.txt"
    requirements = f"{contender.packages}\n{constraints.read_text()}"
    record = folder / "installed"
    if record.exists() and record.read_text() == requirements:
        return
    print(f"installing {contender.packages[0]} into {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints)]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, *contender.packages], check=True)
    record.write_text(requirements)


def measure(
    contenders: dict[str, Contender], args: argparse.Namespace, *, with_limits: bool
) -> tuple[list[dict[str, Answer]], list[dict[str, float]]]:
    """Start contenders and measure them in rounds.

    Args:
        contenders: The contenders by name.
        args: The options of the command line.
        with_limits: Measure the limits of the machine, too.

    Returns:
        For each round, the answers of the contenders by name, and the rates of limits.py. Without limits, the second
        list is empty.
    """
    processes: dict[str, ContenderProcess] = {}
    rounds = []
    limits = []
    with ExitStack() as stack:
        limits_process = None
        if with_limits:
            limits_process = ContenderProcess([sys.executable, str(CONTENDERS_FOLDER / "limits.py"), "8", args.device])
            stack.callback(limits_process.close)
        for name, contender in contenders.items():
            print(f"warming up {name}", flush=True)
            script = str(CONTENDERS_FOLDER / contender.script)
            python = str(contender.python(args.here))
            processes[name] = ContenderProcess([python, script, str(args.warm_up), args.device, *contender.args])
            stack.callback(processes[name].close)
        names = list(processes)
        for i in range(args.rounds):
            start = i % len(names)
            answers = {}
            for name in names[start:] + names[:start]:
                answers[name] = processes[name].request(str(args.steps))
            rounds.append({name: answers[name] for name in names})
            if limits_process is not None:
                limits.append(limits_process.request("measure"))
            rates = ", ".join(f"{name} {steps_per_second(answer):.0f}" for name, answer in rounds[-1].items())
            print(f"round {i + 1}: {rates} agent steps/s", flush=True)
    return rounds, limits


def describe_machine() -> str:
    """Return a line on the CPU: cores, name, and the formats in which it computes matrix products in bfloat16."""
    return f"CPU: {machine()}. Fast bfloat16: {', '.join(fast_formats()) or 'neither AMX nor AVX512-BF16'}."


def part_report(
    part: str, rounds: list[dict[str, Answer]], limits: list[dict[str, float]], contenders: dict[str, Contender]
) -> str:
    """Return the results of a part as Markdown.

    Args:
        part: Name of the part.
        rounds: For each round, the answers of the contenders by name.
        limits: For each round, the rates of limits.py. Empty if they were not measured.
        contenders: The contenders by name.
    """
    rates = {name: [steps_per_second(answers[name]) for answers in rounds] for name in rounds[0]}
    if part == "shipped":
        return shipped_line(rounds, rates)
    titles = {"dqn": "DQN at equal work:", "policy-gradient": "Our `ppo` and SB3's PPO at equal work:"}
    lines = [titles[part], "", *contender_table(rounds, rates, contenders)]
    if limits:
        lines += ["", "Limits of the machine:", "", *limit_lines(limits, rates)]
    return "\n".join(lines)


def shipped_line(rounds: list[dict[str, Answer]], rates: dict[str, list[float]]) -> str:
    """Return the line on the contenders with their default settings."""
    labels = {
        OURS_SHIPPED: "rl_lab's `train dqn --env Pong`",
        SB3_SHIPPED: "SB3's DQN with the settings of rl-baselines3-zoo for Atari",
    }
    texts = []
    for name in rates:
        setup = rounds[0][name]["setup"]
        texts.append(f"{labels[name]} ({setup}): {median_and_range(rates[name], 0)} agent steps/s")
    if OURS_SHIPPED in rates and SB3_SHIPPED in rates:
        texts.append(f"ratio {median_and_range(ratios(rates[OURS_SHIPPED], rates[SB3_SHIPPED]))}")
    return f"As shipped against as shipped, which is different work: {'; '.join(texts)}."


def contender_table(
    rounds: list[dict[str, Answer]], rates: dict[str, list[float]], contenders: dict[str, Contender]
) -> list[str]:
    """Return the lines of a table with one row per contender."""
    header = ["", "agent steps/s", "updates/s", *(f"rl_lab {precision} / this" for precision in PRECISIONS)]
    header += ["peak memory", *TIME_SHARES, "other"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name in rounds[0]:
        answers = [round_answers[name] for round_answers in rounds]
        seconds = sum(answer["seconds"] for answer in answers)
        num_updates = sum(answer["updates"] for answer in answers)
        peak_bytes = max(answer["bytes"] for answer in answers)
        cells = [name, median_and_range(rates[name], 0), f"{num_updates / seconds:.1f}"]
        for precision in PRECISIONS:
            ours = our_name(precision, contenders[name].num_envs)
            cells.append(median_and_range(ratios(rates[ours], rates[name])) if ours in rates else "")
        cells.append(f"{peak_bytes / 1e9:.2f} GB")
        cells += [f"{share:.1%}" for share in time_shares(answers, seconds)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def time_shares(answers: list[Answer], seconds: float) -> list[float]:
    """Return the shares of `seconds` in the order of `TIME_SHARES`, and the rest."""

    def share(kind: str) -> float:
        return sum(answer["shares"].get(kind, 0.0) for answer in answers) / seconds

    shares = [share(kind) for kind in TIME_SHARES]
    return [*shares, 1 - sum(shares)]


def limit_lines(limits: list[dict[str, float]], rates: dict[str, list[float]]) -> list[str]:
    """Return a list of the machine's limits, and of the share of them that we reach with 8 environments."""
    lines = []
    for name in limits[0]:
        values = [measured[name] for measured in limits]
        if "FLOP" in name:
            lines.append(f"- {name}: {median_and_range([value / 1e9 for value in values], 0)} G")
        else:
            lines.append(f"- {name}: {median_and_range(values, 0)}")
    emulator_rates = [measured["emulators steps/s"] for measured in limits]
    stream_rates = [measured["stream steps/s"] for measured in limits]
    stream_ratios = ratios(stream_rates, emulator_rates)
    lines.append(f"- rate of the stream / rate of the emulators alone: {median_and_range(stream_ratios)}")
    for precision in PRECISIONS:
        ours = our_name(precision, 8)
        flops = f"matrix {precision} FLOP/s"
        if flops not in limits[0] or ours not in rates:
            continue
        bounds = [step_bound(measured["emulators steps/s"], measured[flops]) for measured in limits]
        lines.append(
            f"- bound of emulators and {precision} matrix products: {median_and_range(bounds, 0)} steps/s;"
            f" reached: {median_and_range(ratios(rates[ours], bounds))}"
        )
    return lines


def step_bound(emulator_rate: float, flops_per_second: float) -> float:
    """Return the agent steps per second if only the emulators and the matrix products of updates took time, in turn.

    An update computes the target network and the online network forward, and two gradients (of the weights and of the
    inputs of each layer). The first layer needs no gradient of its input.
    """
    flops_per_update = 2 * BATCH_SIZE * (4 * MACS_FORWARD - MACS_FIRST_LAYER)
    return 1 / (1 / emulator_rate + flops_per_update / STEPS_PER_UPDATE / flops_per_second)


def steps_per_second(answer: Answer) -> float:
    """Return the agent steps per second of a measurement."""
    return answer["steps"] / answer["seconds"]


def ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Return the quotients of two lists, round by round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def median_and_range(values: list[float], digits: int = 2) -> str:
    """Return "median (minimum to maximum)"."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
