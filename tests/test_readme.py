"""The README works as it stands there, and the pages name only files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [path for folder in (".", "docs", "examples", "results") for path in sorted((ROOT / folder).glob("*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_of_pages_exist(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if not link.startswith("http")]
    paths = re.findall(r"`((?:agents|envs|rl_lab|tests|scripts|docs|examples|configs|results)/[\w./-]+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if "AGENT" not in path and not (ROOT / path).exists()]
    assert missing == []
