"""Measure how many small bugs the tests of `agents/` and `envs/` notice (mutation testing: DeMillo et al. 1978).

    python scripts/mutate.py --sample 100 --seed 0 [--files agents/core agents/dqn.py] [--jobs 2]

A mutant is the source code with one small bug. For each mutant the script runs the tests that belong to the changed
file. If they pass, the mutant has survived: either no test checks what it changes, or the change has no effect. The
script prints each survivor with its diff, and the rate of survivors.

The bugs:

    another operator      <  and <=,  == and !=,  + and -,  * and /,  and and or,  min and max
    another constant      n + 1 for a number n, False for True
    another condition     if True, if False, not x for x, x for not x
    a missing statement   an assignment to an attribute, an element or a name that has a value already; a call; a raise

Annotations, docstrings, texts, error messages, assertions and decorators are not changed.

The tests of agents/dqn.py are tests/agents/test_dqn.py and the files beside it whose name begins like this; then, if
the mutant has survived them, the files of tests/agents that import agents.dqn. A module without any such file has the
tests of the modules that import it. The bugs are made in a copy of the tree in a temporary folder. Test processes are
forked from a process that has imported torch, which would take most of the time otherwise.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import multiprocessing
import os
import queue
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
COPIED = ["agents", "configs", "envs", "examples", "rl_lab", "scripts", "tests", "pyproject.toml"]
PACKAGES = ["agents", "envs"]

OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
"""Class of an operator -> its symbol, and the symbol that replaces it."""

NAMES = {"min": "max", "minimum": "maximum", "amin": "amax", "argmin": "argmax"}
NAMES |= {new: old for old, new in NAMES.items()}

Result = Literal["killed", "survived", "timeout"]
Node = ast.expr | ast.stmt


@cache
def source_of(path: Path) -> str:
    """Return the text of a file, as it was at the first call: the tree may change while the tests run."""
    return (ROOT / path).read_text()


class Mutant(NamedTuple):
    """A change of the characters `start` to `end` of a file. The path is relative to the root of the tree."""

    path: Path
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """Return the source with the change."""
        return source[: self.start] + self.text + source[self.end :]

    def describe(self) -> str:
        """Return file and line of the change, and its diff."""
        source = source_of(self.path)
        line = source.count("\n", 0, self.start) + 1
        diff = difflib.unified_diff(source.splitlines(), self.apply(source).splitlines(), lineterm="", n=0)
        changes = [text for text in diff if not text.startswith(("---", "+++", "@@"))]
        return "\n    ".join([f"{self.path}:{line}", *changes])


class MutantFinder(ast.NodeVisitor):
    """Collects the mutants of one file.

    Args:
        path: Path of the file, relative to the root of the tree.
        source: Text of the file.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source
        self.mutants: list[Mutant] = []
        lines = source.splitlines(keepends=True)
        self.line_starts = [0]
        for line in lines:
            self.line_starts.append(self.line_starts[-1] + len(line))
        self.lines = lines

    # --- Positions ----------------------------------------------------------------------------------------------------

    def offset(self, line: int, column: int) -> int:
        """Return the index of a character, whose column `ast` counts in bytes."""
        text = self.lines[line - 1].encode()[:column].decode()
        return self.line_starts[line - 1] + len(text)

    def start(self, node: Node) -> int:
        """Return the index of the first character of a node."""
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: Node) -> int:
        """Return the index after the last character of a node."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)

    def replace(self, start: int, end: int, text: str) -> None:
        """Add a mutant."""
        self.mutants.append(Mutant(self.path, start, end, text))

    def replace_node(self, node: Node, text: str) -> None:
        """Add a mutant with `text` in place of a node."""
        self.replace(self.start(node), self.end(node), text)

    def replace_operator(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> None:
        """Add a mutant with another operator between two operands."""
        if type(operator) not in OPERATORS:
            return
        old, new = OPERATORS[type(operator)]
        start = self.end(left)
        between = self.source[start : self.start(right)]
        position = between.find(old)
        if position >= 0 and "#" not in between:
            self.replace(start + position, start + position + len(old), new)

    # --- Expressions --------------------------------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            self.replace_operator(operator, left, right)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if is_text(node) or is_union_of_types(node):
            return
        self.replace_operator(node.op, node.left, node.right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.replace_operator(node.op, left, right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.replace(self.start(node), self.start(node.operand), "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace_node(node, str(not node.value))
        elif isinstance(node.value, int | float):
            self.replace_node(node, repr(node.value + 1))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in NAMES:
            self.replace_node(node, NAMES[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in NAMES:
            self.replace(self.end(node) - len(node.attr), self.end(node), NAMES[node.attr])
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.change_condition(node.test)
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave texts as they are."""

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":  # of zip: it checks what is true anyway
            self.generic_visit(node)

    # --- Statements ---------------------------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self.change_condition(node.test)
        self.generic_visit(node)

    def change_condition(self, test: ast.expr) -> None:
        """Add mutants whose condition is always true, always false, and the contrary."""
        self.replace_node(test, "True")
        self.replace_node(test, "False")
        if not isinstance(test, ast.UnaryOp | ast.Compare):  # their contrary is another mutant
            self.replace_node(test, f"not ({ast.unparse(test)})")

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == "__all__":
            return
        if has_value_before(target, node.value):
            self.replace_node(node, "pass")
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and node.value is not None:
            self.visit(node.value)
        elif node.value is not None:
            self.replace_node(node, "pass")
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace_node(node, "pass")
        old, new = OPERATORS.get(type(node.op), ("", ""))
        between = self.source[self.end(node.target) : self.start(node.value)]
        if old and old in between:
            start = self.end(node.target) + between.index(old)
            self.replace(start, start + len(old), new)
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):  # a docstring, or the dots of a protocol
            return
        self.replace_node(node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace_node(node, "pass")

    def visit_Assert(self, node: ast.Assert) -> None:
        """Leave assertions as they are. They narrow types for the type checker."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in ("__str__", "__repr__"):
            return
        defaults = [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
        for child in [*defaults, *node.body]:  # neither decorators nor annotations
            self.visit(child)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for child in node.body:
            self.visit(child)


def is_text(node: ast.BinOp) -> bool:
    """Return True if an operand is a text."""
    texts = (ast.JoinedStr, ast.Constant)
    operands = [node.left, node.right]
    return any(isinstance(x, texts) and isinstance(getattr(x, "value", ""), str) for x in operands)


def is_union_of_types(node: ast.BinOp) -> bool:
    """Return True for X | None, and for int | float in `isinstance`."""
    builtin_types = {"int", "float", "bool", "str", "list", "tuple", "dict"}
    is_none = isinstance(node.right, ast.Constant) and node.right.value is None
    is_type = isinstance(node.right, ast.Name) and node.right.id in builtin_types
    return isinstance(node.op, ast.BitOr) and (is_none or is_type)


def has_value_before(target: ast.expr, value: ast.expr) -> bool:
    """Return True if the code after an assignment may run without it: the target is no new name."""
    if not isinstance(target, ast.Name):
        return isinstance(target, ast.Attribute | ast.Subscript)
    return any(isinstance(node, ast.Name) and node.id == target.id for node in ast.walk(value))


def mutants_of(path: Path) -> list[Mutant]:
    """Return all mutants of a file that Python can compile and that differ from the file."""
    source = source_of(path)
    tree = ast.parse(source)
    finder = MutantFinder(path, source)
    finder.visit(tree)
    return [mutant for mutant in finder.mutants if is_different_program(mutant.apply(source), ast.dump(tree))]


def is_different_program(source: str, original: str) -> bool:
    """Return True if Python can parse the source, and not to the tree whose dump is `original`."""
    try:
        return ast.dump(ast.parse(source)) != original
    except SyntaxError:
        return False


# --- The tests of a file ----------------------------------------------------------------------------------------------


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Return the dotted names of the modules that a file imports, and of the names that it takes from them."""
    names = set()
    for node in ast.walk(ast.parse(source_of(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def python_files(path: Path) -> list[Path]:
    """Return the Python files of a folder of the tree, or the file itself."""
    if (ROOT / path).is_file():
        return [path]
    return sorted(file.relative_to(ROOT) for file in (ROOT / path).rglob("*.py"))


def importers(path: Path, folder: Path) -> list[Path]:
    """Return the files of a folder that import a module."""
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    return [file for file in python_files(folder) if module in imports_of(file)]


@cache
def tests_of(path: Path) -> tuple[tuple[Path, ...], ...]:
    """Return groups of test files for a file, in the order in which they are run. There may be none."""
    tests = Path("tests")
    beside = python_files((tests / path).parent)
    named = [file for file in beside if file.stem == f"test_{path.stem}" or file.stem.startswith(f"test_{path.stem}_")]
    package = Path(path.parts[0])
    importing = [file for file in importers(path, tests / package) if file.name.startswith("test_")]
    groups = (tuple(named), tuple(file for file in importing if file not in named))
    if not any(groups):
        of_importers = [test for file in importers(path, package) if file != path for test in all_tests_of(file)]
        groups = (tuple(dict.fromkeys(of_importers)),)
    return tuple(group for group in groups if group)


def all_tests_of(path: Path) -> list[Path]:
    """Return the test files of a file, without their groups."""
    return [test for group in tests_of(path) for test in group]


# --- Running the tests ------------------------------------------------------------------------------------------------

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["pytest", "torch", "gymnasium", "ale_py"])


def copy_tree(folder: Path) -> None:
    """Copy what the tests need into a folder."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)


def run_pytest(folder: Path, tests: Sequence[Path]) -> None:
    """Run tests in a copy of the tree up to the first failure, in this process, and end the process with the result."""
    os.setsid()  # with the processes that the tests start, this process is a group, which can be ended
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # Python would use the bytecode for another mutant of the same size and second
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    with open("output.txt", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    status = pytest.main(["-q", "-x", "-n", "0", "-p", "no:cacheprovider", *map(str, tests)])
    sys.stdout.flush()
    os._exit(status)


def run_tests(folder: Path, tests: Sequence[Path], time_limit: float) -> Result:
    """Run tests in a copy of the tree up to the first failure."""
    process = FORKSERVER.Process(target=run_pytest, args=(folder, tests))
    process.start()
    process.join(time_limit)
    if process.is_alive():
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return "timeout"
    if process.exitcode in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"no test ran: {(folder / 'output.txt').read_text()[-2000:]}")
    return "survived" if process.exitcode == 0 else "killed"


class Workers:
    """Copies of the tree, one for each process that runs tests at the same time.

    Args:
        folder: Folder of the copies.
        jobs: Number of copies.
        time_limit: Seconds that the tests of a mutant may take.
    """

    def __init__(self, folder: Path, jobs: int, time_limit: float) -> None:
        self.time_limit = time_limit
        self.pool = ThreadPoolExecutor(jobs)
        self.copies: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copy = folder / str(number)
            copy.mkdir()
            copy_tree(copy)
            self.copies.put(copy)

    def check_tests(self, tests: Sequence[Path]) -> None:
        """Exit with a message if the tests of the unchanged tree fail."""
        copy = self.copies.get()
        result = run_tests(copy, tests, self.time_limit * len(tests))
        output = (copy / "output.txt").read_text()
        self.copies.put(copy)
        if result != "survived":
            sys.exit(f"{output}\nthe tests fail without a mutant; mend them first")

    def test(self, mutant: Mutant) -> Result:
        """Return the result of the tests for a mutant."""
        copy = self.copies.get()
        file = copy / mutant.path
        file.write_text(mutant.apply(source_of(mutant.path)))
        try:
            result: Result = "survived"
            for tests in tests_of(mutant.path):
                if result == "survived":
                    result = run_tests(copy, tests, self.time_limit)
            return result
        finally:
            file.write_text(source_of(mutant.path))
            self.copies.put(copy)

    def test_all(self, mutants: Sequence[Mutant]) -> Iterator[Result]:
        """Yield the results of the mutants in order."""
        yield from self.pool.map(self.test, mutants)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packages = [Path(name) for name in PACKAGES]
    parser.add_argument("--files", nargs="+", type=Path, default=packages, help="files or folders to change")
    parser.add_argument("--sample", type=int, help="number of mutants to draw; by default, all are tested")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--jobs", type=int, default=1, help="test processes at the same time")
    parser.add_argument("--time-limit", type=float, default=300, help="seconds for the tests of a mutant")
    args = parser.parse_args()
    for path in args.files:
        if path.parts[0] not in PACKAGES or not (ROOT / path).exists():
            parser.error(f"--files {path} must be a file or folder of {' or '.join(PACKAGES)}")
    if args.sample is not None and args.sample < 1:
        parser.error(f"--sample is {args.sample}; it must be at least 1")
    if args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; it must be at least 1")
    return args


def main() -> None:
    """Draw mutants, test them, and print the survivors."""
    args = parse_arguments()
    begin = time.monotonic()
    paths = [file for path in args.files for file in python_files(path)]
    mutants = [mutant for path in paths if tests_of(path) for mutant in mutants_of(path)]
    total = len(mutants)
    if args.sample is not None and args.sample < total:
        mutants = random.Random(args.seed).sample(mutants, args.sample)
    tests = sorted({test for mutant in mutants for test in all_tests_of(mutant.path)})
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        workers = Workers(Path(folder), args.jobs, args.time_limit)
        workers.check_tests(tests)
        print(f"{len(mutants)} of {total:,} mutants, {len(tests)} test files", flush=True)
        for mutant, result in zip(mutants, workers.test_all(mutants), strict=True):
            results.append(result)
            if result == "survived":
                print(f"{len(results)}. {mutant.describe()}", flush=True)
    survivors = results.count("survived")
    seconds = time.monotonic() - begin
    print(
        f"{survivors} of {len(results)} mutants survived ({survivors / len(results):.1%}),"
        f" {results.count('timeout')} ran into the time limit, in {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
