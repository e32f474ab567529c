"""Tests of the command line: output, error lines and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rl_lab
from rl_lab.cli.main import main
from rl_lab.experiment.registry import agents
from rl_lab.system.shell import find_program, shell_command

QUICK = ["--wandb", "disabled", "--eval-episodes", "2", "--learning-starts", "200"]
TRAIN_OPTIONS = (
    "env steps seed num-envs device preset wandb runs-dir config lr gamma batch-size replay-size learning-starts"
    " replay-ratio n-step target-every epsilon-start epsilon-end epsilon-steps grad-clip eval-every eval-episodes"
    " checkpoint-every precision"
).split()


def run_lab(*args: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the lab as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rl_lab", *args],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_train_prints_the_run_folder_and_the_next_command(tmp_path: Path):
    done = run_lab("train", "dqn", "--env", "CartPole-v1", "--steps", "600", "--lr", "3e-4", *QUICK, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run folder runs/CartPole-v1/dqn/" in done.stdout
    assert "next:  python -m rl_lab eval runs/CartPole-v1/dqn/" in done.stdout
    config = next(tmp_path.glob("runs/CartPole-v1/dqn/*/config.yaml")).read_text()
    assert "lr: 0.0003\n" in config


def test_eval_prints_the_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    main(["train", "dqn", "--env", "CartPole-v1", "--steps", "600", *QUICK])
    capsys.readouterr()
    main(["eval", "latest", "--episodes", "3", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"mean", "std", "returns", "lengths", "episodes", "cut", "checkpoint", "env", "agent"}
    assert (len(result["returns"]), result["env"], result["agent"]) == (3, "CartPole-v1", "dqn")
    main(["eval", "CartPole-v1/dqn", "--episodes", "3"])
    assert f"{result['mean']:.2f} +- {result['std']:.2f}" in capsys.readouterr().out
    main(["eval", "latest", "--checkpoint", "last", "--episodes", "2"])
    assert "checkpoint step-000000" in capsys.readouterr().out


def test_ctrl_c_saves_a_checkpoint_and_prints_the_command_to_resume(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "rl_lab", "train", "dqn", "--env", "CartPole-v1", "--steps", "10000000", *QUICK],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("runs/*/*/*/metrics.jsonl")) and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    command = "go on from the last checkpoint with:  python -m rl_lab resume runs/CartPole-v1/dqn/"
    assert f"stopped and saved; {command}" in output
    assert list(tmp_path.glob("runs/*/*/*/checkpoints/step-*/learner.safetensors"))


CARTPOLE = ["--env", "CartPole-v1"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["trian"],
            "unknown command 'trian'; the commands are: train, resume, eval, watch, play, look, export, push, pull,"
            " compare, sweep, results, sync, dash, list, rm, clean, doctor, completion",
        ),
        (
            ["list", "everything"],
            "the usage is list, list runs, list agents, list envs [MODULE], list presets [AGENT] or list demos",
        ),
        (["doctor", "--fix"], "doctor takes no options, not --fix"),
        (["train"], "which agent?"),
        (["train", "dqn"], "which environment? add --env NAME"),
        (["train", "dqm", "--env", "Pong"], "unknown agent 'dqm'; nearest: dqn"),
        (["train", "dqn", "--env", "Pogn"], "unknown environment 'Pogn'; nearest: Pong"),
        (
            ["train", "dqn", "--env", "Pendulum-v1"],
            "dqn cannot use Pendulum-v1, which has continuous actions; agents for it: reinforce, ppo",
        ),
        (
            ["train", "a2c", *CARTPOLE, "--collectors", "2"],
            "collectors is 2; a2c learns from its own rows only; agents with collectors: dqn",
        ),
        (["train", "dqn", *CARTPOLE, "--lr", "abc"], "--lr is 'abc'; it must be a number"),
        (["train", "dqn", *CARTPOLE, "--steps", "1.5"], "--steps is '1.5'; it must be a whole number"),
        (["train", "dqn", *CARTPOLE, "--lr", "-1"], "lr is -1.0; it must be greater than 0"),
        (["train", "dqn", *CARTPOLE, "--lrr", "1"], "nearest: --lr"),
        (["train", "dqn", *CARTPOLE, "--device", "tpu"], "invalid choice 'tpu'"),
        (["train", "dqn", *CARTPOLE, "--device", "cuda"], "device cuda is not on this machine"),
        (["train", "dqn", *CARTPOLE, "--preset", "x"], "unknown preset 'x'"),
        (["train", "dqn", *CARTPOLE, "--preset", "paper"], "preset paper has no settings for CartPole-v1"),
        (["train", "dqn", *CARTPOLE, "--protocol", "x"], "protocol is 'x'; it must be one of classic, machado"),
        (["train", "dqn", *CARTPOLE, "--config", "none.yaml"], "none.yaml cannot be read"),
        (["train", "dqn", *CARTPOLE, "--replay-size", "8"], "it must be at least"),
        (["train", "dqn", *CARTPOLE, "--jobs", "4"], "jobs is 4; more than one job needs --seeds"),
        (["train", "tabular_sarsa", "--env", "Acrobot-v1", "--tiles", "2000"], "tile coding over 6 entries is not"),
        (["train", "dqn", *CARTPOLE, "--hidden", "1000000000"], "optimiser needs more than 1,000,000,000 GB"),
        (["train", "dqn", *CARTPOLE, "--hidden", "1e6"], "(20,000,160,000,040 bytes) and cpu has"),
        (["train", "dqn", *CARTPOLE, "--replay-size", "1e12"], "the replay needs "),
        (["train", "dqn", *CARTPOLE, "--batch-size", "1e9", "--replay-size", "1e9"], "a batch needs "),
        (["train", "drqn", "--env", "Pong", "--batch-size", "1e8", "--replay-size", "1e8"], "a batch needs "),
        (
            ["train", "rainbow", *CARTPOLE, "--distributional", "--atoms", "1e9", "--steps", "9"],
            "lower hidden, atoms, filters or frame_stack",
        ),
        (["train", "ppo", *CARTPOLE, "--batch-size", "1e12"], "the rollout needs "),
        (["train", "reinforce", *CARTPOLE, "--batch-size", "1e12"], "a batch needs "),
        (["train", "reinforce", *CARTPOLE, "--epochs", "4"], "unknown option --epochs; the agent ppo has this setting"),
        (["train", "sb3_dqn", *CARTPOLE, "--buffer-size", "1e12"], "the buffer needs "),
        (["train", "sb3_ppo", *CARTPOLE, "--hidden", "1e9"], "lower hidden or frame_stack"),
        (["train", "dqn", "--env", "Pong", "--num-envs", "1e5"], "lower num_envs"),
        (["train", "dqn", *CARTPOLE, "--num-envs", "1e4", "--vectorization", "async"], "set vectorization to sync"),
        (["train", "sb3_ppo", *CARTPOLE, "--batch-size", "1"], "batch_size is 1; it must be at least 2"),
        (["eval", "latest"], "there are no runs in runs"),
        (["eval", "latest", "--episodes", "0"], "episodes is 0; it must be at least 1"),
        (["eval", "latest", "--epsilon", "abc"], "--epsilon is 'abc'; it must be a number"),
        (["watch", "latest", "--terminal"], "there are no runs in runs"),
        (["look", "latest", "--attack", "fgsm"], "--attack takes {fgsm} FLOAT"),
        (["resume", "nothing"], "there are no runs in runs"),
        (
            ["resume", "demo"],
            "demo:pong cannot be resumed; a new run starts from its network with --init-from demo:pong",
        ),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_help_of_the_lab_lists_the_commands(tmp_path: Path):
    assert "train AGENT --env NAME" in run_lab("--help", folder=tmp_path).stdout


def test_help_of_train_lists_the_options_of_the_agent(tmp_path: Path):
    output = run_lab("train", "dqn", "--help-all", folder=tmp_path, COLUMNS="200").stdout
    for name in TRAIN_OPTIONS:
        assert f"--{name} " in output, name
    assert "Updates between two copies" in output


@pytest.mark.parametrize("agent", ["dqn", "reinforce", "sb3_ppo", "tabular_sarsa"])
def test_short_help_of_train_lists_the_most_used_options(agent: str, tmp_path: Path):
    output = run_lab("train", agent, "--env", "CartPole-v1", "--help", folder=tmp_path, COLUMNS="200").stdout
    names = [line.split()[1] for line in output.splitlines() if line.startswith("│ --")]
    assert 15 <= len(names) <= 30
    assert {"--env", "--steps", "--seeds"} <= set(names)
    assert "--checkpoint-every" not in names
    assert "--help-all shows all options" in output
    assert "(default: CartPole-v1)" in output


def test_help_of_eval_lists_its_options(tmp_path: Path):
    assert "--episodes INT" in run_lab("eval", "--help", folder=tmp_path).stdout


@pytest.mark.parametrize(
    "command",
    [
        *[
            "",
            "train",
            "train dqn",
            "train reinforce",
            "train tabular_sarsa",
            "train sb3_ppo",
            "resume",
            "eval",
            "watch",
        ],
        *[
            "play",
            "look",
            "compare",
            "sweep",
            "sweep grid",
            "sweep search",
            "sweep resume",
            "sweep status",
            "sync",
            "dash",
        ],
        *["list", "list runs", "rm", "clean", "doctor"],
    ],
)
def test_help_imports_no_slow_package(command: str, tmp_path: Path):
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rl_lab", *command.split(), "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert process.returncode == 0
    imported = {line.split("|")[-1].strip() for line in process.stderr.splitlines()}
    assert "rl_lab.cli.main" in imported
    assert not imported & {"torch", "gymnasium", "wandb", "numpy", "ray", "cv2"}


def test_built_in_agents_name_the_class_of_their_settings():
    for entry in agents().values():
        assert entry.load_config_class() is entry.load().config_class, entry.name


def test_train_from_a_config_file_takes_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    main(["train", "dqn", *CARTPOLE, "--steps", "300", *QUICK])
    (run,) = tmp_path.glob("runs/CartPole-v1/dqn/*")
    main(["train", "dqn", "--config", str(run / "config.yaml"), "--steps", "200"])
    assert len(list(tmp_path.glob("runs/CartPole-v1/dqn/*"))) == 2


def test_train_warns_if_no_update_will_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    main(["train", "dqn", *CARTPOLE, "--steps", "100", *QUICK, "--learning-starts", "400"])
    assert "WARNING: learning_starts is not below steps" in capsys.readouterr().out


def test_resume_of_a_run_without_a_full_checkpoint_names_the_alternative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    main(["train", "dqn", *CARTPOLE, "--steps", "300", *QUICK, "--eval-every", "100"])
    (run,) = tmp_path.glob("runs/CartPole-v1/dqn/*")
    for generation in (run / "checkpoints").glob("step-*"):
        generation.rename(tmp_path / generation.name)
    with pytest.raises(SystemExit):
        main(["resume", str(run)])
    message = "holds no checkpoint to resume from; begin a new run with its best network by --init-from"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("is_installed", "program"), [(True, "rl-lab"), (False, "python -m rl_lab")])
def test_commands_are_shown_as_the_script_if_it_is_on_the_path(
    is_installed: bool, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A script of another installation does not count."""
    script = tmp_path / "rl-lab"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str((tmp_path if is_installed else tmp_path / "other") / "python"))
    assert find_program() == program


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"rl-lab {rl_lab.__version__}\n"


@pytest.mark.parametrize(
    "command", ["train dqn", "compare", "eval", "watch", "look", "sync", "sweep grid", "list runs"]
)
def test_help_shows_no_types_of_the_parser(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help-all" if command.startswith("train") else "--help"])
    text = capsys.readouterr().out
    for leftover in ("STR", "{None}", "default: None", "default: ''", "(default: )"):
        assert leftover not in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("watch", "RUN [RUN2]"),
        ("resume", "RUN"),
        ("pull", "USER/NAME"),
        ("play", "ENV"),
        ("sweep suite", "[SUITE]"),
        ("sweep resume", "FOLDER"),
        ("dash", "[RUN]"),
    ],
)
def test_usage_names_the_positional_arguments(command: str, words: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert f"] {words}" in capsys.readouterr().out.splitlines()[0]


def test_none_is_accepted_for_an_optional_number(capsys: pytest.CaptureFixture[str]):
    main(["train", "dqn", *CARTPOLE, "--print-config", "--target", "none"])
    assert "target: null " in capsys.readouterr().out


def test_shell_command_quotes_words():
    assert shell_command("compare", "my study", 3) == "python -m rl_lab compare 'my study' 3"


def test_list_prints_agents_and_environments(tmp_path: Path):
    output = run_lab("list", folder=tmp_path).stdout
    assert "Mnih et al. 2015" in output
    assert "Pong" in output
    assert "CartPole-v1" in output


def test_doctor_prints_versions_and_exits_with_1_if_there_is_a_problem(tmp_path: Path):
    done = run_lab("doctor", folder=tmp_path)
    assert "torch 2" in done.stdout
    assert "bfloat16 is" in done.stdout
    assert done.returncode == ("PROBLEM" in done.stdout)
