"""What a script says of a picture it cannot write, or of runs that are not there: before its work, in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

CURVES = Path(__file__).parents[2] / "scripts/learning_curves.py"


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("picture.jpg", "is no PNG; a name like picture.png would be"),
        ("file/picture.png", "cannot be written: "),
        ("new/picture.png", "rl_lab: there are no runs in runs"),
    ],
)
def test_a_script_complains_before_its_work(tmp_path, out, complaint):
    (tmp_path / "file").touch()
    ended = subprocess.run([sys.executable, CURVES, out, "RUN"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert complaint in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
