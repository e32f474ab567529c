"""Scripts that write a picture check their arguments before any computation, and report errors in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

LEARNING_CURVES = Path(__file__).parents[2] / "scripts/learning_curves.py"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("picture.jpg", "is not the name of a PNG file, such as picture.png"),
        ("file/picture.png", "cannot be written: "),
        ("new/picture.png", "rl_lab: there are no runs in runs"),
    ],
)
def test_script_rejects_invalid_arguments(out: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, str(LEARNING_CURVES), out, "RUN"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 2
    assert message in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr
