"""Random trials of the commands: flags, configurations, damaged run folders and odd environments.

    python tests/fuzz.py --minutes 5 [--seed N] [--kinds flags,configs,folders,environments]

A trial is one command in a process of its own. It fails if the command

- prints a traceback, ends with a code that is not documented, or with an error of several lines (kind "traceback");
- does not end in time ("hang");
- says that it succeeded although the run has not all its steps, or damages files that were whole ("loss").

The program prints the failed trials, each with the command that repeats it, and a summary. It exits with 1 if a trial
failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

TESTS = Path(__file__).resolve().parent
TIMEOUT = 120.0  # seconds of a trial; the machine may be busy
EXIT_CODES = {0, 1, 2}
INTERRUPTED = 130  # exit code after Ctrl-C, which an environment raises as KeyboardInterrupt
TEXTS = [
    "",
    " ",
    "-",
    "--",
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e9",
    "1e400",
    "9" * 30,
    "0x10",
    "1_000",
    "None",
    "null",
    "true",
    "[]",
    "{}",
    "[1, 2]",
    "a=b",
    "latest",
    "demo",
    "..",
    "/",
    "/dev/null",
    "/proc/self/mem",
    "~",
    "x" * 300,
    "\x1b[31mred\x1b[0m",
    "line\nbreak",
    "tab\there",
    "ü",
    "日本",
    "\u202eabc",
    "\udc80",
    "<!--<script>",
    "/*PLOTLY*/",
    "%s%n",
    "$(id)",
    "'\"",
    "*",
    "[",
    "\\",
]
"""Values that nobody expects."""

AGENTS = [
    "dqn",
    "rainbow",
    "qr_dqn",
    "drqn",
    "reinforce",
    "ppo",
    "recurrent_ppo",
    "a2c",
    "pqn",
    "tabular_q_learning",
    "double_dqn",
]
ENVS = ["odd_envs:Plain-v0", "CartPole-v1", "FrozenLake-v1", "odd_envs:Codes-v0", "odd_envs:NumpyRandom-v0"]
COSTLY_SETTINGS = {"steps", "eval_episodes", "eval_max_steps", "num_envs", "collectors", "vectorization", "device"}
"""Settings of which random values would make a trial long. Trials set them to small values."""
SMALL_RUN = ["--steps=60", "--num-envs=2", "--eval-episodes=1", "--eval-max-steps=50", "--wandb=disabled"]


@dataclass
class Trial:
    """One command, and what must be true after it."""

    kind: str
    args: list[str]
    description: str = ""
    check: Callable[[Result], str | None] = lambda result: None
    """Returns the loss that the trial has caused, or None."""
    source: str = ""
    """Source text of the environment that the command runs, if the trial has written one."""


class Result(NamedTuple):
    """The output and the exit code of a command."""

    exit_code: int | None  # None: it did not end in time; negative: a signal
    stdout: str
    stderr: str
    seconds: float


@dataclass
class Failure:
    """A failed trial."""

    reason: str  # "traceback", "hang" or "loss"
    trial: Trial
    result: Result
    detail: str = ""


@dataclass
class Fuzzer:
    """Makes and runs trials in a temporary folder."""

    folder: Path
    seed: int
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    exit_codes: Counter[int | None] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Import what all commands need, and train the runs that trials damage."""
        sys.path[:0] = [str(self.folder), str(TESTS), str(TESTS.parent)]
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["WANDB_MODE"] = "disabled"
        import torch

        import rl_lab.api  # noqa: F401  # children are forked, so they need not import it again

        torch.set_num_threads(1)
        for env in ("odd_envs:Plain-v0", "CartPole-v1"):
            args = ["train", "dqn", f"--env={env}", *SMALL_RUN, "--learning-starts=20", "--replay-size=200"]
            result = run_command(args, self.folder)
            assert result.exit_code == 0, result.stderr

    @property
    def runs(self) -> list[Path]:
        """Return the whole runs, which no trial may change."""
        return sorted(file.parent for file in (self.folder / "runs").glob("*/*/*/config.yaml"))

    def run(self, number: int, kinds: list[str]) -> None:
        """Make and run one trial, whose random numbers depend only on the seed and the number."""
        rng = random.Random(f"{self.seed}/{number}")
        kind = kinds[number % len(kinds)]
        workspace = self.folder / f"trial{number}"
        workspace.mkdir()
        try:
            trial = TRIALS[kind](rng, workspace, self.runs)
            result = run_command(trial.args, workspace)
            self.counts[kind] += 1
            self.exit_codes[result.exit_code] += 1
            failure = judge(trial, result)
            if failure is not None:
                self.failures.append(failure)
                print_failure(failure, number, self.seed)
        finally:
            make_removable(workspace)
            shutil.rmtree(workspace, ignore_errors=True)


def judge(trial: Trial, result: Result) -> Failure | None:
    """Return how a trial has failed, or None."""
    if result.exit_code is None:
        return Failure("hang", trial, result)
    output = result.stdout + result.stderr
    if "Traceback (most recent call last)" in output:
        return Failure("traceback", trial, result)
    errors = error_lines(result.stderr, trial.source)
    if result.exit_code == INTERRUPTED and "raise KeyboardInterrupt" in trial.source:
        return None if "stopped" in output else Failure("traceback", trial, result, "no line says that it stopped")
    if result.exit_code not in EXIT_CODES:
        return Failure("traceback", trial, result, f"exit code {result.exit_code}")
    if result.exit_code == 2 and (len(errors) != 1 or not errors[0].startswith("rl_lab: ")):
        return Failure("traceback", trial, result, f"the error has {len(errors)} lines")
    if result.exit_code == 1 and not any(line.startswith("rl_lab: ") for line in errors):
        return Failure("traceback", trial, result, "exit code 1 without an error line")
    loss = trial.check(result)
    return Failure("loss", trial, result, loss) if loss else None


def error_lines(stderr: str, source: str) -> list[str]:
    """Return the lines of an error, without Python warnings and the lines of code below them.

    Args:
        stderr: What the command wrote.
        source: Source text of the environment. Python shows the line of it that a warning concerns.
    """
    code = {line.strip() for line in source.splitlines()}
    lines = []
    follows_warning = False
    for line in stderr.splitlines():
        is_warning = re.match(r".+:\d+: \w*Warning: ", line) is not None
        is_code = follows_warning and line.startswith("  ") and line.strip() in code
        follows_warning = is_warning
        if line and not is_warning and not is_code and not line.startswith("WARNING"):
            lines.append(line)
    return lines


def print_failure(failure: Failure, number: int, seed: int) -> None:
    """Print a failed trial with the command that repeats it."""
    print(f"\n{failure.reason.upper()} {failure.detail} ({failure.trial.kind}, {failure.result.seconds:.0f} s)")
    print(f"  {failure.trial.description} {failure.trial.args!a}")
    print(f"  repeat: python tests/fuzz.py --seed {seed} --only {number}")
    for line in ascii_lines(failure.result.stderr)[-8:] or ascii_lines(failure.result.stdout)[-4:]:
        print(f"  | {line}")


def ascii_lines(text: str) -> list[str]:
    """Return the lines of a text without characters that a terminal would interpret."""
    return [ascii(line)[1:-1][:300] for line in text.splitlines()]


# --- Processes --------------------------------------------------------------------------------------------------------


def run_command(args: list[str], folder: Path, timeout: float = TIMEOUT) -> Result:
    """Run a command of the lab in a forked process that is the leader of a new session, and wait for its end.

    A fork is used because importing PyTorch takes seconds.
    """
    out = folder / ".stdout"
    err = folder / ".stderr"
    start = time.monotonic()
    process_id = os.fork()
    if process_id == 0:
        _be_the_command(args, folder, out, err)
    exit_code = None
    while time.monotonic() - start < timeout:
        ended, status = os.waitpid(process_id, os.WNOHANG)
        if ended:
            exit_code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.02)
    _kill_session(process_id)
    if exit_code is None:
        os.waitpid(process_id, 0)
    seconds = time.monotonic() - start
    return Result(exit_code, out.read_text(errors="replace"), err.read_text(errors="replace"), seconds)


def _be_the_command(args: list[str], folder: Path, out: Path, err: Path) -> None:
    """Run the command in this process, as `python -m rl_lab` would, and end the process."""
    code = 3
    try:
        os.setsid()
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        for path, descriptor in ((out, 1), (err, 2)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        from rl_lab.cli.main import main

        try:
            main(args)
            code = 0
        except SystemExit as stop:
            code = 1
            if stop.code is None:
                code = 0
            elif isinstance(stop.code, int):
                code = stop.code
        except BaseException:
            traceback.print_exc()
        import atexit

        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _kill_session(leader: int) -> None:
    """Kill what is left of the command's process group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def make_removable(folder: Path) -> None:
    """Give back the permissions that a trial has taken."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


# --- Random flags -----------------------------------------------------------------------------------------------------


def flags_trial(rng: random.Random, workspace: Path, runs: list[Path]) -> Trial:
    """Return a command with random flags and values."""
    command = rng.choice(
        ["train", "train", "train", "resume", "eval", "watch", "look", "compare", "list", "sync", "dash"]
    )
    if command == "train":
        return _training_trial(rng, workspace)
    run = str(rng.choice(runs)) if rng.random() < 0.8 else rng.choice(["latest", *TEXTS])
    options = {
        "resume": ["--steps", "--address", "--runs-dir"],
        "eval": ["--episodes", "--epsilon", "--seed", "--checkpoint", "--runs-dir", "--max-steps", "--json"],
        "watch": ["--video", "--episodes", "--seed", "--checkpoint", "--saliency", "--fps", "--runs-dir"],
        "look": ["--checkpoint", "--seed", "--epsilon", "--runs-dir", "--steps"],
        "compare": ["--metric", "--csv", "--out", "--runs-dir", "--by", "--json"],
        "sync": ["--runs-dir"],
        "dash": ["--runs-dir"],
        "list": [],
    }[command]
    args = [command]
    if command == "list":
        args += [rng.choice(["agents", "envs", *TEXTS])]
    else:
        args += [run]
    for option in rng.sample(options, min(len(options), rng.randint(0, 2))):
        value = rng.choice([*TEXTS, "1", "2", "0.5", "best", "last"])
        args += [f"{option}={value}"] if rng.random() < 0.7 else [option, value]
    if command in ("eval", "watch"):
        args += ["--episodes=1"]
    if command == "watch" and not any(arg.startswith("--video") for arg in args):
        args += [f"--video={workspace / 'a.mp4'}"]
    if command == "resume":
        args = [arg for arg in args if arg != "1e9"]
    before = contents(runs)
    return Trial("flags", without_nul(args), check=lambda result: changed(before, contents(runs), result, command))


def _training_trial(rng: random.Random, workspace: Path) -> Trial:
    """Return `train` with random settings, of which some are wrong."""
    agent = rng.choice(AGENTS)
    settings = setting_types(agent)
    args = ["train", agent, f"--env={rng.choice(ENVS * 20 + TEXTS)}", *SMALL_RUN]
    for name in rng.sample(sorted(settings), rng.randint(1, 4)):
        if name in COSTLY_SETTINGS:
            continue
        flag = "--" + (name if rng.random() < 0.3 else name.replace("_", "-"))
        if rng.random() < 0.05:
            flag = mistyped(rng, flag)
        args.append(f"{flag}={random_value(rng, settings[name])}")
    return Trial("flags", without_nul(args), check=lambda result: unfinished(workspace, result))


def setting_types(agent: str) -> dict[str, str]:
    """Return the types of all settings of an agent's runs, as text."""
    from rl_lab.experiment.registry import find_agent
    from rl_lab.experiment.run_config import RunConfig

    fields = [*dataclasses.fields(RunConfig), *dataclasses.fields(find_agent(agent).load_config_class())]
    return {each.name: str(each.type) for each in fields if each.name not in ("env", "runs_dir", "wandb")}


def random_value(rng: random.Random, type_name: str) -> str:
    """Return a value that fits the type most of the time."""
    if rng.random() < 0.2:
        return rng.choice(TEXTS)
    if "bool" in type_name:
        return rng.choice(["True", "False"])
    if any(name in type_name for name in ("int", "Count", "Seed")):
        return str(rng.choice([0, 1, 2, 3, 8, 16, 50]))
    return str(rng.choice([0.0, 1e-4, 0.01, 0.5, 0.9, 1.0, 2.0]))


def mistyped(rng: random.Random, flag: str) -> str:
    """Return a flag with one letter exchanged."""
    i = rng.randrange(2, len(flag))
    return flag[:i] + rng.choice("abcxyz_-") + flag[i + 1 :]


def without_nul(args: list[str]) -> list[str]:
    """Return the arguments without NUL characters, which no command line can hold."""
    return [arg.replace("\0", "") for arg in args]


# --- Random configurations --------------------------------------------------------------------------------------------


def configs_trial(rng: random.Random, workspace: Path, runs: list[Path]) -> Trial:
    """Return `train --config` with a changed copy of a run's configuration."""
    config = yaml.safe_load((rng.choice(runs) / "config.yaml").read_text())
    config |= {"steps": 60, "num_envs": 2, "eval_episodes": 1}
    for _ in range(rng.randint(1, 3)):
        change_mapping(rng, config)
    text = yaml.safe_dump(config, allow_unicode=rng.random() < 0.5)
    if rng.random() < 0.4:
        text = damaged_text(rng, text)
    path = workspace / "settings.yaml"
    path.write_text(text, errors="surrogateescape")
    args = ["train", "dqn", f"--config={path}", *SMALL_RUN, "--runs-dir=runs"]
    if rng.random() < 0.5:
        args.append(f"--env={rng.choice(ENVS)}")
    return Trial("configs", args, check=lambda result: unfinished(workspace, result))


def change_mapping(rng: random.Random, mapping: dict[Any, Any]) -> None:
    """Change, remove or add one entry. Entries that would make a run long stay."""
    names = sorted(set(mapping) - COSTLY_SETTINGS, key=str)
    name = rng.choice(names)
    kind = rng.randrange(4)
    if kind == 0:
        del mapping[name]
    elif kind == 1:
        mapping[rng.choice(TEXTS)] = rng.choice(TEXTS)
    else:
        mapping[name] = random_data(rng)


def random_data(rng: random.Random, depth: int = 2) -> Any:
    """Return random data of the kinds that YAML and JSON know."""
    values: list[Any] = [None, True, False, 0, -1, 1, 10**30, 0.5, float("nan"), float("inf"), *TEXTS[:-3]]
    if depth and rng.random() < 0.3:
        parts = [random_data(rng, depth - 1) for _ in range(rng.randint(0, 3))]
        return parts if rng.random() < 0.5 else {str(i): part for i, part in enumerate(parts)}
    value = rng.choice(values)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def damaged_text(rng: random.Random, text: str) -> str:
    """Return a text with lines doubled, cut, nested or made of garbage."""
    lines = text.splitlines()
    kind = rng.randrange(6)
    if kind == 0:
        return "\n".join([*lines, rng.choice(lines)])
    if kind == 1:
        return text[: rng.randrange(len(text))]
    if kind == 2:
        return "a: " + "[" * 5000
    if kind == 3:
        return "a: &a [x, x]\n" + "\n".join(
            f"{c}: &{c} [*{p}, *{p}, *{p}]" for p, c in zip("abcdefghijk", "bcdefghijkl", strict=True)
        )
    if kind == 4:
        return "".join(chr(rng.randrange(1, 0x300)) for _ in range(200))
    return text.replace(
        rng.choice(lines), rng.choice(["\t- x", "!!python/object:os.system x", "%TAG", "? ? :", "\x00"])
    )


# --- Damaged run folders ----------------------------------------------------------------------------------------------


def folders_trial(rng: random.Random, workspace: Path, runs: list[Path]) -> Trial:
    """Return a command on a damaged copy of a run."""
    run = workspace / "runs" / "env" / "dqn" / "20250101-000000-s1"
    shutil.copytree(rng.choice(runs), run)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    important = [path for path in files if path.suffix in (".yaml", ".json", ".jsonl", ".safetensors")]
    damage = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        path = rng.choice(important)
        damage.append(f"{damage_path(rng, path)} {path.relative_to(run)}")
    command = rng.choice(["resume", "resume", "eval", "watch", "compare", "look", "sync", "dash"])
    args = {
        "resume": ["resume", str(run), "--steps=120"],
        "eval": ["eval", str(run), "--episodes=1"],
        "watch": ["watch", str(run), "--episodes=1", f"--video={workspace / 'a.mp4'}"],
        "compare": ["compare", str(run), str(rng.choice(runs))],
        "look": ["look", str(run)],
        "sync": ["sync", str(run)],
        "dash": ["dash", str(run)],
    }[command]
    before = contents(runs)
    whole = {path: data for path, data in contents([run]).items() if "checkpoints" in str(path)}

    def check(result: Result) -> str | None:
        if command == "compare" and result.exit_code not in (0, 2):
            return f"compare ended with {result.exit_code}"
        if result.exit_code == 2 and contents([run]) | whole != contents([run]):
            return "a refused command changed checkpoints"
        return changed(before, contents(runs), result, "")

    return Trial("folders", args, description="; ".join(damage), check=check)


def damage_path(rng: random.Random, path: Path) -> str:
    """Damage one file, and return how."""
    kind = rng.choice([*DAMAGES, "data", "data"])
    if not path.is_file() or path.is_symlink():
        return "already damaged"
    try:
        DAMAGES[kind](rng, path)
    except (AttributeError, IndexError, TypeError, ValueError, yaml.YAMLError):  # the data cannot be read any more
        return "already damaged"
    return kind


def cut(rng: random.Random, path: Path) -> None:
    """Cut the end of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data) + 1)])


def change_bytes(rng: random.Random, path: Path) -> None:
    """Change 8 bytes of a file."""
    data = path.read_bytes()
    position = rng.randrange(len(data) + 1)
    path.write_bytes(data[:position] + rng.randbytes(8) + data[position + 8 :])


def replace_by_folder(rng: random.Random, path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def replace_by_nested_lists(rng: random.Random, path: Path) -> None:
    """Replace the content by lists that no parser can follow."""
    path.write_text("[" * 100_000)


def replace_by_text(rng: random.Random, path: Path) -> None:
    """Replace the content by an unexpected text."""
    path.write_text(rng.choice(TEXTS) * 3, errors="surrogateescape")


def replace_by_loop(rng: random.Random, path: Path) -> None:
    """Put a link to itself in the place of a file."""
    path.unlink()
    path.symlink_to(path)


def change_data(rng: random.Random, path: Path) -> None:
    """Change the data in a JSON or YAML file, so that it is still JSON or YAML."""
    if path.suffix == ".json":
        data = json.loads(path.read_text())
        change_mapping(rng, data) if rng.random() < 0.8 else data.clear()
        path.write_text(json.dumps(data if rng.random() < 0.9 else [data]))
    elif path.suffix == ".yaml":
        data = yaml.safe_load(path.read_text())
        change_mapping(rng, data)
        path.write_text(yaml.safe_dump(data))
    elif path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change_mapping(rng, rng.choice(lines))
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        path.write_bytes(path.read_bytes()[::-1])


DAMAGES: dict[str, Callable[[random.Random, Path], None]] = {
    "cut": cut,
    "bytes": change_bytes,
    "empty": lambda rng, path: os.truncate(path, 0),
    "delete": lambda rng, path: path.unlink(),
    "folder": replace_by_folder,
    "loop": replace_by_loop,
    "nested": replace_by_nested_lists,
    "text": replace_by_text,
    "data": change_data,
}
"""Ways to damage a file."""


# --- Odd environments -------------------------------------------------------------------------------------------------

ENV_TEMPLATE = """
import os, random, sys
import gymnasium
import numpy as np
from gymnasium.spaces import *


class Env(gymnasium.Env):
    metadata = {{"render_modes": ["rgb_array"]}}
    n = 0  # steps of all environments in this process; the trial before a run takes about 85

    def __init__(self, {arguments}):
        self.render_mode = locals().get("render_mode")
        self.observation_space = {space}
        self.action_space = {actions}
        self.t = 0
        {constructor}

    def obs(self):
        value = {obs}
        return value

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        {reset}
        return self.obs(), {info}

    def step(self, action):
        self.t += 1
        Env.n += 1
        if self.n == {when}:
            {step}
        return self.obs(), {reward}, {terminated}, {truncated}, {info}

    def render(self):
        return {render}


gymnasium.register("Env-v0", Env)
{module}
"""
ENV_PARTS: dict[str, list[str]] = {
    "arguments": ["render_mode=None"] * 8 + ["size, render_mode=None", "*args, **kwargs"],
    "space": [
        "Box(-1, 1, (2,), np.float32)",
        "Box(-1, 1, (2,), np.float64)",
        "Box(0, 255, (7, 7, 3), np.uint8)",
        "Box(0, 255, (40, 50, 3), np.uint8)",
        "Box(0, 255, (36, 36), np.uint8)",
        "Box(0, 1, (1, 5, 5), bool)",
        "Box(-np.inf, np.inf, (), np.float32)",
        "Box(-1, 1, (0,), np.float32)",
        "Box(-1, 1, (1, 1, 1, 3), np.float32)",
        "Discrete(5)",
        "Discrete(3, start=-1)",
        "Discrete(1)",
        "Discrete(10**12)",
        "MultiBinary(3)",
        "MultiBinary((2, 2))",
        "MultiDiscrete([2, 3])",
        "MultiDiscrete(np.array([[2, 3], [1, 4]]), start=np.array([[0, -1], [5, 0]]))",
        "MultiDiscrete([10**12, 2])",
        "Tuple((Discrete(2), Discrete(3)))",
        "Tuple((Box(-1, 1, (2,)), Dict(a=MultiBinary(2), b=Box(0, 255, (5, 5, 3), np.uint8))))",
        "Tuple(())",
        "Dict(a=Box(0, 1, (2,)))",
        "Dict(a=Box(0, 1, (4, 4)), b=Discrete(3, start=2), c=Dict(d=MultiDiscrete([2, 2], start=[1, 1])))",
        "Dict(screen=Box(0, 255, (40, 50, 3), np.uint8), speed=Box(-np.inf, np.inf, (3,), np.float64))",
        "Dict(board=Box(0, 2, (6, 7), np.uint8), action_mask=Box(1, 1, (2,), np.int8))",
        "Dict(board=Box(0, 2, (6, 7), np.uint8), action_mask=Box(0, 1, (2,), np.int8))",
        "Dict(a=Box(0, 255, (7, 7), np.uint8), b=Box(0, 1, (7, 7)))",
        "Dict(a=Discrete(3), text=Text(5))",
        "Dict()",
        "Sequence(Discrete(2))",
        "Text(5)",
        "None",
        "3",
    ],
    "actions": ["Discrete(2)"] * 6
    + [
        "Discrete(1)",
        "Discrete(3, start=5)",
        "MultiDiscrete([2, 3])",
        "MultiDiscrete(np.array([[2, 1], [3, 2]]), start=np.array([[0, 1], [-1, 5]]))",
        "MultiDiscrete([1] * 80)",
        "MultiDiscrete([10**9, 2])",
        "MultiBinary(3)",
        "MultiBinary((20, 2))",
        "MultiBinary(70)",
        "Tuple((Discrete(2), Discrete(2)))",
        "Box(-1, 1, (1,))",
        "Discrete(10**12)",
        "None",
    ],
    "constructor": ["pass"] * 8
    + ["raise OSError(2, 'x')", "sys.exit(0)", "1 / 0", "self.get_action_meanings = 3", "print('hello')"],
    "obs": ["self.observation_space.sample()"] * 8
    + [
        "np.zeros(3)",
        "None",
        "np.nan",
        "[np.nan, 1]",
        "np.ones((2, 2, 2))",
        "'text'",
        "self.observation_space.sample() * 1e300",
        "{}",
        "{'a': np.nan, 'b': -1, 'c': None}",
        "(1, 2)",
        "dict(self.observation_space.sample()) if self.n < 100 else {'a': [[1], 2]}",
        "self.observation_space.sample() if self.n < 100 else (0, 9)",
    ],
    "reset": ["pass"] * 8
    + ["raise ValueError('x\\ny')", "sys.exit(3)", "return None", "self.observation_space = None"],
    "info": ["{}"] * 8
    + [
        "None",
        "{1: 2}",
        "{'lives': 'x'}",
        "[]",
        "{'action_mask': np.ones(2, np.int8)}",
        "{'action_mask': np.array([self.t % 2 == 0, True])}",
        "{'action_mask': [1, 0]}",
        "{'action_mask': np.zeros(2, bool)}",
        "{'action_mask': np.zeros(2) if self.n > 100 else np.ones(2)}",
        "{'action_mask': np.ones(3)}",
        "{'action_mask': 'all' if self.n > 100 else [True, True]}",
        "{'action_mask': None}",
        "{} if self.n > 100 else {'action_mask': [True, True]}",
    ],
    "step": ["pass"] * 4
    + [
        "raise KeyError(3)",
        "sys.exit(0)",
        "os._exit(0)",
        "raise KeyboardInterrupt",
        "os.chdir('/')",
    ],
    "when": ["3", "40", "130"],
    "reward": ["1.0"] * 6
    + ["float('nan')", "None", "np.ones(1)", "1e39", "-np.inf", "'1'", "random.random()", "10**400"],
    "terminated": ["self.t >= 6"] * 6 + ["False", "True", "None", "np.bool_(self.t > 3)", "self.t > 3 and 'yes'"],
    "truncated": ["False"] * 6 + ["True", "self.t >= 4", "None"],
    "render": [
        "np.zeros((40, 60, 3), np.uint8)",
        "None",
        "np.zeros((3, 3))",
        "1 / 0",
        "[]",
        "sys.exit(0)",
        "np.zeros((0, 0, 3))",
    ],
    "module": [""] * 10 + ["raise RuntimeError('x')", "sys.exit(0)", "import nothing_like_this", "x ="],
}
"""Parts of a random environment."""


def environments_trial(rng: random.Random, workspace: Path, runs: list[Path]) -> Trial:
    """Return `train` on a random environment."""
    parts = {name: values[0] for name, values in ENV_PARTS.items()}
    for name in rng.sample(sorted(parts), rng.randint(1, 4)):
        parts[name] = rng.choice(ENV_PARTS[name])
    name = f"fuzz_env_{rng.randrange(10**9)}"
    source = ENV_TEMPLATE.format(**parts)
    (workspace / f"{name}.py").write_text(source)
    vectorization = rng.choice(["auto", "auto", "sync", "async"])
    args = ["train", rng.choice(AGENTS), f"--env={name}:Env-v0", *SMALL_RUN, f"--vectorization={vectorization}"]
    if rng.random() < 0.3:
        args.append("--video-every=30")
    unusual = {key: value for key, value in parts.items() if value != ENV_PARTS[key][0]}
    return Trial("environments", args, str(unusual), lambda result: unfinished(workspace, result), source)


# --- Losses -----------------------------------------------------------------------------------------------------------


def contents(folders: list[Path]) -> dict[Path, bytes]:
    """Return the bytes of all files in folders, without locks and logs of W&B."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path: path.read_bytes() for path in files}


def changed(before: dict[Path, bytes], after: dict[Path, bytes], result: Result, command: str) -> str | None:
    """Return which whole run a command has changed, unless it was a resume that worked."""
    if command in ("resume", "look") and result.exit_code == 0:
        return None
    for path, data in before.items():
        if after.get(path) != data:
            return f"{path} was changed"
    return None


def unfinished(workspace: Path, result: Result) -> str | None:
    """Return that a run is not finished although its command says so."""
    if result.exit_code != 0:
        return None
    states = [json.loads(path.read_text()) for path in workspace.glob("**/checkpoints/*/state.json")]
    if not states and "--help" not in result.stdout:
        return "the command succeeded and left no checkpoint"
    return None


TRIALS: dict[str, Callable[[random.Random, Path, list[Path]], Trial]] = {
    "flags": flags_trial,
    "configs": configs_trial,
    "folders": folders_trial,
    "environments": environments_trial,
}


def fuzz(minutes: float, seed: int, kinds: list[str], only: int | None = None) -> Fuzzer:
    """Run trials for some minutes, or only the trial with a number, and return the results."""
    folder = Path(tempfile.mkdtemp(prefix="rl_lab_fuzz_"))
    try:
        fuzzer = Fuzzer(folder, seed)
        fuzzer.prepare()
        if only is not None:
            fuzzer.run(only, kinds)
            return fuzzer
        ends = time.monotonic() + minutes * 60
        number = 0
        while time.monotonic() < ends:
            fuzzer.run(number, kinds)
            number += 1
        return fuzzer
    finally:
        make_removable(folder)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Read the arguments, run the trials, and print the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of trials (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the trials (default 1)")
    parser.add_argument("--kinds", default=",".join(TRIALS), help="kinds of trials, separated by commas")
    parser.add_argument("--only", type=int, help="run only the trial with this number")
    args = parser.parse_args()
    fuzzer = fuzz(args.minutes, args.seed, args.kinds.split(","), args.only)
    reasons = Counter(failure.reason for failure in fuzzer.failures)
    trials = ", ".join(f"{count} {kind}" for kind, count in fuzzer.counts.items())
    print(
        f"\n{sum(fuzzer.counts.values())} trials with seed {args.seed} ({trials}); exit codes {dict(fuzzer.exit_codes)}"
    )
    print(f"{reasons['traceback']} tracebacks, {reasons['hang']} hangs, {reasons['loss']} losses")
    sys.exit(1 if fuzzer.failures else 0)


if __name__ == "__main__":
    main()
