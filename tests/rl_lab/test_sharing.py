"""Pushing to a server with the Hub's API and pulling from it, and what a stranger's folder may not do."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hub_server import HubServer, running_hub

import rl_lab
from rl_lab import api
from rl_lab.cli.pull import pull_command
from rl_lab.cli.push import push_command
from rl_lab.errors import ConfigError, LabError
from rl_lab.experiment.demo_agents import DEMOS
from rl_lab.experiment.run import Run

REPO = "user/cartpole"


@pytest.fixture
def hub(monkeypatch: Any, tmp_path: Path) -> Iterator[HubServer]:
    """Run a server and let the Hub's client use it, with a token of the test's own."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server


def demo_files() -> dict[str, bytes]:
    """Return the files of the demo by name, as a stranger could have uploaded them."""
    names = ("config.yaml", "env.json", "checkpoints/best/state.json", "checkpoints/best/network.safetensors")
    return {name: (DEMOS / "pong" / name).read_bytes() for name in names}


def test_a_pulled_run_equals_the_pushed_one(hub: HubServer, train: Any, tmp_path: Path, capsys: Any):
    run = train(steps=600, eval_episodes=2)
    push_command([str(run), "--repo", REPO, "--episodes", "2"])
    assert capsys.readouterr().out.splitlines()[-1] == f"{hub.address}/{REPO}"
    assert set(hub.tokens) == {"Bearer hf_test"}
    runs_dir = str(tmp_path / "pulled")
    pull_command([REPO, "--runs-dir", runs_dir])
    pulled = Run.find("user-cartpole", runs_dir)
    assert pulled.env_spec == run.env_spec
    assert pulled.config.settings == run.config.settings
    assert pulled.config.run.runs_dir == runs_dir
    assert pulled.metrics() == run.metrics()
    weights = [api.load_agent(each).network.state_dict() for each in (run, pulled)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    scores = [rl_lab.evaluate(each, episodes=3).returns for each in (run, pulled)]
    assert scores[0] == scores[1]
    assert len(rl_lab.watch(pulled, max_steps=3).data) > 0
    started = train(steps=300, init_from=str(pulled))
    assert started.config.run.init_from == str(pulled)
    with pytest.raises(LabError, match="no checkpoint to resume from"):
        rl_lab.resume(pulled, quiet=True)
    with pytest.raises(LabError, match="exists already"):
        pull_command([REPO, "--runs-dir", runs_dir])


def test_the_card_has_the_metadata_of_the_hub(hub: HubServer, train: Any):
    run = train(steps=600, eval_episodes=2)
    push_command([str(run), "--repo", REPO, "--episodes", "2", "--no-video"])
    files = hub.repos[REPO]
    assert set(files) == {*demo_files(), "metrics.jsonl", "README.md"}
    _, metadata, text = files["README.md"].decode().split("---\n", 2)
    fields = yaml.safe_load(metadata)
    (model,) = fields["model-index"]
    (result,) = model["results"]
    score = rl_lab.evaluate(run, episodes=2)
    assert result["metrics"][0]["value"] == f"{score.mean:.2f} +/- {score.std:.2f}"
    assert result["dataset"]["name"] == "CartPole-v1"
    assert "deep-reinforcement-learning" in fields["tags"]
    assert f"pull {REPO}" in text


def test_paths_of_this_machine_are_not_pushed(hub: HubServer, train: Any, tmp_path: Path):
    source = train(steps=300)
    run = train(steps=300, init_from=str(source))
    push_command([str(run), "--repo", REPO, "--episodes", "1", "--no-video"])
    for name, content in hub.repos[REPO].items():
        assert str(tmp_path).encode() not in content, name


@pytest.mark.parametrize(
    "place", ["wrapper in config.yaml", "wrapper in env.json", "id in env.json", "env in config.yaml"]
)
def test_names_of_code_are_refused_and_nothing_runs(hub: HubServer, tmp_path: Path, monkeypatch: Any, place: str):
    (tmp_path / "stranger.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    files = demo_files()
    config = yaml.safe_load(files["config.yaml"])
    spec = json.loads(files["env.json"])
    if place == "wrapper in config.yaml":
        config["wrappers"] = [{"pydoc:pipepager": {"cmd": "touch ran"}}]
    elif place == "wrapper in env.json":
        spec["options"] = {"wrappers": [{"name": "pydoc:pipepager", "args": {"cmd": "touch ran"}}]}
    elif place == "id in env.json":
        spec["id"] = "stranger:Env-v0"
    else:
        config["env"] = "stranger:Env-v0"
    files["config.yaml"] = yaml.safe_dump(config).encode()
    files["env.json"] = json.dumps(spec).encode()
    hub.repos[REPO] = files
    with pytest.raises(LabError, match="names Python code that would run on this machine"):
        pull_command([REPO])
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "runs").exists()
    assert "stranger" not in sys.modules


def test_yaml_tags_and_other_files_of_a_stranger_have_no_effect(hub: HubServer, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    hub.repos[REPO] = demo_files() | {"envs.py": b"raise SystemExit", "checkpoints/sb3.zip": b"pickle"}
    pull_command([REPO])
    run = Run.find("user-cartpole")
    names = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert names == set(demo_files())
    hub.repos["user/tag"] = demo_files() | {"config.yaml": b"agent: !!python/object/apply:os.system ['touch ran']\n"}
    with pytest.raises((LabError, ConfigError)):
        pull_command(["user/tag"])
    assert not (tmp_path / "ran").exists()


def test_a_path_in_the_name_of_the_environment_stays_in_the_folder(hub: HubServer, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    files = demo_files()
    files["env.json"] = json.dumps(json.loads(files["env.json"]) | {"name": "../../outside"}).encode()
    hub.repos[REPO] = files
    pull_command([REPO])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_bad_requests_get_one_line(hub: HubServer, train: Any, tmp_path: Path, monkeypatch: Any):
    with pytest.raises(LabError, match="no repository user/nothing"):
        pull_command(["user/nothing"])
    hub.repos["user/other"] = {"README.md": b"a language model"}
    with pytest.raises(LabError, match=r"user/other is no run of rl_lab: it has no config\.yaml"):
        pull_command(["user/other"])
    with pytest.raises(LabError, match="the repository is 'cartpole'; it must be user/name"):
        pull_command(["cartpole"])
    hub.repos["user/torn"] = demo_files() | {"checkpoints/best/state.json": b"{"}
    with pytest.raises(LabError):
        pull_command(["user/torn", "--runs-dir", str(tmp_path / "torn")])
    assert not (tmp_path / "torn").exists()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(LabError, match="the Hub cannot be used for user/cartpole: .*"):
        push_command([str(train(steps=300)), "--repo", REPO, "--episodes", "1", "--no-video"])


def test_a_missing_package_is_named(monkeypatch: Any):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(LabError, match=r"needs the package huggingface_hub.*\"rl-lab\[hub\]\""):
        pull_command([REPO])
