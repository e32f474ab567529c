"""Tests of the documentation site: it builds, its tables are those of today, its commands are accepted."""

import base64
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl_lab.cli.main import main

ROOT = Path(__file__).parent.parent
AGENT_PAGES = sorted((ROOT / "docs/agents").glob("*.md"))
SOURCES = [path for folder in ("rl_lab", "agents", "envs") for path in (ROOT / folder).rglob("*.py")]
REGISTERED_BY_EXTRAS = {"Hopper-v5"}

needs_mkdocs = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml")),
    reason='mkdocs is not installed: pip install "rl-lab[docs]"',
)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text())


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a configuration file."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", out]
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=900)


@needs_mkdocs
@pytest.mark.slow
def test_the_site_builds_without_warnings_and_holds_every_page(tmp_path):
    done = build(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    for page in ROOT.glob("docs/**/*.md"):
        assert (tmp_path / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page
    assert "<math" in (tmp_path / "agents/dqn.html").read_text()
    assert "Return (reward" not in (tmp_path / "index.html").read_text()
    assert 'id="agents.dqn.DQN"' in (tmp_path / "reference/agents.html").read_text()
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', (tmp_path / "index.html").read_text())
    assert not loaded, "the site must load nothing from other servers"


@needs_mkdocs
@pytest.mark.slow
@pytest.mark.parametrize("link", ["missing.md", "install.md#no-such-heading", "../no/such/file.py"])
def test_a_broken_link_fails_the_build(link, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# Home\n\n[there]({link})\n")
    (docs / "install.md").write_text("# Install\n")
    site: dict[str, Any] = dict(read_yaml(ROOT / "mkdocs.yml"))
    site |= {"docs_dir": str(docs), "nav": [{"Home": "index.md"}, {"Install": "install.md"}], "extra_css": []}
    site |= {"hooks": [str(ROOT / "scripts/site_hooks.py")], "plugins": []}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(site))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert link.rpartition("/")[2].rpartition("#")[2] in done.stderr


@needs_mkdocs
def test_a_link_out_of_docs_leads_to_a_page_of_the_site():
    import site_hooks

    assert site_hooks.page_of("BENCHMARKS.md") == "repository/BENCHMARKS.md"
    assert site_hooks.page_of("agents/dqn.py") == "repository/agents/dqn.py.md"
    assert site_hooks.page_of("docs/training.md") == "training.md"
    assert site_hooks.page_of("docs/benchmarks") == "repository/BENCHMARKS.md"
    assert site_hooks.page_of("examples") == "repository/examples/README.md"
    found = site_hooks._outside(
        "agents/dqn.md", "[a](../../LOG.md#x) [b](ppo.md) ![c](../dqn-pong.png) [d](https://e.org)"
    )
    assert found == ["LOG.md"]


@needs_mkdocs
def test_equations_become_mathml_with_primes_of_full_size():
    import site_hooks

    source = r'<p>in <span class="arithmatex">\(s\')\)</span></p>'.replace("\\'", "'")
    html = site_hooks.with_mathml(source)
    assert "arithmatex" not in html
    assert "<msup>" not in html
    assert "&#x2032;" in html


@needs_mkdocs
def test_a_notebook_becomes_a_page_with_its_outputs(tmp_path):
    import site_hooks

    picture = base64.b64encode(b"png").decode()
    outputs = [
        {"output_type": "stream", "text": ["score 500\n"]},
        {"output_type": "display_data", "data": {"image/png": picture, "text/plain": ["<Figure>"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# First agent\n", "Words."]},
        {"cell_type": "code", "source": ["import rl_lab"], "outputs": outputs},
    ]
    notebook = tmp_path / "first.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    files = site_hooks.notebook_files(notebook)
    assert files.keys() == {"first.md", "first-1.png"}
    assert files["first-1.png"] == b"png"
    assert files["first.md"] == (
        "# First agent\nWords.\n\n```python\nimport rl_lab\n```\n\n```text\nscore 500\n```\n\n![output](first-1.png)\n"
    )
    assert site_hooks._title_of_notebook(notebook) == "First agent"


def test_the_navigation_names_every_page_once():
    text = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r"([\w/.-]+\.md)$", text.split("\nnav:\n")[1], re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert len(named) == len(set(named))
    assert pages == {name for name in named if not name.startswith("repository/")}


@pytest.mark.slow
def test_the_tables_of_the_agents_are_up_to_date():
    script = ROOT / "scripts/agent_pages.py"
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def table_value(page: str, setting: str, column: str) -> str:
    """Return the cell of a setting in the first table of an agent's page that has both."""
    header: list[str] = []
    for line in (ROOT / "docs/agents" / page).read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        if cells[0] == "setting":
            header = cells
        if header and cells[0] == setting:
            return cells[header.index(column)]
    raise AssertionError(f"{page} has no {setting}")


@pytest.mark.parametrize(
    ("page", "setting", "column", "section", "key"),
    [
        ("dqn.md", "--n-step", "CartPole-v1", ("dqn", "CartPole-v1"), "n_step"),
        ("dqn.md", "--lr", "Pong", ("dqn", "Pong"), "lr"),
        ("ppo.md", "--epochs", "vectors", ("ppo", "vector"), "epochs"),
        ("pqn.md", "--steps", "Pong", ("pqn", "Pong"), "steps"),
        ("sac.md", "--batch-size", "Pendulum-v1", ("sac", "Pendulum-v1"), "batch_size"),
    ],
)
def test_values_on_the_pages_are_those_of_the_yaml_files(page, setting, column, section, key):
    """The oracle reads one section of one file, and knows nothing of layers."""
    agent, name = section
    value = read_yaml(ROOT / f"configs/{agent}.yaml")[name][key]
    assert float(table_value(page, setting, column).replace(",", "")) == pytest.approx(float(value))


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of the `train` commands of a page, without `python -m rl_lab`."""
    lines = re.findall(r"^    python -m rl_lab (train .*)$", page.read_text(), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", AGENT_PAGES, ids=lambda page: page.stem)
def test_the_commands_on_an_agents_page_are_accepted(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = commands_of(page)
    assert commands or page.stem == "index"
    for command in commands:
        if not REGISTERED_BY_EXTRAS & set(command):
            main([*command, "--print-config"])


def test_every_agent_has_a_page():
    from rl_lab.experiment.registry import agents

    text = "".join(page.read_text() for page in AGENT_PAGES if page.stem != "index")
    built_in = [name for name, entry in agents().items() if (ROOT / f"configs/{name}.yaml").exists()]
    assert len(built_in) > 20
    assert [name for name in built_in if f"`{name}`" not in text] == []


def test_messages_of_the_troubleshooting_page_are_those_of_the_code():
    """The dots of a message stand for its variable parts. The pieces between them stand in the code."""
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in [*SOURCES, ROOT / "Makefile"]))
    page = (ROOT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)`(?: \(a warning\))? \|", page, re.MULTILINE)
    assert len(messages) > 8
    for message in messages:
        pieces = [piece.strip(" :;") for piece in message.split("...")]
        assert [piece for piece in pieces if piece not in code] == [], message


def test_commands_and_flags_on_the_pages_exist():
    """A flag stands for a setting or an option, whose name is a word of the code."""
    from rl_lab.cli.main import COMMANDS

    code = [*SOURCES, *(ROOT / "examples").rglob("*.py")]
    words = set(re.findall(r"\w+", "".join(path.read_text() for path in code)))
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "examples/README.md"]
    lines = [
        line for page in pages for line in re.findall(r"^ +python -m rl_lab (.*)$", page.read_text(), re.MULTILINE)
    ]
    assert len(lines) > 100
    commands = {line.split()[0] for line in lines}
    assert [command for command in sorted(commands) if command not in {*COMMANDS, "--help", "--version"}] == []
    flags = {flag.replace("-", "_") for line in lines for flag in re.findall(r" --(?:no-)?([a-z][a-z0-9-]*)", line)}
    assert [flag for flag in sorted(flags - {"help", "help_all"}) if flag not in words] == []
