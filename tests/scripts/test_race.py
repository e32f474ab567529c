"""Tests of scripts/race.py, with a program in place of rl_lab that trains in no time, and with rl_lab itself."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import pytest
import race
import torch
import training_processes
from race_picture import minutes_band
from result_data import NO_EVALUATION, read_topic
from result_tables import race_table, seed_table, summary_table

FAKE_RL_LAB = '''
"""Train or resume: an evaluation every 1,000 agent steps, which take 10 minutes of a fast clock."""
import json, os, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps({"words": words, "threads": os.environ["OMP_NUM_THREADS"]}) + "\\n")
if words[0] == "resume":
    run = Path(words[1])
    agent = run.parent.name
else:
    agent = words[1]
    run = Path(words[words.index("--runs-dir") + 1], "Pong", agent, "run")
    (run / "checkpoints" / "best").mkdir(parents=True)
metrics = run / "metrics.jsonl"
if agent == "rainbow":
    score_of = lambda number: 3.0  # never at the target
else:
    score_of = lambda number: 6.0 * number
last = 2 if agent == "sb3_a2c" else 1000  # evaluations
if agent == "drqn":
    sys.exit("drqn broke")

def evaluate(number):
    with metrics.open("a") as file:
        values = {"global_step": 1000 * number, "eval/return_mean": score_of(number), "time/minutes": 10.0 * number}
        file.write(json.dumps(values) + "\\n")

def stop(*_):
    evaluate(number + 1)  # was under way
    (run / "checkpoints" / "step-1").mkdir()
    (run / "checkpoints" / "rows").mkdir()
    sys.exit(143)

number = len(metrics.read_text().splitlines()) if metrics.exists() else 0
signal.signal(signal.SIGTERM, stop)
while number < last:
    number += 1
    evaluate(number)
    if score_of(number) >= 18:
        break
    if words[0] == "train" and number == 2 and os.environ["INTERRUPT"] == agent:
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
    time.sleep(0.2 if agent == "rainbow" else 0.01)
'''


class Lab:
    """The script, with the fake program in place of rl_lab."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.results = folder / "results"
        self.calls_file = folder / "calls"
        self.monkeypatch = monkeypatch
        (folder / "fake_rl_lab.py").write_text(FAKE_RL_LAB)
        program = (sys.executable, str(folder / "fake_rl_lab.py"))
        monkeypatch.setattr(race, "RL_LAB", program)
        monkeypatch.setattr(race, "WORK", folder / "work")
        monkeypatch.setattr(training_processes, "RL_LAB", program)
        monkeypatch.setattr(training_processes, "POLL_SECONDS", 0.02)
        monkeypatch.setattr(training_processes, "_is_interrupted", Event())
        monkeypatch.setenv("CALLS", str(self.calls_file))
        monkeypatch.setenv("INTERRUPT", "")

    def race(self, agents: str, *options: str) -> None:
        """Race on Pong with one seed, unless the options name others."""
        words = ["Pong", "--agents", agents, "--seeds", "1", "--machine", "M", "--results", str(self.results)]
        race.main([*words, *options])

    def interrupt(self, agent: str) -> None:
        """Race with an agent that the script's SIGTERM interrupts after two evaluations."""
        self.monkeypatch.setenv("INTERRUPT", agent)
        with pytest.raises(SystemExit, match="interrupted; the same command continues"):
            self.race(agent)
        training_processes._is_interrupted.clear()
        self.monkeypatch.setenv("INTERRUPT", "")

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls of the fake program."""
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]

    def topic(self) -> dict[str, Any]:
        """Return the content of the file of results."""
        return json.loads((self.results / "race-pong.json").read_text())


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return a lab with folders of its own."""
    return Lab(tmp_path, monkeypatch)


def test_result_has_the_format_of_the_readme(lab):
    lab.race("dqn")
    topic = lab.topic()
    (group,) = topic.pop("groups")
    assert topic == {
        "title": "Minutes to a score of 18 on Pong",
        "env": "Pong",
        "target": 18,
        "minutes_limit": 60,
        "eval_every": 25_000,
        "eval_episodes": 10,
    }
    (run,) = group.pop("runs")
    command = (
        "OMP_NUM_THREADS=1 python -m rl_lab train dqn --env Pong --target 18 --eval-every 25000"
        " --eval-episodes 10 --seed S --stop-at-target --wandb disabled --steps 1000000000"
    )
    assert group["command"] == command
    assert (group["agent"], group["machine"], group["note"], group["stopped_at_target"]) == ("dqn", "M", "", True)
    assert run.pop("commit") == training_processes.commit()
    assert run == {
        "seed": 1,
        "minutes": 30,
        "minutes_to_target": 30,
        "curve": [[1000, 6], [2000, 12], [3000, 18]],
        "minutes_curve": [[10, 6], [20, 12], [30, 18]],
    }


def test_finished_runs_are_skipped(lab, capsys):
    lab.race("dqn,sb3_dqn")
    before = lab.topic()
    capsys.readouterr()
    lab.race("dqn,sb3_dqn")
    assert len(lab.calls()) == 2
    assert lab.topic() == before
    assert capsys.readouterr().out.splitlines() == [
        "dqn on Pong, seed 1: has a result",
        "sb3_dqn on Pong, seed 1: has a result",
    ]


def test_another_number_of_threads_is_another_group(lab, monkeypatch):
    lab.race("dqn")
    monkeypatch.setattr(race, "share_of_cores", lambda runs: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    lab.race("dqn")
    assert len(lab.calls()) == 2
    assert len(lab.topic()["groups"]) == 2


def test_all_agents_train_with_one_seed_before_the_next_seed(lab):
    lab.race("dqn,sb3_dqn", "--seeds", "1..2")
    words = [call["words"] for call in lab.calls()]
    order = [(call[1], call[call.index("--seed") + 1]) for call in words]
    assert order == [("dqn", "1"), ("sb3_dqn", "1"), ("dqn", "2"), ("sb3_dqn", "2")]


@pytest.mark.parametrize(("jobs", "threads"), [(1, 6), (2, 4), (3, 2), (100, 1)])
def test_runs_side_by_side_share_the_cores(lab, monkeypatch, jobs, threads):
    monkeypatch.setattr("rl_lab.system.cores.num_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    lab.race("dqn", "--jobs", str(jobs))
    assert [call["threads"] for call in lab.calls()] == [str(threads)]


def test_settings_of_baselines_keep_their_steps(lab):
    lab.race("sb3_dqn")
    (call,) = lab.calls()
    assert "--steps" not in call["words"]


def test_run_is_stopped_when_its_minutes_are_over(lab, capsys):
    lab.race("rainbow", "--minutes", "30")
    (run,) = lab.topic()["groups"][0]["runs"]
    assert run["minutes"] == 40
    assert run["minutes_curve"] == [[10, 3], [20, 3], [30, 3]], "the evaluation after 40 minutes is left out"
    assert "minutes_to_target" not in run
    assert "note" not in run
    assert "rainbow on Pong, seed 1: did not reach 18 within 40 min; best evaluation 3" in capsys.readouterr().out
    folders = {path.name for path in (race.WORK / "runs").glob("pong/rainbow/seed-1/*/*/*/checkpoints/*")}
    assert folders == {"best"}, "the replay is deleted, and the best network is kept"


def test_target_that_is_reached_after_the_last_minute_does_not_count(lab):
    lab.race("dqn", "--minutes", "25")
    (run,) = lab.topic()["groups"][0]["runs"]
    assert run["curve"] == [[1000, 6], [2000, 12]]
    assert "minutes_to_target" not in run


def test_run_that_ends_before_its_minutes_are_over_has_a_note(lab):
    lab.race("sb3_a2c")
    (run,) = lab.topic()["groups"][0]["runs"]
    assert run["note"] == "Ended after 2,000 agent steps, the number in its settings."
    assert run["minutes"] == 20


def test_time_counts_between_two_lines_of_the_metrics(tmp_path, monkeypatch):
    seconds = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    run = tmp_path / "Pong" / "dqn" / "run"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"time/minutes": 8.0}\n')
    limit = race.TimeLimit(tmp_path, 10)
    seconds += 600
    assert not limit(), "the process has not begun to train, and the line is of an earlier one"
    (run / "metrics.new").write_text('{"time/minutes": 8.0}\n')
    (run / "metrics.new").replace(run / "metrics.jsonl")
    assert not limit()
    seconds += 119
    assert not limit()
    (run / "metrics.jsonl").write_text('{"time/minutes": 8.0}\n{"time/minutes": 9.0}\n{"time/min')
    assert not limit()
    seconds += 59
    assert not limit()
    seconds += 2
    assert limit()
    assert limit.is_over


def test_interrupted_run_of_our_agents_is_resumed_and_its_minutes_continue(lab):
    lab.interrupt("ppo")
    assert not lab.results.exists()
    lab.race("ppo")
    commands = [call["words"][0] for call in lab.calls()]
    assert commands == ["train", "resume"]
    (run,) = lab.topic()["groups"][0]["runs"]
    assert run["minutes_to_target"] == 30
    assert run["curve"][:2] == [[1000, 6], [2000, 12]]


def test_interrupted_run_of_stable_baselines3_starts_again(lab):
    lab.interrupt("sb3_ppo")
    lab.race("sb3_ppo")
    assert [call["words"][0] for call in lab.calls()] == ["train", "train"]
    (run,) = lab.topic()["groups"][0]["runs"]
    assert run["minutes_curve"] == [[10, 6], [20, 12], [30, 18]]


def test_interrupted_run_with_other_options_starts_again(lab):
    lab.interrupt("ppo")
    lab.race("ppo", "--eval-episodes", "20")
    assert [call["words"][0] for call in lab.calls()] == ["train", "train"]


def test_failed_run_does_not_stop_the_others(lab, capsys):
    with pytest.raises(SystemExit) as stop:
        lab.race("drqn,dqn")
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "drqn on Pong, seed 1: failed with exit code 1\ndrqn broke" in out
    assert [group["agent"] for group in lab.topic()["groups"]] == ["dqn"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "env"),
        (["Nonsense"], "unknown environment 'Nonsense'"),
        (["Breakout"], "Breakout has no target score of its own; name one with --target"),
        (["Pong", "--agents", "foo"], "unknown agent 'foo'"),
        (["CartPole-v1", "--agents", "single_file"], "single_file cannot use CartPole-v1"),
        (["Pong", "--seeds", "one"], "seeds is 'one'"),
        (["Pong", "--minutes", "0"], "0 must be above 0"),
        (["Pong", "--minutes", "nan"], "nan is not a finite number"),
        (["Pong", "--jobs", "0"], "0 must be at least 1"),
        (["Pong", "--speed", "9"], "unrecognized arguments: --speed 9"),
        (["table", "Pong"], "race-pong.json; run a race first"),
        (["picture"], "race-*.json; run a race first"),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(lab, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        race.main([*words, "--results", str(lab.results)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("race.py: ")
    assert message in line


def test_results_of_another_target_are_not_mixed(lab, capsys):
    lab.race("dqn")
    with pytest.raises(SystemExit) as stop:
        lab.race("dqn", "--target", "20")
    assert stop.value.code == 2
    assert "has runs with target 18.0, not 20.0" in capsys.readouterr().err
    assert len(lab.calls()) == 1


def write_race(folder: Path) -> Path:
    """Write the results of two agents. The second and the third seed of rainbow do not reach the target."""
    runs = [
        {"seed": 1, "minutes_to_target": 4.0, "minutes": 4.0, "curve": [[1000, 20]], "minutes_curve": [[4, 20]]},
        {"seed": 2, "minutes": 60.0, "curve": [[1000, 2], [2000, 9]], "minutes_curve": [[2, 2], [6, 9]]},
        {"seed": 3, "minutes": 60.0, "curve": [], "minutes_curve": []},
    ]
    fields = {"machine": "M", "setting": "1 thread", "stopped_at_target": True, "command": "train", "note": ""}
    groups = [{"agent": "dqn", **fields, "runs": runs[:2]}, {"agent": "rainbow", **fields, "runs": runs}]
    topic = {"title": "Race", "env": "Pong", "target": 18, "minutes_limit": 60, "groups": groups}
    path = folder / "race-pong.json"
    path.write_text(race.topic_text(topic))
    assert json.loads(path.read_text()) == topic
    return path


def test_table_counts_a_run_that_did_not_reach_the_target_as_slower_than_all_others(tmp_path, capsys):
    write_race(tmp_path)
    race.main(["table", "Pong", "--results", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        "Race, at most 60 minutes a run; M; 1 thread.",
        "",
        "| agent | seeds | reached 18 | minutes to 18 | steps to 18 | best evaluation |",
        "| --- | --- | --- | --- | --- | --- |",
        "| dqn | 2 | 1 of 2 | not reached (4 to not reached) | not reached (1,000 to not reached) | 14.5 (9 to 20) |",
        "| rainbow | 3 | 1 of 3 | not reached (4 to not reached) | not reached (1,000 to not reached)"
        " | 9 (no evaluation to 20) |",
        "",
    ]


def test_table_names_machines_that_differ(tmp_path):
    path = write_race(tmp_path)
    topic = json.loads(path.read_text())
    topic["groups"][0]["machine"] = "N"
    path.write_text(json.dumps(topic))
    assert race_table(read_topic(path)).splitlines()[0].startswith("| agent | machine | seeds |")


def test_tables_of_all_topics_accept_a_race(tmp_path):
    topic = read_topic(write_race(tmp_path))
    assert topic.groups[1].runs[2].best == NO_EVALUATION
    assert "| rainbow | M | 1 thread | 3 | 1 of 3 |" in summary_table(topic)
    assert "| rainbow | M | 1 thread | 3 | not recorded | not reached |" in seed_table(topic)


def test_band_interpolates_and_keeps_the_last_score(tmp_path):
    group, group_without_evaluation = read_topic(write_race(tmp_path)).groups
    # Seed 2 has a score of 5.5 after 4 minutes, halfway between 2 and 9. Seed 1 keeps its score of 20.
    assert minutes_band(group).tolist() == [[4, 12.75, 5.5, 20], [6, 14.5, 9, 20]]
    assert minutes_band(group_without_evaluation).shape == (0, 4)


def test_picture_is_named_after_the_race(tmp_path, capsys):
    write_race(tmp_path)
    race.main(["picture", "Pong", "--results", str(tmp_path), "--out", str(tmp_path / "docs")])
    path = tmp_path / "docs" / "race-pong.png"
    assert capsys.readouterr().out == f"{path}\n"
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 0


@pytest.mark.slow
def test_race_on_cartpole_is_stopped_by_time(tmp_path, monkeypatch):
    monkeypatch.setattr(race, "WORK", tmp_path / "work")
    words = ["CartPole-v1", "--seeds", "1", "--target", "501", "--eval-every", "2000", "--eval-episodes", "2"]
    race.main([*words, "--agents", "dqn,sb3_ppo", "--minutes", "0.1", "--results", str(tmp_path)])
    for group in json.loads((tmp_path / "race-cartpole-v1.json").read_text())["groups"]:
        (run,) = group["runs"]
        assert 0.1 <= run["minutes"] < 0.3
        assert run["curve"]
        assert all(minutes <= 0.1 for minutes, _ in run["minutes_curve"])


@pytest.mark.slow
def test_single_file_writes_evaluations_and_stops_at_the_target(tmp_path, monkeypatch):
    monkeypatch.setattr(race, "WORK", tmp_path / "work")
    words = ["Pong", "--seeds", "1", "--target", "-21", "--eval-every", "300", "--eval-episodes", "2"]
    race.main([*words, "--agents", "single_file", "--minutes", "5", "--results", str(tmp_path)])
    (group,) = json.loads((tmp_path / "race-pong.json").read_text())["groups"]
    assert "python scripts/contenders/single_file_training.py --env Pong --target -21 " in group["command"]
    (run,) = group["runs"]
    assert [steps for steps, _ in run["curve"]] == [300]
    assert -21 <= run["curve"][0][1] <= -15
    assert run["minutes_to_target"] <= run["minutes"]
