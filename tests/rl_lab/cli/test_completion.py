"""The words that shells complete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rl_lab.cli.completion import OPTIONS, SCRIPTS, candidates
from rl_lab.cli.main import COMMANDS, main
from rl_lab.experiment.registry import agents


@pytest.fixture(autouse=True)
def in_folder_with_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs/CartPole-v1/dqn/20260101-000000-s1"
    run.mkdir(parents=True)
    for name in ("config.yaml", "env.json"):
        (run / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        (["train", "dq"], ["dqn"]),
        (["train", "dqn", "--learn"], ["--learning-starts"]),
        (["train", "dqn", "--print"], ["--print-config"]),
        (["train", "ppo", "--ratio"], ["--ratio-clip"]),
        (["train", "dqn", "--device", ""], ["auto", "cpu", "cuda", "mps"]),
        (["watch", ""], ["20260101-000000-s1", "demo", "latest"]),
        (["watch", "demo", "--term"], ["--terminal"]),
        (["rm", "2026"], ["20260101-000000-s1"]),
        (["export", "2026"], ["20260101-000000-s1"]),
        (["push", "lat"], ["latest"]),
        (["export", "latest", "--on"], ["--onnx"]),
        (["pull", "user/name", "--allow"], ["--allow-modules"]),
        (["eval", "--run"], ["--runs-dir"]),
        (["list", "r"], ["runs"]),
        (["sweep", ""], ["grid", "resume", "search", "status", "suite"]),
        (["sweep", "grid", "--ag"], ["--agents"]),
        (["sweep", "suite", "classic", "--results"], ["--results-dir"]),
        (["sweep", "suite", "cl"], ["classic"]),
        (["sweep", "suite", "classic", "--batch"], []),
        (["results", "cl"], ["classic"]),
        (["sweep", "resume", "folder", "--"], ["--address", "--help"]),
        (["compare", "x", "--html", ""], []),
        (["nonsense", ""], []),
    ],
)
def test_candidates_begin_with_the_incomplete_word(words: list[str], expected: list[str]) -> None:
    assert candidates(words) == expected


def test_all_commands_and_agents_are_candidates() -> None:
    assert set(COMMANDS) <= set(candidates([""]))
    assert set(candidates(["train", ""])) == set(agents())


def test_every_command_is_completed() -> None:
    without_options = {"train", "doctor", "completion", "list", "sweep"}  # or with options of other kinds
    assert set(COMMANDS) == {command.split()[0] for command in OPTIONS} | without_options


@pytest.mark.parametrize("command", OPTIONS)
def test_every_command_with_options_has_flags(command: str) -> None:
    assert "--help" in candidates([*command.split(), "--"])
    assert len(candidates([*command.split(), "--"])) > 1


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "csh"])
    assert "the shells are bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_valid(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    main(["completion", shell])
    script = capsys.readouterr().out
    assert subprocess.run([shell, "-n"], input=script, text=True, capture_output=True).returncode == 0


@pytest.fixture
def path_of_rl_lab(tmp_path: Path) -> dict[str, str]:
    """Return environment variables with which a shell finds the program `rl-lab` of this checkout."""
    program = tmp_path / "rl-lab"
    root = Path(__file__).parents[3]
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m rl_lab "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_word(path_of_rl_lab: dict[str, str]) -> None:
    words = "COMP_WORDS=(rl-lab train rain); COMP_CWORD=2"
    script = f'eval "$(rl-lab completion bash)"; {words}; _rl_lab; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=path_of_rl_lab)
    assert done.stdout.split() == ["rainbow"], done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rl-lab train rain", ["rainbow"]),
        ("rl-lab train dqn --precision ", ["auto", "bfloat16", "float32"]),
        ("rl-lab eval latest --runs-dir fold", ["folder/"]),
    ],
)
def test_fish_completes_words_and_else_paths(
    line: str, expected: list[str], path_of_rl_lab: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    script = f"rl-lab completion fish | source; complete -C '{line}'"
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, env=path_of_rl_lab, cwd=tmp_path)
    assert done.stdout.split() == expected, done.stderr
