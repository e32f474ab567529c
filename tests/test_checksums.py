"""The script tests/checksums.py says how it is used, before it trains anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("checksums.py")


def run_script(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, timeout=120)


def test_help_shows_the_arguments():
    done = run_script("--help")
    assert done.returncode == 0, done.stderr
    assert "{record,check} file [WORD ...]" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "required: mode, file"),
        (["compare", "sums.json"], "invalid choice: 'compare'"),
        (["check", "no-such-file.json"], "no-such-file.json does not exist"),
        (["record", "sums.json", "no-such-agent"], "no run's name contains no-such-agent"),
    ],
    ids=["no arguments", "unknown mode", "missing file", "no run"],
)
def test_wrong_arguments_end_with_code_2(args: list[str], message: str):
    done = run_script(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
