"""How fast is it? Our DQN and others' on the same machine, the same work, in turn: python scripts/benchmark.py.

The work: Pong with four frames of 84 x 84, Nature network, batch 32, one update per 4 agent steps, replay of 100,000, epsilon
.01. Every contender is a process that has warmed up and waits; each round runs them one after another, in an order that
changes from round to round, so that a ratio compares neighbours in time. Peers get virtual environments of their own under
.benchmark/; with --here nothing is installed, and those take part that this Python can import. Shares are of the host's time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "scripts" / "contenders"
ATARI = ["ale-py", "gymnasium", "opencv-python-headless", "numpy"]
COMPARED = ["rl_lab, float32", "rl_lab, 32 envs", "rl_lab, CUDA graphs, 32 envs"]  # with everyone
MACS_FORWARD = 400 * 32 * 256 + 81 * 64 * 512 + 49 * 64 * 576 + 3136 * 512 + 512 * 6  # of the Nature network, a state
MACS_FIRST_LAYER = 400 * 32 * 256  # has no gradient of its input


@dataclass(frozen=True)
class Contender:
    """A script of scripts/contenders, its arguments after warm-up and device, and the packages it needs beside torch."""

    script: str
    args: tuple[str, ...] = ()
    packages: tuple[str, ...] | None = None  # None: our own environment

    def python(self, here: bool) -> Path:
        """The interpreter that runs it: of its own environment, or `here` of ours."""
        if here or self.packages is None:
            return Path(sys.executable)
        return ROOT / ".benchmark" / Path(self.script).stem / "bin" / "python"

    def importable(self) -> bool:
        """Whether this Python has the package that it is about."""
        name = (self.packages or ("rl_lab",))[0].split("==")[0].replace("-", "_")
        return importlib.util.find_spec(name) is not None


def contenders(device: str, precision: str) -> dict[str, Contender]:
    """Who takes part, ourselves first."""
    sb3 = ("stable-baselines3", *ATARI)
    found = {
        "rl_lab": Contender("lab.py", ("8", precision)),
        "rl_lab, 1 env": Contender("lab.py", ("1", precision)),
        "rl_lab, 32 envs": Contender("lab.py", ("32", precision)),
        "SB3, 1 env": Contender("sb3_dqn.py", ("1",), sb3),
        "SB3, 8 envs": Contender("sb3_dqn.py", ("8",), sb3),
        "SB3, 32 envs": Contender("sb3_dqn.py", ("32",), sb3),
        "Tianshou, 8 envs": Contender("tianshou_dqn.py", ("8",), ("tianshou==2.0.1", *ATARI)),
        "single file, 1 env": Contender("single_file.py", (), tuple(ATARI)),
    }
    if precision != "float32":
        found["rl_lab, float32"] = Contender("lab.py", ("8", "float32"))
    if device == "cuda":
        for n in (8, 32):
            found[f"rl_lab, CUDA graphs, {n} envs"] = Contender("lab.py", (str(n), precision, "graphs"))
    return found


def install(contender: Contender) -> None:
    """Make the virtual environment of a peer, where it is not there yet with what is asked for."""
    folder = contender.python(here=False).parent.parent
    constraints = ROOT / "constraints.txt"
    asked, installed = f"{contender.packages}\n{constraints.read_text()}", folder / "installed"
    if contender.packages is None or (installed.exists() and installed.read_text() == asked):
        return
    print(f"installing {contender.packages[0]} into {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(contender.python(here=False)), "-m", "pip", "install", "--quiet", "-c", str(constraints)]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, *contender.packages], check=True)
    installed.write_text(asked)


class Process:
    """A contender that answers line by line."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.command)} ended with {self.process.wait()}")
        return line

    def ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self._read())

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def middle(values: list[float], digits: int = 2) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def report(rounds: list[dict[str, dict[str, Any]]], limits: list[dict[str, float]]) -> str:
    """The figures as a Markdown table, with the rates of the first contender and of some more of ours over each, and the limits."""
    names = list(rounds[0])
    ours = [name for name in dict.fromkeys([names[0], *COMPARED]) if name in names]
    rates = {name: [r[name]["steps"] / r[name]["seconds"] for r in rounds] for name in names}
    lines = [
        f"| | agent steps/s | updates/s | {''.join(f'{o} over it | ' for o in ours)}peak memory | acting | emulation | sampling | updating | other |",
        "|---" * (9 + len(ours)) + "|",
    ]
    for name in names:
        mine = [r[name] for r in rounds]
        seconds = sum(r["seconds"] for r in mine)
        kinds = ("acting", "emulation", "sampling", "updating")
        shares = [sum(r["shares"].get(kind, 0.0) for r in mine) / seconds for kind in kinds]
        ratios = [[a / b for a, b in zip(rates[o], rates[name], strict=True)] for o in ours]
        cells = [
            name,
            middle(rates[name], 0),
            f"{sum(r['updates'] for r in mine) / seconds:.1f}",
            *map(middle, ratios),
            f"{max(r['bytes'] for r in mine) / 1e9:.2f} GB",
            *(f"{share:.1%}" for share in [*shares, 1 - sum(shares)]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "The machine, and how much of it is used:", ""]
    for name in limits[0]:
        values = [x[name] for x in limits]
        lines.append(
            f"- {name}: " + (middle([v / 1e9 for v in values], 0) + " G" if "FLOP" in name else middle(values, 0))
        )
    streams = [x["stream steps/s"] / x["emulators steps/s"] for x in limits]
    lines.append(f"- the stream has {middle(streams)} of the bare emulators' rate")
    flops = 2 * 32 * (4 * MACS_FORWARD - MACS_FIRST_LAYER)  # target, online, and two gradients
    for name in [n for n in limits[0] if "FLOP" in n]:
        bounds = [1 / (1 / x["emulators steps/s"] + flops / 4 / x[name]) for x in limits]
        reached = [rate / bound for rate, bound in zip(rates[names[0]], bounds, strict=True)]
        lines.append(
            f"- bound from emulators and {name.split()[1]} matrices: {middle(bounds, 0)} steps/s; reached: {middle(reached)}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Our DQN and others' on the same machine, the same work, in turn.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1_000, help="agent steps of each contender in a round")
    parser.add_argument("--here", action="store_true", help="install nothing: run those that this Python can import")
    parser.add_argument(
        "--warm-up", type=int, default=3_000, help="agent steps before, the second half of them learning"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--only", nargs="*", help="contenders whose names contain one of these")
    args = parser.parse_args()
    chosen = contenders(args.device, args.precision)
    if args.only:
        chosen = {n: c for n, c in chosen.items() if any(part in n for part in args.only)}
    if args.here:
        chosen = {n: c for n, c in chosen.items() if c.importable()}
    for contender in chosen.values():
        if not args.here:
            install(contender)
    running: dict[str, Process] = {}
    limits = Process([sys.executable, str(HERE / "limits.py"), "8", args.device])
    try:
        for name, c in chosen.items():
            print(f"warming up {name}", flush=True)
            command = [str(c.python(args.here)), str(HERE / c.script), str(args.warm_up), args.device, *c.args]
            running[name] = Process(command)
        rounds, found = [], []
        for i in range(args.rounds):
            order = list(running)[i % len(running) :] + list(running)[: i % len(running)]
            answers = {name: running[name].ask(str(args.steps)) for name in order}
            rounds.append({name: answers[name] for name in running})
            found.append(limits.ask("go"))
            rates = ", ".join(f"{n} {a['steps'] / a['seconds']:.0f}" for n, a in rounds[-1].items())
            print(f"round {i + 1}: {rates} agent steps/s", flush=True)
    finally:
        for process in [*running.values(), limits]:
            process.close()
    print(f"\n{report(rounds, found)}")


if __name__ == "__main__":
    main()
