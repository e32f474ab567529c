"""Tests of the imports between modules.

rl_lab imports agents and envs, which import neither rl_lab nor each other. There are no import cycles. Only rl_lab/cli
imports rl_lab.cli.
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "agents": {"agents", "torch", "numpy"},
    "envs": {"envs", "gymnasium", "ale_py", "numpy", "cv2", "cloudpickle", "pygame"},
}
FORBIDDEN = {"rl_lab": {"scripts", "tests"}}
FILES = [path for folder in ALLOWED | FORBIDDEN for path in sorted((ROOT / folder).rglob("*.py"))]


def module_name(path: Path) -> str:
    """Return the dotted name under which Python imports a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes inside `if TYPE_CHECKING:` blocks, which never run."""
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {inner for block in blocks for inner in ast.walk(block)}


def imported_modules(path: Path) -> set[str]:
    """Return the dotted names that a file imports, inside functions too."""
    tree = ast.parse(path.read_text())
    skipped = type_checking_only(tree)
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            submodules = {f"{module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {module}
    return found


def import_graph() -> dict[str, set[str]]:
    """Return the project's modules, each with the project's modules that it imports."""
    return {name: imported_modules(path) & MODULES.keys() for name, path in MODULES.items()}


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one cycle in order, or an empty list if there is none."""
    finished: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name in finished:
            return []
        for other in sorted(graph[name]):
            cycle = visit(other, [*trail, name])
            if cycle:
                return cycle
        finished.add(name)
        return []

    for name in sorted(graph):
        cycle = visit(name, [])
        if cycle:
            return cycle
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_import_only_allowed_packages(path):
    package = path.relative_to(ROOT).parts[0]
    others = {name.split(".")[0] for name in imported_modules(path)} - sys.stdlib_module_names
    assert not others & FORBIDDEN.get(package, set())
    assert others <= ALLOWED.get(package, others)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_has_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_there_is_no_import_cycle():
    assert find_cycle(import_graph()) == []


def test_find_cycle_on_small_graphs():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert find_cycle({"a": {"a"}}) == ["a"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_only_cli_and_main_import_cli():
    importers = {name for name, imported in import_graph().items() if any(m.startswith("rl_lab.cli") for m in imported)}
    outside = {name for name in importers if not name.startswith("rl_lab.cli")}
    assert outside == {"rl_lab.__main__"}


def test_modules_are_found():
    assert len(FILES) > 20
