"""The command line as a person meets it: in a process of its own, by its words and its exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rl_lab.cli.main import main
from rl_lab.system.shell import as_typed

QUICK = ["--wandb", "disabled", "--eval-episodes", "2", "--learning-starts", "200"]


def lab(*args, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "rl_lab", *args],
        cwd=cwd,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_train_then_eval(tmp_path, monkeypatch, capsys):
    done = lab("train", "dqn", "--env", "CartPole-v1", "--steps", "600", "--lr", "3e-4", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run folder runs/CartPole-v1/dqn/" in done.stdout
    assert "next:  python -m rl_lab eval runs/CartPole-v1/dqn/" in done.stdout
    config = next(tmp_path.glob("runs/CartPole-v1/dqn/*/config.yaml")).read_text()
    assert "lr: 0.0003\n" in config
    monkeypatch.chdir(tmp_path)
    main(["eval", "latest", "--episodes", "3", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"mean", "std", "returns", "lengths", "episodes", "checkpoint", "env", "agent"}
    assert (len(answer["returns"]), answer["env"], answer["agent"]) == (3, "CartPole-v1", "dqn")
    main(["eval", "CartPole-v1/dqn", "--episodes", "3"])
    assert f"{answer['mean']:.2f} +- {answer['std']:.2f}" in capsys.readouterr().out
    main(["eval", "latest", "--checkpoint", "last", "--episodes", "2"])
    assert "checkpoint step-000000" in capsys.readouterr().out


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
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
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert (
        "stopped and saved; go on from the last checkpoint with:  python -m rl_lab resume runs/CartPole-v1/dqn/" in out
    )
    assert list(tmp_path.glob("runs/*/*/*/checkpoints/step-*/learner.safetensors"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["trian"],
            "unknown command 'trian'; there are: train, resume, eval, watch, look, compare, sweep, sync, dash, list, doctor",
        ),
        (["train"], "which agent?"),
        (["train", "dqn"], "which environment? add --env NAME"),
        (["train", "dqm", "--env", "Pong"], "unknown agent 'dqm'; nearest: dqn"),
        (["train", "dqn", "--env", "Pogn"], "unknown environment 'Pogn'; nearest: Pong"),
        (["train", "dqn", "--env", "Pendulum-v1"], "need a Discrete one"),
        (["train", "dqn", "--env", "CartPole-v1", "--lr", "abc"], "--lr is 'abc'; it must be a number"),
        (["train", "dqn", "--env", "CartPole-v1", "--steps", "1.5"], "--steps is '1.5'; it must be a whole number"),
        (["eval", "latest", "--epsilon", "abc"], "--epsilon is 'abc'; it must be a number"),
        (["look", "latest", "--attack", "fgsm"], "--attack takes {fgsm} FLOAT"),
        (["train", "dqn", "--env", "CartPole-v1", "--lr", "-1"], "lr is -1.0; it must be greater than 0"),
        (["train", "dqn", "--env", "CartPole-v1", "--lrr", "1"], "nearest: --lr"),
        (["train", "dqn", "--env", "CartPole-v1", "--device", "tpu"], "invalid choice 'tpu'"),
        (["train", "dqn", "--env", "CartPole-v1", "--device", "cuda"], "device cuda is not on this machine"),
        (["train", "dqn", "--env", "CartPole-v1", "--preset", "x"], "unknown preset 'x'"),
        (
            ["train", "dqn", "--env", "CartPole-v1", "--protocol", "x"],
            "protocol is 'x'; it must be one of classic, machado",
        ),
        (["train", "dqn", "--env", "CartPole-v1", "--config", "none.yaml"], "none.yaml cannot be read"),
        (["train", "dqn", "--env", "CartPole-v1", "--preset", "paper"], "preset paper has no settings for CartPole-v1"),
        (["train", "dqn", "--env", "CartPole-v1", "--replay-size", "8"], "it must be at least"),
        (["eval", "latest"], "there are no runs in runs"),
        (["eval", "latest", "--episodes", "0"], "episodes is 0; it must be at least 1"),
        (["watch", "latest", "--terminal"], "there are no runs in runs"),
        (["resume", "nothing"], "there are no runs in runs"),
        (
            ["resume", "demo"],
            "the demo is a network to watch and no more; a new run begins with it by --init-from demo",
        ),
        (["train", "dqn", "--env", "CartPole-v1", "--jobs", "4"], "jobs is 4; one run is one job: it needs --seeds"),
        (
            ["train", "tabular_sarsa", "--env", "Acrobot-v1", "--tiles", "2000"],
            "the replay needs",
        ),
        (["train", "sb3_ppo", "--env", "CartPole-v1", "--batch-size", "1"], "batch_size is 1; it must be at least 2"),
        (["list", "everything"], "it is list, list agents or list envs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_help_at_every_level(tmp_path):
    assert "train AGENT --env NAME" in lab("--help", cwd=tmp_path).stdout
    options = lab("train", "dqn", "--help", cwd=tmp_path, COLUMNS="200").stdout
    for name in (
        "env steps seed num-envs device preset wandb runs-dir config lr gamma batch-size replay-size learning-starts"
        " replay-ratio n-step target-every epsilon-start epsilon-end epsilon-steps grad-clip eval-every eval-episodes"
        " checkpoint-every precision"
    ).split():
        assert f"--{name} " in options, name
    assert "Updates between two copies" in options
    assert "--episodes INT" in lab("eval", "--help", cwd=tmp_path).stdout


def test_a_runs_own_configuration_is_enough(tmp_path, monkeypatch, capsys):
    """Its environment comes with it; what cannot learn says so."""
    monkeypatch.chdir(tmp_path)
    quick = ["--wandb", "disabled", "--eval-episodes", "1", "--eval-every", "100"]
    main(["train", "dqn", "--env", "CartPole-v1", "--steps", "300", "--learning-starts", "400", *quick])
    assert "WARNING: learning_starts is not below steps: nothing will be learned" in capsys.readouterr().out
    (first,) = tmp_path.glob("runs/CartPole-v1/dqn/*")
    main(["train", "dqn", "--config", str(first / "config.yaml"), "--steps", "200"])
    assert len(list(tmp_path.glob("runs/CartPole-v1/dqn/*"))) == 2
    for step in (first / "checkpoints").glob("step-*"):
        step.rename(tmp_path / step.name)
    with pytest.raises(SystemExit):
        main(["resume", str(first)])
    assert (
        "holds no checkpoint to go on from; begin a new run with its best network by --init-from"
        in capsys.readouterr().err
    )


def test_help_is_instant(tmp_path):
    seen = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rl_lab", "--help"], capture_output=True, text=True, cwd=tmp_path
    ).stderr
    assert not any(f"| {heavy}\n" in seen.replace("|   ", "| ") for heavy in ("torch", "gymnasium", "wandb", "numpy"))


def test_a_command_to_be_copied_is_quoted():
    assert as_typed("compare", "my study", 3) == "python -m rl_lab compare 'my study' 3"


def test_list_and_doctor(tmp_path):
    listed = lab("list", cwd=tmp_path).stdout
    assert "Mnih et al. 2015" in listed
    assert "Pong" in listed
    assert "CartPole-v1" in listed
    health = lab("doctor", cwd=tmp_path)
    assert "torch 2" in health.stdout
    assert "bfloat16 is" in health.stdout
    assert health.returncode == ("PROBLEM" in health.stdout)
