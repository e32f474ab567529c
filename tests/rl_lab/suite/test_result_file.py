"""Result files: what is written is read, and damaged or misplaced files are refused."""

import json

import pytest

from rl_lab.errors import LabError
from rl_lab.suite.result_file import read_result, read_results

FIELDS = ["agent", "env", "seed", "steps", "settings", "commit", "machine", "minutes", "curve", "final"]


def test_a_file_has_exactly_the_documented_fields_and_is_read_back(add_result):
    path = add_result("ours", "Pong", 3, 5.0, curve=[[500, -20.0], [1000, 5.0]])
    content = json.loads(path.read_text())
    assert list(content) == FIELDS
    assert content["final"] == {"mean": 5.0, "std": 1.0, "returns": [4.0, 6.0]}
    result = read_result(path)
    assert (result.agent, result.env, result.seed, result.curve) == ("ours", "Pong", 3, [[500, -20.0], [1000, 5.0]])
    assert path.read_text().count("\n") == len(FIELDS) + 2, "not one line a field"
    assert list(path.parent.iterdir()) == [path], "a temporary file was left behind"


def test_results_are_ordered_by_agent_environment_and_seed(add_result, tmp_path):
    for agent, env, seed in (("b", "Pong", 10), ("b", "Pong", 9), ("a", "minatar:MinAtar/Breakout-v0", 1)):
        add_result(agent, env, seed, 0.0)
    found = [(each.agent, each.env, each.seed) for each in read_results(tmp_path / "results" / "toy")]
    assert found == [("a", "minatar:MinAtar/Breakout-v0", 1), ("b", "Pong", 9), ("b", "Pong", 10)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", "1", "wrong type"),
        ("minutes", float("nan"), "NaN|wrong type"),
        ("curve", [[1]], "wrong type"),
        ("final", {"mean": 1, "std": 0}, "final in .* must hold mean, std and returns"),
        ("final", {"mean": 1, "std": 0, "returns": []}, "no returns"),
        ("final", {"mean": None, "std": 0, "returns": [1]}, "wrong type"),
        ("machine", None, "wrong type"),
    ],
)
def test_a_damaged_entry_is_refused(add_result, name, value, message):
    path = add_result("ours", "Pong", 1, 5.0)
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(LabError, match=message):
        read_result(path)


def test_a_missing_entry_and_other_content_are_refused(add_result):
    path = add_result("ours", "Pong", 1, 5.0)
    content = json.loads(path.read_text())
    del content["commit"]
    path.write_text(json.dumps(content))
    with pytest.raises(LabError, match="no entry 'commit'"):
        read_result(path)
    path.write_text("[]")
    with pytest.raises(LabError, match="must hold a mapping"):
        read_result(path)


def test_a_file_in_the_folder_of_another_agent_is_refused(add_result, tmp_path):
    path = add_result("ours", "Pong", 1, 5.0)
    target = tmp_path / "results" / "toy" / "other" / "Pong" / "1.json"
    target.parent.mkdir(parents=True)
    path.rename(target)
    with pytest.raises(LabError, match="belongs into"):
        read_results(tmp_path / "results" / "toy")
