"""Tests of the mutants that scripts/mutate.py makes."""

from __future__ import annotations

import ast
from pathlib import Path

import mutate
import pytest


def changed_sources(source: str) -> set[str]:
    """Return the sources of all mutants."""
    finder = mutate.MutantFinder(Path("agents/example.py"), source)
    finder.visit(ast.parse(source))
    return {mutant.apply(source) for mutant in finder.mutants}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f(a < b)", {"f(a <= b)", "pass"}),
        ("x = (a + b) * c", {"x = (a - b) * c", "x = (a + b) / c"}),
        ("x = a and b", {"x = a or b"}),
        ("x = min(a, 3)", {"x = max(a, 3)", "x = min(a, 4)"}),
        ("x = a.amax(1)", {"x = a.amin(1)", "x = a.amax(2)"}),
        ("x = f(flag=True)", {"x = f(flag=False)"}),
        ("x = x - y", {"x = x + y", "pass"}),
        ("self.x += y", {"self.x -= y", "pass"}),
        ("x = -y", {"x = y"}),
        ("x = 'ä' if a else b", {"x = 'ä' if True else b", "x = 'ä' if False else b", "x = 'ä' if not (a) else b"}),
    ],
)
def test_mutants_of_a_statement(source: str, expected: set[str]):
    assert changed_sources(source) == expected


def test_annotations_docstrings_texts_and_assertions_stay():
    source = """\
@decorate(1)
def f(x: Annotated[float, Range(0, 1)] | None) -> list[1]:
    '''Return 1 + 1.'''
    assert x > 1
    return f"{x + 1}" + "2"
"""
    assert changed_sources(source) == set()


def test_mutants_of_a_module_differ_from_it_in_a_few_characters():
    source = (mutate.ROOT / "agents/core/schedules.py").read_text()
    mutants = mutate.mutants_of(Path("agents/core/schedules.py"))
    assert len(mutants) > 10
    for mutant in mutants:
        changed = mutant.apply(source)
        ast.parse(changed)
        assert changed != source
        assert changed[: mutant.start] == source[: mutant.start]


def test_tests_of_a_module_are_those_with_its_name_and_then_those_that_import_it():
    first, second = mutate.tests_of(Path("agents/dqn.py"))
    assert first[0] == Path("tests/agents/test_dqn.py")
    assert Path("tests/agents/test_dqn_variants.py") in first
    assert Path("tests/agents/core/test_cuda_graphs.py") in second
    (importing,) = mutate.tests_of(Path("agents/memory/active_cells.py"))
    assert Path("tests/agents/memory/test_replay.py") in importing
