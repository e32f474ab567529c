"""The trained agents that are part of the package."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import rl_lab
from rl_lab.cli import main
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run

ROOT = Path(__file__).parents[3]
FOLDERS = sorted(path for path in (ROOT / "rl_lab/demo").iterdir() if path.is_dir())
NAMES = [path.name for path in FOLDERS]


def record(folder: Path) -> dict:
    return json.loads((folder / "demo.json").read_text())


def test_all_demos_together_are_small():
    files = [path for path in (ROOT / "rl_lab/demo").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12e6


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_a_record_agrees_with_the_run_folder(folder: Path):
    content = record(folder)
    run = Run.find(f"demo:{folder.name}")
    words = content["command"].split()
    assert words[:5] == ["python", "-m", "rl_lab", "train", run.config.agent]
    assert words[words.index("--env") + 1] == run.config.run.env
    assert words[words.index("--seed") + 1] == str(content["seed"]) == str(run.config.run.seed)
    assert content["agent"] == run.config.agent
    assert content["env"] == run.env_spec.name
    assert content["epsilon"] == run.config.run.eval_epsilon
    assert content["score_min"] <= content["score"] <= content["score_max"]
    assert re.fullmatch("[0-9a-f]{7,40}", content["commit"])
    state = json.loads((folder / "checkpoints/best/state.json").read_text())
    assert content["step"] == state["state"]["run/steps"]
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "env.json", "demo.json", "checkpoints"}


def test_the_table_of_the_page_holds_the_records():
    """The table is read here by its columns, not made by the script."""
    page = (ROOT / "docs/zoo.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    table = {row[0].strip("`").removeprefix("demo:"): row for row in rows[2:]}
    assert sorted(table) == NAMES
    for folder in FOLDERS:
        content = record(folder)
        _, agent, env, steps, score, size, training = table[folder.name]
        assert (agent.strip("`"), env) == (content["agent"], content["env"])
        assert int(steps.replace(",", "")) == content["step"]
        mean, _, std, episodes, _ = score.split()
        assert [float(mean), float(std)] == pytest.approx([content["score"], content["score_std"]], abs=0.0051)
        assert int(episodes.strip("(")) == content["episodes"]
        assert training == f"`{content['command']}` at {content['commit']}"
        num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert 0 <= int(size.replace(",", "")) - num_bytes / 1000 < 1


@pytest.mark.parametrize("folder", [path for path in FOLDERS if path.name != "pong"], ids=lambda path: path.name)
def test_a_demo_plays_as_well_as_its_record_says(folder: Path):
    """The mean of 10 episodes lies within 4 of its standard errors of the recorded mean."""
    content = record(folder)
    scores = rl_lab.evaluate(f"demo:{folder.name}", episodes=10, seed=7).returns
    error = max(content["score_std"], 0.02 * abs(content["score"])) / np.sqrt(10)
    assert abs(np.mean(scores) - content["score"]) <= 4 * error


def test_demo_alone_is_pong(capsys: pytest.CaptureFixture[str]):
    assert Run.find("demo").path == Run.find("demo:pong").path
    assert Run.find("demo").is_demo


def test_list_shows_every_demo_with_its_score(capsys: pytest.CaptureFixture[str]):
    main(["list", "demos"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("demo:pong ")
    assert sorted(line.split()[0] for line in lines) == sorted(f"demo:{name}" for name in NAMES)
    for line in lines:
        content = record(ROOT / "rl_lab/demo" / line.split()[0].removeprefix("demo:"))
        assert f"{content['agent']} on {content['env']}, score {content['score']:.2f} " in line


@pytest.mark.parametrize("name", ["demo:", "demo:pnog", "demo:../demo/pong"])
def test_an_unknown_demo_is_refused(name: str):
    with pytest.raises(LabError, match="there is no demo .*; the demos are pong"):
        Run.find(name)
