"""A comparison in W&B, as a local server receives it."""

import json
from collections.abc import Iterator

import pytest
import wandb
from wandb_server import WandbServer

from rl_lab.cli.compare import compare_command
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.tracking.wandb_sink import wandb_id_file

MISSING = "1 of the runs are not in the W&B project .*; `sync` uploads them"


@pytest.fixture
def uploaded(train, monkeypatch) -> Iterator[tuple[list[Run], WandbServer]]:
    """Return two runs on CartPole that were logged to a local W&B server, and the server."""
    with WandbServer.running() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        wandb.teardown()  # the W&B client of this process may still use the server of another test
        yield [train(steps=600, seed=seed, wandb="online") for seed in (1, 2)], server
        wandb.teardown()
        assert not server.unknown_operations


def test_publish_creates_a_run_a_view_and_a_report(uploaded, tmp_path, capsys):
    runs, server = uploaded
    ids = [wandb_id_file(run).read_text() for run in runs]
    page = tmp_path / "page.html"
    compare_command([*map(str, runs), "--wandb", "--target", "5", "--html", str(page), "--json"])
    output = capsys.readouterr()
    final = json.loads(output.out)["groups"][0]["final"]
    (published,) = (run for run in server.runs.values() if run.job_type == "compare")
    assert published.summary["CartPole-v1/dqn/iqm"] == pytest.approx(final["value"])
    assert published.summary["CartPole-v1/dqn/low"] == pytest.approx(final["low"])
    assert published.config["runs"] == ids
    assert any(path.startswith("media/html/page") for path in published.files)
    assert any(path.startswith("media/table/table") for path in published.files)
    view, report = server.views.values()
    assert all(name in json.dumps(view.spec) for name in ids)
    grouping = view.spec["section"]["runSets"][0]["grouping"]
    assert [key["name"] for key in grouping] == ["agent.value", "env.value"]
    panel = next(block for block in report.spec["blocks"] if block["type"] == "panel-grid")["metadata"]
    assert panel["runSets"][0]["filters"]["filters"][0]["value"] == ids
    assert f"{final['value']:.2f}" in json.dumps(report.spec)
    addresses = [line for line in output.err.splitlines() if line.startswith("W&B")]
    assert [line.split()[1] for line in addresses] == ["run", "view", "report"]
    assert page.exists()


def test_publish_raises_if_a_run_was_deleted_on_the_server(uploaded):
    runs, server = uploaded
    del server.runs[wandb_id_file(runs[0]).read_text()]
    with pytest.raises(LabError, match=MISSING):
        compare_command([*map(str, runs), "--wandb", "--html", ""])
    assert all(run.job_type != "compare" for run in server.runs.values())


def test_publish_raises_if_a_run_was_never_uploaded(train, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with pytest.raises(LabError, match=MISSING):
        compare_command([str(train(steps=600)), "--wandb", "--html", str(tmp_path / "page.html")])


def test_without_an_api_key_only_the_page_is_written(train, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    page = tmp_path / "page.html"
    compare_command([str(train(steps=600)), "--wandb", "--html", str(page)])
    assert "no API key in WANDB_API_KEY" in " ".join(capsys.readouterr().err.split())
    assert page.exists()
