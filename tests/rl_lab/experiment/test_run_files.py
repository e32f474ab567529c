"""Tests of reading env.json and metrics.jsonl, with damaged files among them."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from envs.make import resolve
from rl_lab.errors import LabError
from rl_lab.experiment.run_files import is_number, read_env_spec, read_metrics


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("3", "it is 3, not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "it has no global_step"),
        ('{"loss": 1.0}', "it has no global_step"),
        ('{"global_step": "7"}', "global_step is '7'; it must be a whole number"),
        ('{"global_step": null}', "global_step is None"),
        ('{"global_step": true}', "global_step is True"),
        ('{"global_step": NaN}', "global_step is nan"),
        ('{"global_step": Infinity}', "global_step is inf"),
        ('{"global_step": 1.5}', "global_step is 1.5"),
        ('{"global_step": -1}', "global_step is -1"),
        ('{"global_step": 1' + "0" * 400 + "}", "global_step is 1000"),
        ('{"global_step": 1, "loss": "low"}', "'loss' is 'low'; it must be a number"),
        ('{"global_step": 1, "loss": true}', "'loss' is True"),
        ('{"global_step": 1, "loss": null}', "'loss' is None"),
        ('{"global_step": 1, "loss": [1.0]}', "'loss' is [1.0]"),
        ('{"global_step": 1, "loss": 1' + "0" * 400 + "}", "'loss' is 1000"),
        ('{"global_step": 1, "video": 3, "loss": {}}', "'loss' is {}"),
        ('{"global_step": 1, "loss": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_read_metrics_raises_for_a_damaged_line(line: str, problem: str, tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"global_step": 1}}\n{line}\n{{"global_step": 2}}\n')
    with pytest.raises(LabError) as error:
        read_metrics(path)
    assert "metrics.jsonl is damaged at line 2: " in str(error.value)
    assert problem in str(error.value)
    assert len(str(error.value)) < 400


def test_read_metrics_accepts_numbers_that_are_not_finite_and_videos(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"global_step": 1.0, "loss": NaN, "video": "videos/step-1.mp4"}\n{"global_step": 2, "l')
    ((line),) = read_metrics(path)
    assert math.isnan(line["loss"])
    assert read_metrics(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("value", "expected"), [(1, True), (math.nan, True), (True, False), ("1", False), (10**400, False)]
)
def test_is_number(value: Any, expected: bool):
    assert is_number(value) is expected


@pytest.mark.parametrize(
    "change",
    [
        {"frame": ["x"]},
        {"frame": [0]},
        {"frame": [True]},
        {"frame": 3},
        {"actions": []},
        {"actions": 3},
        {"actions": [1, 2]},
        {"masked": [-1]},
        {"action_numbers": ["RIGHT"]},
        {"family": "board"},
        {"backend": None},
        {"dtype": "float64"},
        {"frame_skip": "4"},
        {"sticky": "often"},
        {"sticky": math.nan},
        {"bounds": [[1]]},
        {"bounds": 3},
        {"bounds": [[10**400, 1]]},
        {"name": None},
        {"a_field_of_2030": 1},
    ],
)
def test_read_env_spec_raises_for_a_field_of_the_wrong_type(change: dict[str, Any], tmp_path: Path):
    path = tmp_path / "env.json"
    path.write_text(json.dumps({**resolve("CartPole-v1").to_dict(), **change}))
    with pytest.raises(LabError, match=r"env.json is not a readable environment spec: ") as error:
        read_env_spec(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["CartPole-v1", "Pong", "FrozenLake-v1", "MountainCar-v0"])
def test_read_env_spec_reads_every_kind_of_environment(name: str, tmp_path: Path):
    path = tmp_path / "env.json"
    env_spec = dataclasses.replace(resolve(name), masked=(1,))
    path.write_text(json.dumps(env_spec.to_dict()))
    assert read_env_spec(path) == env_spec
