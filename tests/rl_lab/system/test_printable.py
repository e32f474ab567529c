"""Names from outside: they reach terminals, titles and images as printable texts."""

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rl_lab.compare.publish import escape_markdown
from rl_lab.experiment.run import Run
from rl_lab.system.printable import ascii_printable, plain_text, print_line, printable
from rl_lab.tracking.run_table import RunRow, RunTable
from rl_lab.watch.images import draw_text, shorten, text_width

NAMES = st.text(st.characters(exclude_categories=()), max_size=60)  # all characters, halves of surrogate pairs too

HOSTILE = "\x1b]0;title\x07\x1b[2Jred\x1b[31m\r\nnext \u202eevil\u2069 \u2028 \ud800 \x9b31m \x00end"


@given(NAMES)
def test_printable_texts_hold_only_characters_that_can_be_printed(name: str):
    text = printable(name)
    text.encode()
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(text.splitlines()) <= 1
    assert printable(text) == text
    if name.isprintable():
        assert text == name


def test_escapes_are_those_of_python():
    assert printable(HOSTILE) == (
        r"\x1b]0;title\x07\x1b[2Jred\x1b[31m\r\nnext \u202eevil\u2069 \u2028 \ud800 \x9b31m \x00end"
    )
    assert printable("Grüße, 囲碁") == "Grüße, 囲碁"
    assert ascii_printable("Grüße") == r"Gr\xfc\xdfe"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_print_line_prints_one_line_in_any_encoding(encoding: str):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    print_line(HOSTILE + "囲", file=stream)
    output = stream.buffer.getvalue()
    assert output.count(b"\n") == 1
    assert b"\x1b" not in output


@given(NAMES)
def test_rich_prints_texts_without_markup_and_control_characters(name: str):
    stream = io.StringIO()
    Console(file=stream, force_terminal=False, width=1000).print(plain_text(f"[red]{name}"), soft_wrap=True)
    assert stream.getvalue() == f"[red]{printable(name)}\n"


@given(NAMES)
def test_images_show_any_text(name: str):
    image = np.zeros((30, 80, 3), np.uint8)
    draw_text(image, name, (0, 20))
    assert text_width(name, 0.5) >= 0
    assert len(shorten(name, 14)) <= 14


@given(NAMES)
def test_markdown_has_no_syntax_of_a_name(name: str):
    text = escape_markdown(printable(name))
    rest = text
    while rest:
        if rest[0] == "\\":
            rest = rest[2:]  # an escaped character
        else:
            assert rest[0] not in "`*_[]<>&|#$"
            rest = rest[1:]


def test_a_table_of_runs_prints_no_escapes(capsys):
    with RunTable(Console(highlight=False), HOSTILE) as table:
        table.update([RunRow(HOSTILE, "done", None, node=HOSTILE, error=HOSTILE)])
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert "\x1b" not in output


def hostile_copy(run: Run, runs_dir: Path) -> Path:
    """Copy a run into a folder with a hostile name, with a hostile environment name and hostile action names."""
    name = os.fsdecode(b"run-\x1b[2J\x1b]0;t\x07-" + b"\xff\xfe")  # the last bytes are not UTF-8
    path = runs_dir / name
    path.mkdir(parents=True)
    for file in run.path.rglob("*"):
        target = path / file.relative_to(run.path)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    env = json.loads((path / "env.json").read_text())
    env["actions"] = ["\x1b[31m\ud800" for _ in env["actions"]]
    (path / "env.json").write_text(json.dumps(env))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_commands_print_no_escapes_of_a_hostile_run(train, tmp_path, encoding: str):
    path = hostile_copy(train(steps=300, eval_every=300), tmp_path / "runs")
    commands = [
        ["eval", str(path), "--episodes", "1"],
        ["watch", str(path), "--video", "video.mp4"],
        ["compare", str(path), "--html", ""],
        ["eval", str(path / "missing-\x1b[2J")],
        ["sync", str(path)],
        ["resume", str(path), "--steps", "320"],
    ]
    for command in commands:
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "WANDB_MODE": "disabled"}
        done = subprocess.run(
            [sys.executable, "-m", "rl_lab", *command], cwd=tmp_path, capture_output=True, env=environment, check=False
        )
        output = done.stdout + done.stderr
        assert b"\x1b" not in output, (command, output)
        assert b"Traceback" not in output, (command, output.decode(errors="replace"))
        assert done.returncode in (0, 2), (command, output.decode(errors="replace"))
