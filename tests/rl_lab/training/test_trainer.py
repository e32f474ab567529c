"""Tests of a run from its first step to its checkpoints, stopped and resumed."""

import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from safetensors.torch import load_file
from toy_envs import NumberedSteps

import rl_lab
from agents.core.settings import ConfigError
from agents.dqn import DQN
from rl_lab import api, checkpoint
from rl_lab.errors import Fault, LabError
from rl_lab.experiment.factory import make_agent
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.run import Run
from rl_lab.tracking.json_lines_sink import JsonLinesSink
from rl_lab.tracking.progress import ProgressDisplay
from rl_lab.tracking.tracker import Tracker
from rl_lab.training.evaluation import Evaluation
from rl_lab.training.faults import faults
from rl_lab.training.session import TrainingSession
from rl_lab.training.trainer import Interrupted

LOGGED_METRICS = (
    "train/return train/length train/games eval/return_mean loss td_error q_mean q_max grad_norm epsilon replay/size"
    " speed/steps_per_s seconds/acting seconds/emulation seconds/sampling seconds/updating"
).split()


def last_network(run: Run) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.find(run.path, "last") / "network.safetensors")


def test_run_folder_holds_resolved_settings_metrics_and_checkpoints(train: Any):
    run = train()
    assert run.config.run.steps == 1200
    assert "auto" not in (run.config.run.device, run.config.run.precision)
    assert run.env_spec.name == "CartPole-v1"
    lines = run.metrics()
    steps = [line["global_step"] for line in lines]
    assert steps == sorted(steps)
    assert len([line for line in lines if "epsilon" in line]) == 6
    evaluations = [line for line in lines if "eval/return_mean" in line]
    assert [line["global_step"] // 100 for line in evaluations] == [5, 10, 12]
    logged = set().union(*lines)
    for name in LOGGED_METRICS:
        assert name in logged, name
    best = checkpoint.read_state(checkpoint.find(run.path, "best"))
    assert best["score"] == max(line["eval/return_mean"] for line in evaluations)
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"] >= 1200


def test_evaluate_returns_the_same_scores_for_the_same_seed(train: Any):
    run = train()
    first = rl_lab.evaluate(run, episodes=5, seed=3)
    second = rl_lab.evaluate(str(run), episodes=5, seed=3)
    assert first == second
    assert first != rl_lab.evaluate(run, episodes=5, seed=4)


def test_loaded_agent_acts(train: Any):
    agent = rl_lab.load(train())
    is_first = torch.ones(1, dtype=torch.bool)
    action, _ = agent.act(torch.zeros(1, 4), is_first, agent.initial_carry(1), explore=False)
    assert action.shape == (1,)


def test_evaluations_do_not_change_training(train: Any):
    often = last_network(train(eval_every=100))
    never = last_network(train(eval_every=0))
    assert all(torch.equal(often[name], never[name]) for name in often)


def test_signal_saves_and_resume_logs_each_step_once(train: Any, tmp_path: Path):
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


def test_second_ctrl_c_after_the_last_checkpoint_says_that_the_run_is_saved(
    train: Any, monkeypatch: pytest.MonkeyPatch
):
    """It comes while W&B is uploading."""

    def interrupt(tracker: Tracker) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tracker, "complete", interrupt)
    with pytest.raises(Interrupted) as stop:
        train(steps=300)
    assert is_finished(stop.value.run)


def test_last_checkpoint_holds_all_learning(train: Any):
    run = train(steps=600)
    last = checkpoint.find(run.path, "last")
    assert last == checkpoint.generations(run.path)[0]
    agent = make_agent(run.config, run.env_spec, torch.device("cpu"))
    assert isinstance(agent, DQN)
    checkpoint.load(last, agent, torch.device("cpu"))
    assert agent.steps + 8 >= 600  # the agent has not observed the last row yet; it is saved beside the agent
    assert agent.updates > 50
    assert agent.replay.size == agent.replay.total_rows * 8
    saved = load_file(last / "network.safetensors")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in agent.network.state_dict().items())


def test_damaged_checkpoints_are_refused_in_one_line(train: Any):
    run = train(steps=600)
    for folder in checkpoint.generations(run.path):
        path = folder / "learner.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LabError, match="holds no undamaged checkpoint"):
        api.resume(run, quiet=True)
    (run.path / "checkpoints/best/network.safetensors").write_bytes(b"nonsense")
    with pytest.raises(LabError, match="best is damaged"):
        rl_lab.load(run)


def test_run_with_a_damaged_newest_checkpoint_is_not_finished(train: Any):
    """A group or a sweep then resumes the run from the previous checkpoint."""
    run = train(steps=600)
    assert is_finished(run)
    (checkpoint.generations(run.path)[0] / "state.json").write_text("{")
    assert not is_finished(run)
    assert is_finished(api.resume(run, quiet=True))


def test_replay_that_does_not_fit_is_refused_before_the_folder_exists(train: Any, tmp_path: Path):
    with pytest.raises(LabError, match=r"the replay needs .* GB.* and cpu has .* GB free.*; lower replay_size"):
        train(env="Pong", replay_size=10**9, steps=10**9)
    assert not (tmp_path / "runs").exists()


def test_agent_that_refuses_its_settings_leaves_no_folder(train: Any, tmp_path: Path):
    with pytest.raises(ValueError, match="norm"):
        train("drqn", norm="batch")
    assert not (tmp_path / "runs").exists()


def test_two_runs_of_one_second_get_two_folders(train: Any):
    first = train(steps=300)
    second = train(steps=300)
    assert first.path != second.path


def test_init_from_copies_the_best_network_of_another_run(train: Any, tmp_path: Path):
    first = train()
    best = load_file(checkpoint.find(first.path) / "network.safetensors")
    second = train(init_from=str(first), learning_starts=2000)  # starts after the last step: no learning
    assert second.config.run.init_from == str(first)
    weights = last_network(second)
    assert all(torch.equal(weights[name], best[name]) for name in best)
    target = load_file(checkpoint.find(second.path, "last") / "learner.safetensors")
    assert all(torch.equal(target[f"agent/target/{name}"], best[name]) for name in best)
    num_runs = len(list(tmp_path.glob("runs/*/*/*")))
    with pytest.raises(LabError, match="does not fit the agent"):
        train(init_from=str(first), hidden=7)
    with pytest.raises(LabError, match="no run in .* is called 'nothing'"):
        train(init_from="nothing")
    assert len(list(tmp_path.glob("runs/*/*/*"))) == num_runs


def test_checkpoint_is_saved_if_the_last_evaluation_fails(train: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("rl_lab.training.hooks.evaluate", lambda *_, **__: 1 / 0)
    with pytest.raises(Fault, match="division by zero"):
        train(steps=600, eval_every=0)
    monkeypatch.undo()
    run = Run.find("latest", tmp_path / "runs")
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["steps"] >= 600
    api.resume(run, quiet=True)
    assert run.metrics()[-1]["global_step"] >= 600
    assert any("eval/return_mean" in line for line in run.metrics())


def test_interrupted_resume_keeps_the_configuration(train: Any, monkeypatch: pytest.MonkeyPatch):
    run = train(steps=300)
    monkeypatch.setattr("rl_lab.training.trainer.Trainer.restore", lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        api.resume(run, steps=900, quiet=True)
    assert run.config.run.steps == 300


@pytest.mark.parametrize("agent", ["ppo", "td3"])
def test_continuous_actions_of_a_diverged_agent_are_a_fault_in_one_line(agent: str, train: Any):
    settings = {"lr": 1e30, "batch_size": 64, "num_envs": 2, "hidden": 8}
    if agent == "td3":
        settings["learning_starts"] = 64
    with pytest.raises(Fault, match=r"^the actions are not finite any more: lower lr, or set grad_clip; "):
        train(agent, env="Pendulum-v1", steps=600, eval_every=0, log_every=600, **settings)


def test_metrics_file_on_a_full_disk_raises_once(train: Any):
    run = train(steps=300)
    sink = JsonLinesSink(run, [])
    sink.file.close()
    sink.file = open("/dev/full", "a")  # noqa: SIM115
    with pytest.raises(OSError, match="No space left"):
        sink.log(1, {})
    sink.close()


ENDLESS = "Endless-v0"
if ENDLESS not in gymnasium.registry:
    gymnasium.register(ENDLESS, "toy_envs:OddScreens", kwargs={"length": -1})


def test_evaluation_of_an_environment_without_an_end_is_cut(train: Any, capsys: pytest.CaptureFixture[str]):
    run = train(env=ENDLESS, eval_max_steps=50, video_every=600, quiet=False)
    output = capsys.readouterr().out
    assert output.count("WARNING: 4 of 4 evaluation episodes were cut at 50 steps (eval_max_steps)\n") == 1
    assert "(min 50, max 50, 4 games of 50 steps, 4 of them cut)" in output
    assert [line["eval/length_mean"] for line in run.metrics() if "eval/length_mean" in line] == [50, 50, 50]
    assert [line["eval/num_cut"] for line in run.metrics() if "eval/length_mean" in line] == [4, 4, 4]
    assert len(list((run.path / "videos").glob("*"))) == 2
    assert rl_lab.evaluate(run, episodes=3).lengths == [50, 50, 50]
    assert rl_lab.evaluate(run, episodes=3, max_steps=70).lengths == [70, 70, 70]


def test_progress_says_that_an_evaluation_or_a_video_is_running(
    train: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ProgressDisplay, "is_due", lambda _: True)
    train(env=ENDLESS, eval_max_steps=50, video_every=1100, quiet=False, steps=1200, eval_every=0)
    lines = capsys.readouterr().out.splitlines()
    assert any("step 1,200/1,200" in line and "evaluating: 0/4 episodes, row 49" in line for line in lines)
    assert any("recording a video: step 50" in line for line in lines)


def test_network_that_is_not_finite_never_replaces_the_best_one(train: Any, tmp_path: Path):
    """Its score may equal the best one, as that of every agent that has learned nothing."""

    def poison(session: TrainingSession) -> None:
        if session.state.steps >= 800:
            next(session.agent.network.parameters()).data.fill_(math.nan)

    with pytest.raises(Fault, match=r"^the weights are not finite any more: lower lr, or set grad_clip; "):
        train(env=ENDLESS, eval_max_steps=50, log_every=5000, checkpoint_every=5000, callbacks=[poison])
    run = Run.find("latest", tmp_path / "runs")
    assert [line["eval/return_mean"] for line in run.metrics() if "eval/return_mean" in line] == [50]
    rl_lab.load(run)


def test_watchdog_is_paused_while_callbacks_run_and_checkpoints_are_written(
    train: Any, monkeypatch: pytest.MonkeyPatch
):
    """The environments do not step meanwhile. A replay memory of 7 GB takes minutes on a slow disk."""
    sessions: list[TrainingSession] = []
    paused: dict[str, list[bool]] = {"callback": [], "row": [], "save": []}
    save = checkpoint.save

    def callback(session: TrainingSession) -> None:
        sessions.append(session)
        paused["callback"].append(session.watchdog.is_paused)

    def note_and_save(*args: Any) -> Any:
        paused["save"].append(sessions[-1].watchdog.is_paused)
        return save(*args)

    monkeypatch.setattr("rl_lab.checkpoint.save", note_and_save)
    monkeypatch.setattr(ProgressDisplay, "is_due", lambda _: paused["row"].append(sessions[-1].watchdog.is_paused))
    train(steps=900, callbacks=[callback])
    assert len(paused["save"]) == 3
    assert all(paused["callback"])
    assert all(paused["save"])
    assert not any(paused["row"])


def test_message_that_no_encoding_holds_is_a_fault_too(train: Any):
    run = train(steps=300)
    with pytest.raises(Fault, match="ValueError: half of a pair"), faults(run, torch.device("cpu")):
        raise ValueError("half of a pair: \udc80")
    assert "half of a pair: \\udc80" in (run.path / "traceback.txt").read_text("utf-8")


class ClosesBadly(NumberedSteps):
    """An environment that cannot be closed."""

    def close(self) -> None:
        """Raise an exception."""
        raise RuntimeError("the connection is gone")


def test_environment_that_cannot_be_closed_costs_no_run(train: Any):
    if "ClosesBadly-v0" not in gymnasium.registry:
        gymnasium.register("ClosesBadly-v0", lambda **_: ClosesBadly())
    run = train(env="ClosesBadly-v0", steps=300)
    assert is_finished(run)
    assert len(rl_lab.evaluate(run, episodes=2).returns) == 2


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_is_never_the_best(train: Any, monkeypatch: pytest.MonkeyPatch, score: float):
    scores = iter([score, 3.0, score])
    monkeypatch.setattr(
        "rl_lab.training.hooks.evaluate", lambda *_, **__: Evaluation([next(scores)], [5], value=0.0, realised=0.0)
    )
    run = train(quiet=False)
    assert checkpoint.read_state(checkpoint.find(run.path, "best"))["score"] == 3.0
    assert checkpoint.read_state(checkpoint.find(run.path, "last"))["best"] == 3.0


def test_run_without_any_finite_score_ends_with_its_last_network(train: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "rl_lab.training.hooks.evaluate", lambda *_, **__: Evaluation([math.nan], [5], value=0.0, realised=0.0)
    )
    run = train(quiet=False)
    assert checkpoint.find(run.path) == checkpoint.generations(run.path)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes is 0; it must be at least 1"),
        ({"episodes": 2.5}, "episodes is 2.5; it must be a whole number"),
        ({"epsilon": 2}, "epsilon is 2; it must be from 0 to 1"),
        ({"seed": -1}, "seed is -1; it must be from 0 to"),
        ({"max_steps": 0}, "max_steps is 0; it must be at least 1"),
    ],
)
def test_options_of_an_evaluation_are_checked(train: Any, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        rl_lab.evaluate(train(steps=300), **options)


def test_resume_of_a_finished_run_says_so_in_one_line(train: Any, capsys: pytest.CaptureFixture[str]):
    run = train(steps=600)
    before = checkpoint.read_state(checkpoint.find(run.path, "last"))
    assert rl_lab.resume(run) == run
    assert capsys.readouterr().out == f"{run} is finished: it has all its 600 steps; --steps N extends it\n"
    assert checkpoint.read_state(checkpoint.find(run.path, "last")) == before
    rl_lab.resume(run, steps=900)
    assert "resume at step 605 of" in capsys.readouterr().out


def test_run_without_its_last_evaluation_is_not_finished(train: Any, monkeypatch: pytest.MonkeyPatch):
    """It was killed during the evaluation, after the checkpoint of the last step."""
    with monkeypatch.context() as patch:
        patch.setattr("rl_lab.training.hooks.evaluate", lambda *_, **__: os.abort)
        patch.setattr("rl_lab.training.hooks.EvaluateAgent.evaluate_if_missing", lambda _: None)
        run = train(steps=600, eval_every=0)
    assert not is_finished(run)
    rl_lab.resume(run, quiet=True)
    assert is_finished(run)
    assert any("eval/return_mean" in line for line in run.metrics())


def test_introduction_counts_in_singular_and_shows_no_empty_memory(
    train: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    train(steps=300, num_envs=1, quiet=False)
    assert "300 agent steps, 1 environment, seed 1," in capsys.readouterr().out
    rl_lab.train("tabular_sarsa", env="RandomWalk-v0", steps=300, wandb="disabled", runs_dir=str(tmp_path))
    assert " GB" not in capsys.readouterr().out
