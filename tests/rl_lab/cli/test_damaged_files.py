"""Tests that every command reports files it cannot use in one line, with exit code 2.

Most tests run as root, which may read everything. So the tests with files of another user start processes without the
right to do so.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rl_lab.cli.main import main
from rl_lab.experiment.run import Run

WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
"""Start of a command line: a process of root that may not read files against their permissions."""

KEY = {"WANDB_API_KEY": "0" * 40, "WANDB_MODE": "offline"}


def make_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.absolute())


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def nested(path: Path) -> str:
    """Return values that are nested too deeply. PyYAML is slow for long lines."""
    return "[\n" * 3_000 if path.suffix == ".yaml" else "[" * 50_000


DAMAGES: dict[str, Callable[[Path], object]] = {
    "folder": make_folder,
    "loop": make_loop,
    "pipe": make_pipe,
    "empty": lambda path: path.write_text(""),
    "list": lambda path: path.write_text("[1, 2]\n[3]\n"),
    "number": lambda path: path.write_text("3\n4\n"),
    "lacks keys": lambda path: path.write_text("{}\n{}\n"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\n\xff"),
    "NUL": lambda path: path.write_text('{"a": "\\u0000"}\n{"a": "\\u0000"}\n'),
    "surrogate": lambda path: path.write_text('{"a": "\\ud800"}\n{"a": "\\ud800"}\n'),
    "deep": lambda path: path.write_text(nested(path)),
    "deep line": lambda path: path.write_text(nested(path) + "\n{}\n"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained run in runs/, which tests must copy before they change it."""
    folder = tmp_path_factory.mktemp("trained")
    args = "train dqn --env CartPole-v1 --steps 300 --wandb disabled --eval-episodes 1 --learning-starts 100 --hidden 8"
    main([*args.split(), "--runs-dir", str(folder / "runs")])
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the trained run, in the folder runs of the working directory."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Run.find("latest")


def error_line(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command, which must end with exit code 2 and one line on stderr. Return the line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main(args)
    errors = capsys.readouterr().err
    assert exit_.value.code == 2, errors
    assert errors.startswith("rl_lab: ")
    assert len(errors.splitlines()) == 1, errors
    assert len(errors) < 1000
    return errors


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("file", "commands"),
    [
        ("config.yaml", ["resume", "eval", "watch", "look", "compare"]),
        ("env.json", ["resume", "eval", "watch", "look", "compare"]),
        ("checkpoints/best/state.json", ["eval", "watch", "look"]),
        ("checkpoints/best/network.safetensors", ["eval"]),
        ("checkpoints/step-*/state.json", ["resume"]),
        ("checkpoints/step-*/learner.safetensors", ["resume"]),
    ],
)
def test_a_damaged_file_is_one_line(
    file: str, commands: list[str], damage: str, run: Run, capsys: pytest.CaptureFixture[str]
):
    (damaged_file,) = run.path.glob(file)
    DAMAGES[damage](damaged_file)
    if damage == "deep" and file == "env.json":
        damaged_file.write_text('{"name": ' * 50_000)
    before = sorted(path for path in run.path.rglob("*") if path.name != "lock")
    for command in commands:
        options = {"resume": ["--steps", "400"], "watch": ["--terminal"]}.get(command, [])
        line = error_line([command, str(run), *options], capsys)
        assert damaged_file.name in line or str(run) in line or str(run.path) in line
    assert sorted(path for path in run.path.rglob("*") if path.name != "lock") == before  # nothing is lost


METRICS_DAMAGES = [name for name in DAMAGES if name != "empty"]


@pytest.mark.parametrize("damage", [name for name in METRICS_DAMAGES if name != "deep"])
def test_damaged_metrics_are_one_line_and_change_nothing(damage: str, run: Run, capsys: pytest.CaptureFixture[str]):
    config = (run.path / "config.yaml").read_text()
    DAMAGES[damage](run.path / "metrics.jsonl")
    assert "metrics.jsonl" in error_line(["resume", str(run), "--steps", "400"], capsys)
    assert (run.path / "config.yaml").read_text() == config
    assert "metrics.jsonl" in error_line(["compare", str(run)], capsys)


@pytest.mark.parametrize("file", ["config.yaml", "env.json", "metrics.jsonl"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_does_not_take_a_comparison_down(
    file: str, damage: str, run: Run, capsys: pytest.CaptureFixture[str]
):
    damaged = Path(shutil.copytree(run.path, run.path.with_name("damaged-s2")))
    DAMAGES[damage](damaged / file)
    capsys.readouterr()
    main(["compare", "runs", "--json", "--html", ""])
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert [group["seeds"] for group in content["groups"]] == [[1]]
    (problem,) = content["left_out"]
    assert problem.startswith(f"runs/CartPole-v1/dqn/{damaged.name} is left out: ")
    assert problem in captured.err


@pytest.mark.parametrize("content", ["[\n" * 3_000, "lr: &a [*a]", "lr: 1\nlr: 2", '"\\ud800": 1', "- 1", "lr: [a]"])
@pytest.mark.parametrize("flag", ["--config", "--space"])
def test_a_damaged_file_of_settings_is_one_line(
    content: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(content)
    command = ["train", "dqn"] if flag == "--config" else ["sweep", "search", "dqn"]
    assert "settings.yaml" in error_line([*command, "--env", "CartPole-v1", flag, "settings.yaml"], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize("path", [".", "x" * 300, "loop", "none/settings.yaml", "/proc/self/mem"])
@pytest.mark.parametrize("command", [["train", "dqn"], ["sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1"]])
def test_a_path_that_is_no_file_of_settings_is_one_line(
    path: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    assert f"{path} cannot be read: " in error_line([*command, "--config", path], capsys)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "loop", "\ud800", "\x1b[31m", "runs\n"])
@pytest.mark.parametrize("command", ["resume", "eval", "watch", "look", "compare", "dash", "sync", "sweep status"])
def test_a_name_that_is_no_run_is_one_line(
    name: str, command: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("loop").symlink_to("loop")
    for variable, value in KEY.items():
        monkeypatch.setenv(variable, value)
    options = ["--terminal"] if command == "watch" else []
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main([*command.split(), name, *options])
    errors = capsys.readouterr().err
    assert exit_.value.code == 2, errors
    assert len(errors.splitlines()) == 1
    assert errors.rstrip("\n").isprintable()


@pytest.mark.parametrize("runs_dir", ["x" * 300, "loop", "file", "loop/below", "file/below"])
@pytest.mark.parametrize(
    "command",
    [
        ["train", "dqn", "--env", "CartPole-v1"],
        ["eval", "latest"],
        ["compare", "x"],
        ["sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1"],
    ],
)
def test_a_runs_dir_that_is_no_folder_is_one_line(
    runs_dir: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    assert runs_dir in error_line([*command, "--runs-dir", runs_dir], capsys)


@pytest.mark.parametrize("command", [["compare", "RUN", "--html"], ["watch", "RUN", "--video"]])
def test_an_output_that_cannot_be_written_is_one_line(command: list[str], run: Run, capsys: pytest.CaptureFixture[str]):
    Path("file").write_text("")
    args = [str(run) if arg == "RUN" else arg for arg in command]
    assert "file/below" in error_line([*args, "file/below.mp4" if "--video" in args else "file/below"], capsys)


SCRIPT = """
import contextlib, io, json, sys
from rl_lab.cli.main import main
results = []
for args in json.loads(sys.argv[1]):
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main(args)
        except SystemExit as exit_:
            code = exit_.code
    results.append([code, output.getvalue(), errors.getvalue()])
print(json.dumps(results))
"""


def run_without_rights(*commands: list[str]) -> list[tuple[int, str, str]]:
    """Run commands as a user who may not read the files of others. Return exit codes, outputs and errors."""
    start = WITHOUT_RIGHTS if os.geteuid() == 0 else []
    if start and shutil.which(start[0]) is None:
        pytest.skip("root can read everything, and setpriv is not installed")
    environment = {**os.environ, **KEY, "CUDA_VISIBLE_DEVICES": ""}
    command = [*start, sys.executable, "-c", SCRIPT, json.dumps(commands)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("private", "commands"),
    [
        ("", ["resume", "eval", "watch", "look", "compare", "dash", "sync"]),
        ("config.yaml", ["resume", "eval", "watch", "look", "compare", "sync"]),
        ("checkpoints", ["resume", "eval", "watch", "look"]),
    ],
)
def test_a_run_of_another_user_is_one_line(private: str, commands: list[str], run: Run):
    options = {"watch": ["--terminal"], "resume": ["--steps", "400"]}
    (run.path / private).chmod(0)
    try:
        results = run_without_rights(*([command, str(run), *options.get(command, [])] for command in commands))
    finally:
        (run.path / private).chmod(0o755)
    for command, (code, _, errors) in zip(commands, results, strict=True):
        assert code == 2, (command, errors)
        assert len(errors.splitlines()) == 1, (command, errors)
        assert "Permission denied" in errors
        assert str(run) in errors


@pytest.mark.slow
def test_runs_of_another_user_are_left_out_by_name(run: Run):
    private = Path(shutil.copytree(run.path, run.path.with_name("private-s2")))
    partly_private = Path(shutil.copytree(run.path, run.path.with_name("private-s3")))
    (partly_private / "env.json").chmod(0)
    private.chmod(0)
    try:
        compare, evaluate = run_without_rights(
            ["compare", "runs", "--json", "--html", ""], ["eval", run.path.name, "--episodes", "1"]
        )
    finally:
        private.chmod(0o755)
    assert compare[0] == 0, compare[2]
    content = json.loads(compare[1])
    assert [group["seeds"] for group in content["groups"]] == [[1]]
    assert content["left_out"] == [
        f"runs/CartPole-v1/dqn/{private.name} is left out: it cannot be read: Permission denied",
        f"runs/CartPole-v1/dqn/{partly_private.name} is left out: {partly_private}/env.json cannot be read: Permission"
        " denied",
    ]
    assert evaluate[0] == 0, evaluate[2]


@pytest.mark.slow
def test_a_checkpoint_of_another_user_is_not_discarded(run: Run):
    """A damaged checkpoint is discarded on resume. A file that cannot be opened may be intact."""
    (generation,) = (run.path / "checkpoints").glob("step-*")
    learner = generation / "learner.safetensors"
    learner.chmod(0)
    ((code, _, errors),) = run_without_rights(["resume", str(run), "--steps", "400"])
    assert code == 2, errors
    assert "learner.safetensors cannot be read: Permission denied" in errors
    assert learner.exists()
