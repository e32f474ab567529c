"""A run from its first step to its checkpoints, stopped and resumed."""

import os
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file

import rl_lab
from rl_lab import api, checkpoint
from rl_lab.errors import Fault, LabError
from rl_lab.experiment.factory import make_agent
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run
from rl_lab.tracking.json_lines_sink import JsonLinesSink
from rl_lab.training.every import Every
from rl_lab.training.trainer import Interrupted


def test_a_run_leaves_what_it_should(train):
    run = train()
    assert run.config.run.steps == 1200
    assert "auto" not in (run.config.run.device, run.config.run.precision)
    assert run.env_spec.name == "CartPole-v1"
    lines = run.metrics()
    steps = [line["global_step"] for line in lines]
    assert steps == sorted(steps)
    assert len([s for s in lines if "epsilon" in s]) == 6
    evaluations = [line for line in lines if "eval/return_mean" in line]
    assert [e["global_step"] // 100 for e in evaluations] == [5, 10, 12]
    logged = set().union(*lines)
    for name in (
        "train/return train/length train/games eval/return_mean loss td_error q_mean q_max grad_norm epsilon replay/size"
        " speed/steps_per_s seconds/acting seconds/emulation seconds/sampling seconds/updating"
    ).split():
        assert name in logged, name
    best = checkpoint.read_state(checkpoint.find(run.path, "best"))
    assert best["score"] == max(e["eval/return_mean"] for e in evaluations)
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"] >= 1200


def test_a_trained_agent_scores_the_same_twice_and_from_python(train):
    run = train()
    first, second = rl_lab.evaluate(run, episodes=5, seed=3), rl_lab.evaluate(str(run), episodes=5, seed=3)
    assert first == second
    assert first != rl_lab.evaluate(run, episodes=5, seed=4)
    agent = rl_lab.load(run)
    obs, carry = torch.zeros(1, 4), agent.initial_carry(1)
    action, _ = agent.act(obs, torch.ones(1, dtype=torch.bool), carry, explore=False)
    assert action.shape == (1,)


def test_evaluation_changes_nothing_in_training(train):
    often, never = train(eval_every=100), train(eval_every=0)
    one, other = (load_file(checkpoint.find(r.path, "last") / "network.safetensors") for r in (often, never))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_stop_and_resume(train, tmp_path):
    """A signal saves; resuming goes on from there to the end, and the metrics have each step once."""
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(Interrupted) as stop:
        train(steps=1_000_000)
    run = stop.value.run
    saved = checkpoint.read_state(checkpoint.find(run.path, "last"))
    assert 0 < saved["steps"] < 1_000_000
    settings = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(settings.replace("steps: 1000000", f"steps: {saved['steps'] + 1000}"))
    resumed = api.resume("latest", runs_dir=str(tmp_path / "runs"), quiet=True)
    assert resumed.path == run.path
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"] >= saved["steps"] + 1000
    steps = [line["global_step"] for line in run.metrics() if "epsilon" in line]
    assert steps == sorted(set(steps))


def test_resuming_loses_no_learning(train):
    run = train(steps=600)
    before = checkpoint.find(run.path, "last")
    assert before == checkpoint.generations(run.path)[0]
    agent = make_agent(run.config, run.env_spec, torch.device("cpu"))
    checkpoint.load(before, agent, torch.device("cpu"))
    assert agent.steps + 8 >= 600  # the last row waits in the checkpoint
    assert agent.updates > 50
    assert agent.replay.size == agent.replay.total_rows * 8
    saved = load_file(before / "network.safetensors")
    assert all(torch.equal(v, saved[k]) for k, v in agent.network.state_dict().items())


def test_a_damaged_checkpoint_is_refused_in_one_line(train):
    run = train(steps=600)
    for folder in checkpoint.generations(run.path):
        path = folder / "learner.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LabError, match="holds no undamaged checkpoint"):
        api.resume(run, quiet=True)
    (run.path / "checkpoints/best/network.safetensors").write_bytes(b"nonsense")
    with pytest.raises(LabError, match="best is damaged"):
        rl_lab.load(run)


def test_a_run_whose_newest_checkpoint_cannot_be_read_is_not_through(train):
    """So a group or a sweep takes it up again, from the checkpoint before."""
    run = train(steps=600)
    assert is_finished(run)
    (checkpoint.generations(run.path)[0] / "state.json").write_text("{")
    assert not is_finished(run)
    assert is_finished(api.resume(run, quiet=True))


def test_a_replay_that_does_not_fit_is_refused_before_anything_is_made(train, tmp_path):
    with pytest.raises(LabError, match=r"the replay needs .* GB and cpu has .* GB free; lower replay_size"):
        train(env="Pong", replay_size=10**9, steps=10**9)
    assert not (tmp_path / "runs").exists()


def test_every_counts_multiples():
    every = Every(10, 0)
    assert [t for t in range(0, 50, 4) if every.due(t)] == [12, 20, 32, 40]
    assert not Every(0, 0).due(10**6)
    assert not Every(10, 25).due(28)


def test_two_runs_of_one_second_get_two_folders(train):
    assert len({train(steps=300).path for _ in range(2)}) == 2


def test_a_run_may_begin_with_the_network_of_another(train, tmp_path):
    first = train()
    best = load_file(checkpoint.find(first.path) / "network.safetensors")
    second = train(init_from=str(first), learning_starts=2000)  # it never learns
    assert second.config.run.init_from == str(first)
    weights = load_file(checkpoint.find(second.path, "last") / "network.safetensors")
    assert all(torch.equal(weights[name], best[name]) for name in best)
    target = load_file(checkpoint.find(second.path, "last") / "learner.safetensors")
    assert all(torch.equal(target[f"agent/target/{name}"], best[name]) for name in best)
    runs = len(list(tmp_path.glob("runs/*/*/*")))
    with pytest.raises(LabError, match="does not fit the agent"):
        train(init_from=str(first), hidden=7)
    with pytest.raises(LabError, match="no run in .* is called 'nothing'"):
        train(init_from="nothing")
    assert len(list(tmp_path.glob("runs/*/*/*"))) == runs


def test_what_was_learned_is_kept_when_the_last_evaluation_breaks(train, monkeypatch, tmp_path):
    monkeypatch.setattr("rl_lab.training.hooks.evaluate", lambda *_, **__: 1 / 0)
    with pytest.raises(Fault, match="division by zero"):
        train(steps=600, eval_every=0)
    monkeypatch.undo()
    run = Run.find("latest", tmp_path / "runs")
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"] >= 600
    api.resume(run, quiet=True)
    assert run.metrics()[-1]["global_step"] >= 600
    assert any("eval/return_mean" in line for line in run.metrics())


def test_a_resume_that_is_broken_off_leaves_the_configuration(train, monkeypatch):
    run = train(steps=300)
    monkeypatch.setattr("rl_lab.training.trainer.Trainer.restore", lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        api.resume(run, steps=900, quiet=True)
    assert run.config.run.steps == 300


def test_a_metrics_file_on_a_full_disk_is_one_fault(train):
    run = train(steps=300)
    lines = JsonLinesSink(run, [])
    lines.file.close()
    lines.file = open("/dev/full", "a")  # noqa: SIM115
    with pytest.raises(OSError, match="No space left"):
        lines.log(1, {})
    lines.close()
