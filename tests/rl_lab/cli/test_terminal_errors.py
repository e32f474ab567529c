"""Tests of errors of options on a real terminal: a pseudoterminal of 80 columns."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from rl_lab.cli.main import main

CARTPOLE = ["--env", "CartPole-v1"]
GRID = ["sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1"]

SCRIPT = """
import json, sys
from rl_lab.cli.main import main
for args in json.loads(sys.argv[1]):
    try:
        main(args)
    except SystemExit as exit_:
        print(f"exit code {exit_.code}")
"""

CASES = [
    (["train", "dqn", *CARTPOLE, "--lrr", "1"], "--lrr, 1; nearest: --lr (see python -m rl_lab train dqn --help)"),
    (["train", "dqn", *CARTPOLE, "--device", "tpu"], "invalid choice 'tpu' for argument '--device'"),
    (["train", "dqn", *CARTPOLE, "--lr", "abc"], "--lr is 'abc'; it must be a number"),
    (["train", "dqn", *CARTPOLE, "--exploration-fraction", "0.1"], "the nearest is 'epsilon_steps'"),
    ([*GRID, "--stepps", "3"], "--stepps, 3; nearest: --steps (see python -m rl_lab sweep grid --help)"),
    ([*GRID, "--retriess", "3"], "unknown option --retriess; nearest: --retries (see python -m rl_lab sweep grid"),
    (["sweep", "grid", "--agens", "dqn"], "unknown option --agens; nearest: --agents (see python -m rl_lab sweep grid"),
    ([*GRID, "--retries", "x"], "--retries is 'x'; it must be a whole number (see python -m rl_lab sweep grid --help)"),
    (["sweep", "search", "dqn", *CARTPOLE, "--lrr", "1"], "nearest: --lr (see python -m rl_lab sweep search --help)"),
    (["eval", "latest", "--episods", "3"], "--episods, 3; nearest: --episodes (see python -m rl_lab eval --help)"),
    (["compare", "x", "--jsn"], "--jsn; nearest: --json (see python -m rl_lab compare --help)"),
    (["resume"], "an argument is missing: A run folder"),
]


def run_on_terminal(command: list[str], folder: Path, columns: int = 80) -> str:
    """Run a command on a new terminal. Return what it writes there."""
    terminal, process_side = pty.openpty()
    fcntl.ioctl(process_side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
        stdin=process_side,
        stdout=process_side,
        stderr=process_side,
        start_new_session=True,
    )
    os.close(process_side)
    output = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the process has ended
            break
        if not part:
            break
        output += part
    process.wait(60)
    os.close(terminal)
    return output.decode().replace("\r\n", "\n")


def test_errors_of_options_are_one_plain_line_on_a_terminal(tmp_path: Path):
    """The terminal itself breaks the lines: none of the breaks comes from the program."""
    output = run_on_terminal([sys.executable, "-c", SCRIPT, json.dumps([args for args, _ in CASES])], tmp_path)
    lines = output.splitlines()
    assert len(lines) == 2 * len(CASES), output
    for (args, message), line, code in zip(CASES, lines[::2], lines[1::2], strict=True):
        assert code == "exit code 2", args
        assert line.startswith("rl_lab: "), args
        assert message in line, args
        assert line.isprintable(), args
        assert not set(line) & set("│╭╮╰╯─|"), args


def test_help_uses_the_width_of_the_terminal(tmp_path: Path):
    output = run_on_terminal([sys.executable, "-m", "rl_lab", "resume", "--help"], tmp_path)
    plain = re.sub(r"\x1b\[[\d;]*m", "", output)
    assert "--steps" in plain
    assert {len(line) for line in plain.splitlines() if line.startswith("│")} == {80}


@pytest.mark.parametrize("command", ["grid", "search"])
def test_help_of_sweeps_says_that_settings_are_accepted(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", command, "--help"])
    assert exit_.value.code == 0
    assert "The settings of train are accepted too" in " ".join(capsys.readouterr().out.split())
