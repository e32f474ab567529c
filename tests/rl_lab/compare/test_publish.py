"""A comparison in W&B, as a server of our own receives it."""

import json

import pytest
from wandb_server import WandbServer

from rl_lab.cli.compare import compare_command
from rl_lab.errors import LabError


@pytest.fixture
def logged(train, monkeypatch):
    """Two seeds on CartPole that were logged to a server, and the server."""
    with WandbServer.running() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield [train(steps=600, seed=seed, wandb="online") for seed in (1, 2)], server
        assert not server.unknown


def test_a_comparison_is_a_run_a_view_and_a_report(logged, tmp_path, capsys):
    runs, server = logged
    ids = [(run.path / "wandb" / "id").read_text() for run in runs]
    page = tmp_path / "page.html"
    compare_command([*map(str, runs), "--wandb", "--target", "5", "--html", str(page), "--json"])
    out, err = capsys.readouterr()
    said = json.loads(out)
    (made,) = (run for run in server.runs.values() if run.job_type == "compare")
    final = said["groups"][0]["final"]
    assert made.summary["CartPole-v1/dqn/iqm"] == pytest.approx(final["value"])
    assert made.summary["CartPole-v1/dqn/low"] == pytest.approx(final["low"])
    assert made.config["runs"] == ids
    assert any(path.startswith("media/html/page") for path in made.files)
    assert any(path.startswith("media/table/table") for path in made.files)
    view, report = server.views.values()
    assert all(name in json.dumps(view["spec"]) for name in ids)
    assert [key["name"] for key in view["spec"]["section"]["runSets"][0]["grouping"]] == ["agent.value", "env.value"]
    panel = next(block for block in report["spec"]["blocks"] if block["type"] == "panel-grid")["metadata"]
    assert panel["runSets"][0]["filters"]["filters"][0]["value"] == ids
    assert f"{final['value']:.2f}" in json.dumps(report["spec"])
    assert [line.split()[1] for line in err.splitlines() if line.startswith("W&B")] == ["run", "view", "report"]
    assert page.exists()

    del server.runs[ids[0]]  # a run that was deleted there has its id here still
    with pytest.raises(LabError, match="1 of the runs are not in W&B's project .*; `sync` brings them there"):
        compare_command([*map(str, runs), "--wandb", "--html", ""])
    assert [run.job_type for run in server.runs.values()].count("compare") == 1, "no second one is begun"


def test_without_a_key_the_page_is_all(train, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    page = tmp_path / "page.html"
    compare_command([str(train(steps=600)), "--wandb", "--html", str(page)])
    assert "no key in WANDB_API_KEY" in " ".join(capsys.readouterr().err.split())
    assert page.exists()


def test_runs_that_are_not_in_wandb_are_told_how_to_get_there(train, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with pytest.raises(LabError, match="1 of the runs are not in W&B's project .*; `sync` brings them there"):
        compare_command([str(train(steps=600)), "--wandb", "--html", str(tmp_path / "page.html")])
