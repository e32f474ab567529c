"""What the README shows works as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    short = code.replace("steps=20_000", "steps=1_500").replace("steps=30_000", "steps=2_000")
    assert short.count("_500") == short.count("_000") == 1
    names: dict = {}
    exec(short, names)
    assert len(names["score"].returns) == 20
    assert names["run"].metrics()
    assert names["agent"].network is not None


def test_first_commands_are_clone_and_make_targets():
    commands = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
    starts = [" ".join(command.split()[:2]) for command in commands[:4]]
    assert starts == ["git clone", "make pong", "make watch", "make test"]


def test_readme_is_short():
    assert len(README.splitlines()) < 150
