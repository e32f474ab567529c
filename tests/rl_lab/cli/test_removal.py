"""The commands `list runs`, `rm` and `clean`: what they show, what they remove, and what they never touch."""

import json
import os
import shutil
from pathlib import Path

import pytest

from envs.make import resolve
from rl_lab.checkpoint import generations
from rl_lab.cli.main import main
from rl_lab.experiment import config
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run
from rl_lab.system.lock import is_locked, lock_run


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_run(seed: int = 1, folder: str = "", **settings: object) -> Run:
    """Return a run folder with one evaluation in runs/, without training."""
    env_spec = resolve("CartPole-v1")
    resolved = config.resolve("dqn", env_spec, {"seed": seed, **settings})
    run = Run.create(resolved, env_spec, Path(folder) if folder else None)
    line = {"global_step": 1000, "time/minutes": 1.5, "eval/return_mean": 10.0 + seed}
    (run.path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return run


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def fails(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with exit code 2, and return its line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_list_runs_shows_the_newest_run_first(capsys: pytest.CaptureFixture[str]) -> None:
    make_run(1, "runs/CartPole-v1/dqn/20260101-000000-s1")
    newest = make_run(2, "runs/CartPole-v1/dqn/20260102-000000-s2")
    with lock_run(newest.path):
        main(["list", "runs"])
    heading, first, second = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert heading == ["name", "agent", "env", "steps", "last", "best", "minutes", "state"]
    assert first == ["20260102-000000-s2", "dqn", "CartPole-v1", "1,000", "12.00", "12.00", "1.5", "running"]
    assert second == ["20260101-000000-s1", "dqn", "CartPole-v1", "1,000", "11.00", "11.00", "1.5", "stopped"]


def test_list_runs_shows_unreadable_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    (run.path / "config.yaml").write_text("{")
    main(["list", "runs"])
    assert capsys.readouterr().out.splitlines()[1].split() == [run.path.name, "unreadable"]


def test_rm_removes_only_the_named_run(capsys: pytest.CaptureFixture[str]) -> None:
    removed = make_run(1, "runs/CartPole-v1/dqn/a")
    kept = make_run(2, "runs/CartPole-v1/dqn/b")
    before = files(kept.path)
    main(["rm", "a", "--yes"])
    assert not removed.path.exists()
    assert files(kept.path) == before
    assert "removed 1 run" in capsys.readouterr().out


def test_rm_removes_empty_parents_but_not_the_folder_of_the_runs() -> None:
    run = make_run()
    main(["rm", str(run.path), "--yes"])
    assert os.listdir("runs") == []


@pytest.mark.parametrize(("answer", "remains"), [("y", False), ("YES", False), ("", True), ("n", True), ("a", True)])
def test_rm_asks_before_it_removes(answer: str, remains: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    main(["rm", "latest"])
    assert run.path.exists() == remains


def test_rm_needs_yes_where_nobody_can_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert "--yes" in fails(["rm", "latest"], capsys)
    assert run.path.exists()


def test_rm_refuses_parts_of_names_and_removes_nothing_if_one_name_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(1, "runs/CartPole-v1/dqn/abc")
    assert "must be complete" in fails(["rm", "ab", "--yes"], capsys)
    assert "must be complete" in fails(["rm", "abc", "abcd", "--yes"], capsys)
    assert "must be complete" in fails(["rm", "runs", "--yes"], capsys)
    assert run.path.exists()


def test_rm_refuses_a_name_that_two_runs_have(capsys: pytest.CaptureFixture[str]) -> None:
    make_run(1, "runs/CartPole-v1/dqn/a")
    make_run(1, "runs/CartPole-v1/ppo/a")
    assert "2 runs are called 'a'" in fails(["rm", "a", "--yes"], capsys)
    main(["rm", "CartPole-v1/ppo/a", "--yes"])
    assert Path("runs/CartPole-v1/dqn/a").exists()


@pytest.mark.parametrize("command", ["rm", "clean"])
def test_running_runs_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    with lock_run(run.path):
        assert "is being trained" in fails([command, "latest", "--yes"], capsys)
    assert run.path.exists()


@pytest.mark.parametrize("command", ["rm", "clean"])
@pytest.mark.parametrize("linked", ["run", "agent folder", "lock", "config.yaml"])
def test_symbolic_links_are_refused(command: str, linked: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The target of the link stays as it is, whether the run folder, its parent or a file is the link."""
    run = make_run(1, "runs/CartPole-v1/dqn/a")
    (run.path / "lock").write_text("1")
    path = {"run": run.path, "agent folder": run.path.parent}.get(linked, run.path / linked)
    target = Path("elsewhere").absolute()
    path.rename(target)
    path.symlink_to(target)
    before = files(target) if target.is_dir() else target.read_bytes()
    assert "is a symbolic link" in fails([command, str(run.path), "--yes"], capsys)
    assert before == (files(target) if target.is_dir() else target.read_bytes())


def test_rm_keeps_what_links_inside_a_run_point_to() -> None:
    run = make_run()
    Path("precious").mkdir()
    Path("precious/file").write_text("x")
    (run.path / "videos").symlink_to(Path("precious").absolute())
    (run.path / "note").symlink_to(Path("precious/file").absolute())
    main(["rm", "latest", "--yes"])
    assert not run.path.exists()
    assert Path("precious/file").read_text() == "x"


@pytest.mark.parametrize("command", ["rm", "clean"])
def test_folders_that_are_no_runs_of_this_lab_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    outside = make_run(1, "elsewhere/a")
    assert "must be complete" in fails([command, str(outside.path), "--yes"], capsys)
    assert "must be complete" in fails([command, "demo", "--yes"], capsys)
    assert "must be complete" in fails([command, "runs/../elsewhere/a", "--yes"], capsys)
    other = Path("runs/other")
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("model: resnet\n")
    (other / "env.json").write_text("{}")
    assert "is not a run folder of this lab" in fails([command, "other", "--yes"], capsys)
    assert other.exists()
    assert outside.path.exists()


def test_a_run_in_which_one_stands_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = make_run()
    monkeypatch.chdir(run.path)
    args = ["rm", str(run.path), "--yes", "--runs-dir", str(tmp_path / "runs")]
    assert "is the working directory" in fails(args, capsys)


def test_is_locked_only_while_a_process_holds_the_lock() -> None:
    run = make_run()
    assert not is_locked(run.path)
    with lock_run(run.path):
        assert is_locked(run.path)
    assert not is_locked(run.path)


def test_clean_keeps_the_networks_of_finished_runs(train, capsys: pytest.CaptureFixture[str]) -> None:
    """The run counts as finished as before, so that its group is not trained again. Unfinished runs stay complete."""
    finished = train(steps=600)
    unfinished = make_run(2)
    checkpoints = unfinished.path / "checkpoints"
    shutil.copytree(finished.path / "checkpoints", checkpoints)
    before = files(unfinished.path)
    newest = generations(finished.path)[0].name
    total = sum(len(data) for data in files(finished.path / "checkpoints").values())
    capsys.readouterr()
    main(["clean", "--yes"])
    out = capsys.readouterr().out
    assert str(finished.path.relative_to(Path.cwd())) in out.replace(f"{Path.cwd()}/", "")
    freed = total - sum(len(data) for data in files(finished.path / "checkpoints").values())
    assert f"freed {freed / 1e6:,.1f} MB" in out
    left = sorted(str(path.relative_to(finished.path)) for path in (finished.path / "checkpoints").rglob("*.*"))
    assert left == [
        f"checkpoints/{folder}/{name}" for folder in ("best", newest) for name in ("network.safetensors", "state.json")
    ]
    assert is_finished(finished)
    assert {name: data for name, data in files(unfinished.path).items() if not name.endswith("lock")} == before
    main(["eval", str(finished.path), "--episodes", "1", "--checkpoint", "last"])
    assert "no undamaged checkpoint" in fails(["resume", str(finished.path), "--steps", "900"], capsys)
    capsys.readouterr()
    main(["clean", "--yes"])
    assert "nothing to remove" in capsys.readouterr().out


def test_clean_refuses_a_named_run_that_is_not_finished(capsys: pytest.CaptureFixture[str]) -> None:
    make_run()
    assert "is not finished" in fails(["clean", "latest", "--yes"], capsys)
