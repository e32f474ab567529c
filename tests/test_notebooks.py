"""The notebooks in examples/ run, and use only what the Python interface has."""

from __future__ import annotations

import ast
import base64
import dataclasses
import inspect
import json
import resource
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import rl_lab
from rl_lab.compare.run_comparison import RunComparison
from rl_lab.experiment.registry import find_agent
from rl_lab.experiment.run_config import RunConfig
from rl_lab.experiment.trained_agent import TrainedAgent
from rl_lab.training.evaluation import Evaluation
from rl_lab.watch.recorded_video import RecordedVideo
from rl_lab.watch.watch_options import WatchOptions

NOTEBOOKS = sorted((Path(__file__).parent.parent / "examples").glob("*.ipynb"))
PACKAGES = ("nbclient", "nbformat", "ipykernel", "pandas", "matplotlib")
RESULTS = {
    "train": rl_lab.Run,
    "resume": rl_lab.Run,
    "load": TrainedAgent,
    "evaluate": Evaluation,
    "watch": RecordedVideo,
    "compare": RunComparison,
}
"""Function of rl_lab -> class of the result."""
AGENT_METHODS = {"initial_carry", "policy_output", "act"}
"""Methods of the agent that docs/python.md describes, beside `predict`."""
MAX_PICTURE_BYTES = 200_000
MAX_CPU_SECONDS = 60

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def program(path: Path) -> ast.Module:
    """Return the code of all cells. Raises SyntaxError if it is no plain Python."""
    return ast.parse("\n".join("".join(cell["source"]) for cell in code_cells(path)))


def called_function(node: ast.AST) -> str | None:
    """Return NAME if the node is the call rl_lab.NAME(...)."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    owner = node.func.value
    return node.func.attr if isinstance(owner, ast.Name) and owner.id == "rl_lab" else None


def attributes_of(cls: type) -> set[str]:
    """Return the public attributes of a class, those of its dataclass fields included."""
    names = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    return {name for name in {*dir(cls), *names} if not name.startswith("_")}


def results(tree: ast.Module) -> Iterator[tuple[str, type]]:
    """Return each variable that is assigned from a call of rl_lab, with the class of its value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and called_function(node.value) in RESULTS:
            name = called_function(node.value)
            assert name is not None
            yield from ((target.id, RESULTS[name]) for target in node.targets if isinstance(target, ast.Name))


def test_code_uses_only_the_public_interface(path: Path):
    tree = program(path)
    classes = dict(results(tree))
    used = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id == "rl_lab":
            assert node.attr in rl_lab.__all__
            used.append(node.attr)
        elif node.value.id in classes:
            cls = classes[node.value.id]
            assert node.attr in attributes_of(cls) | (AGENT_METHODS if cls is TrainedAgent else set())
    assert used
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if name and name.split(".")[0] in ("agents", "envs")}
    assert {name for name in imported if name and name.startswith("rl_lab")} <= {"rl_lab.errors"}


def test_arguments_of_calls_exist(path: Path):
    watch_options = {field.name for field in dataclasses.fields(WatchOptions)}
    run_settings = {field.name for field in dataclasses.fields(RunConfig)}
    for node in ast.walk(program(path)):
        name = called_function(node)
        if name is None or not hasattr(rl_lab, name):
            continue
        assert isinstance(node, ast.Call)
        allowed = set(inspect.signature(getattr(rl_lab, name)).parameters)
        if name == "train":
            allowed |= run_settings
            if isinstance(node.args[0], ast.Constant):
                agents = [str(node.args[0].value)]
            else:  # the variable of a loop over names of agents
                agents = [word for word in rl_lab_agents(path) if word]
            for agent in agents:
                allowed |= {field.name for field in dataclasses.fields(find_agent(agent).load_config_class())}
        if name in ("watch", "show"):
            allowed |= watch_options
        assert {keyword.arg for keyword in node.keywords} <= allowed


def rl_lab_agents(path: Path) -> list[str]:
    """Return the names in the list AGENTS of a notebook."""
    for node in program(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "AGENTS":
            return ast.literal_eval(node.value)
    raise AssertionError("the notebook has no list AGENTS")


def test_outputs_are_complete_and_small(path: Path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    num_pictures = 0
    for output in [output for cell in cells for output in cell["outputs"]]:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        for kind, data in output.get("data", {}).items():
            text = "".join(data)
            assert len(text) < MAX_PICTURE_BYTES * 4 / 3 + 500, kind
            if kind == "image/png":
                assert base64.b64decode(text)[:4] == b"\x89PNG"
                num_pictures += 1
    assert num_pictures >= 1


@pytest.mark.slow
def test_a_notebook_runs_in_a_minute_of_one_core(path: Path):
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        pytest.skip(f"the packages {', '.join(missing)} are not installed: pip install rl-lab[notebook]")
    from run_notebooks import run_notebook

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    notebook = run_notebook(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MAX_CPU_SECONDS
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    saved = [output for cell in code_cells(path) for output in cell["outputs"]]
    kinds = [sorted(output.get("data", {})) for output in outputs]
    assert kinds == [sorted(output.get("data", {})) for output in saved]
