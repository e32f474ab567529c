"""The house's arrows: rl_lab -> agents, rl_lab -> envs, and no other; a file is one thing and not too long."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "agents": {"agents", "torch", "numpy"},
    "envs": {"envs", "gymnasium", "ale_py", "numpy", "cv2"},
}
FORBIDDEN = {"rl_lab": {"scripts", "tests"}}
FILES = [path for folder in ALLOWED | FORBIDDEN for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    others = imports(path) - sys.stdlib_module_names
    assert not others & FORBIDDEN.get(package, set())
    assert others <= ALLOWED.get(package, others)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_is_short(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "its first line must say what it is"
    assert len(text.splitlines()) <= 360


def test_there_are_files_to_look_at():
    assert len(FILES) > 20
