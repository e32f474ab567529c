"""`train --print-config`, `--dry-run`, `--name`, `--tags` and `--notes`."""

from pathlib import Path

import pytest
import yaml

from rl_lab.cli.main import main
from rl_lab.experiment import config
from rl_lab.experiment.registry import CONFIGS
from rl_lab.tracking.wandb_sink import _words

ARGS = ["train", "dqn", "--env", "CartPole-v1", "--wandb", "disabled"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], dict[str, str]]:
    """Return the printed settings, and the layer of each."""
    main([*ARGS, *args, "--print-config"])
    text = capsys.readouterr().out
    comments = {}
    for line in text.splitlines():
        assert len(yaml.safe_load(line)) == 1, "each line is YAML of its own"
        comments[line.split(":")[0]] = line.rsplit("  # ", 1)[1]
    return yaml.safe_load(text), comments


def test_print_config_names_the_layer_of_each_value(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.yaml").write_text("gamma: 0.9\nlr: 0.5\n")
    settings, layers = printed(
        ["--config", "own.yaml", "--lr", "0.25", "--env-arg", "sutton_barto_reward=true"], capsys
    )
    sections = yaml.safe_load((CONFIGS / "dqn.yaml").read_text())
    assert (settings["lr"], layers["lr"]) == (0.25, "command line")
    assert (settings["gamma"], layers["gamma"]) == (0.9, "own.yaml")
    assert settings["env_args"] == {"sutton_barto_reward": True}
    assert layers["env_args"] == "command line"
    assert (settings["n_step"], layers["n_step"]) == (
        sections["CartPole-v1"]["n_step"],
        "configs/dqn.yaml, section CartPole-v1",
    )
    assert (settings["eval_episodes"], layers["eval_episodes"]) == (10, "default")
    assert list(Path().iterdir()) == [Path("own.yaml")]


def test_print_config_is_a_config_file(capsys: pytest.CaptureFixture[str]) -> None:
    settings, _ = printed(["--lr", "0.25", "--notes", "a: b # c", "--tags", "x,y"], capsys)
    assert config.from_dict(settings, "the output").to_dict() == settings
    assert settings["notes"] == "a: b # c"


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main([*ARGS, "--dry-run", "--torch-threads", "1"])
    out = capsys.readouterr().out
    assert "dry run: the run can start" in out
    assert "weights" in out
    assert list(Path().iterdir()) == []


def test_dry_run_reports_what_stops_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*ARGS, "--dry-run", "--init-from", "nothing"])
    assert stop.value.code == 2
    assert "there are no runs in runs" in capsys.readouterr().err


def test_name_ends_the_run_folder_and_stays_in_the_configuration(train) -> None:
    run = train(steps=16, eval_every=0, eval_episodes=1, name="my first/run", tags="a, b", notes="why")
    assert "-s1-my" in run.path.name
    assert run.path.parent.name == "dqn", "a slash in the name makes no folder"
    assert (run.config.run.name, run.config.run.tags, run.config.run.notes) == ("my first/run", "a, b", "why")


def test_tags_are_separated_by_commas() -> None:
    assert _words(" a, b c,,d ") == ["a", "b c", "d"]
    assert _words("") == []
