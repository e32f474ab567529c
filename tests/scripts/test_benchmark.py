"""Tests of the benchmark: shares of time, ratios, bounds, the parts of the report, and equal counts of updates."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import ClassVar

import benchmark
import pytest
import training_processes
from benchmark import CONTENDERS_FOLDER, OURS_SHIPPED, SB3_SHIPPED, Contender, all_contenders, part_report
from contenders.serve import TimeShares


def make_answer(rate, setup=""):
    """Return the answer of a contender that makes `rate` agent steps in a second."""
    return {
        "steps": rate,
        "seconds": 1.0,
        "updates": rate / 4,
        "bytes": 5e8,
        "shares": {"acting": 0.25},
        "setup": setup,
    }


class FakeProcess:
    """Stands for a process of a contender, or of the limits, and records its command."""

    commands: ClassVar[list[list[str]]] = []

    def __init__(self, command):
        self.commands.append(command)

    def request(self, line):
        if line == "measure":
            return {"matrix float32 FLOP/s": 1e12, "emulators steps/s": 1000.0, "stream steps/s": 900.0}
        return make_answer(int(line))

    def close(self):
        pass


class TimedAgent:
    """An agent whose work advances a clock by one second."""

    def __init__(self, clock: Iterator[int]) -> None:
        self.clock = clock

    def act(self) -> None:
        next(self.clock)

    def sample(self) -> None:
        next(self.clock)

    def update(self) -> None:
        self.act()
        self.sample()
        next(self.clock)


def test_acting_within_an_update_counts_as_updating_and_sampling_does_not(monkeypatch):
    """Reading the clock advances it by one second, too."""
    clock = itertools.count()
    agent = TimedAgent(clock)
    shares = TimeShares()
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    shares.measure("acting", agent, "act")
    shares.measure("sampling", agent, "sample")
    shares.measure("updating", agent, "update")
    agent.act()
    assert shares == {"acting": 2}
    before = dict(shares)
    agent.update()
    assert shares["acting"] == before["acting"]
    assert shares["sampling"] == 2
    assert shares["updating"] == 4


def test_report_shows_medians_of_the_ratios_at_equal_numbers_of_environments():
    contenders = {
        "rl_lab float32, 8 envs": Contender("lab.py", 8),
        "rl_lab bfloat16, 8 envs": Contender("lab.py", 8),
        "rl_lab float32, 1 env": Contender("lab.py", 1),
        "peer, 8 envs": Contender("peer.py", 8),
        "peer, 1 env": Contender("peer.py", 1),
    }
    all_rates = [(200, 300, 50, 100, 10), (300, 400, 60, 200, 20), (200, 500, 70, 100, 10)]
    rounds = [dict(zip(contenders, map(make_answer, rates), strict=True)) for rates in all_rates]
    limits = [{"matrix float32 FLOP/s": 1e12, "emulators steps/s": 1000.0, "stream steps/s": 900.0}] * 3
    lines = part_report("dqn", rounds, limits, contenders).splitlines()
    rows = {}
    for line in lines[4:9]:
        cells = [cell.strip() for cell in line.split("|")]
        rows[cells[1]] = cells[2:6]
    assert rows["peer, 8 envs"] == ["100 (100 to 200)", "33.3", "2.00 (1.50 to 2.00)", "3.00 (2.00 to 5.00)"]
    assert rows["peer, 1 env"][2:] == ["5.00 (3.00 to 7.00)", ""], "there is no bfloat16 contender with 1 environment"
    assert len({line.count("|") for line in lines[2:9]}) == 1
    flops = 2 * 32 * (4 * 9.35e6 - 3.28e6)
    bound = 1 / (1 / 1000 + flops / 4 / 1e12)
    reached = float(lines[-1].split("reached: ")[1].split()[0])
    assert reached == pytest.approx(200 / bound, rel=0.02)


def test_policy_gradient_is_compared_with_ppo_in_either_precision():
    contenders = all_contenders("policy-gradient", "cpu", ("float32", "bfloat16"))
    assert list(contenders) == ["rl_lab float32, 8 envs", "rl_lab bfloat16, 8 envs", "SB3, 8 envs"]
    rounds = [dict(zip(contenders, map(make_answer, (200, 300, 100)), strict=True))]
    row = part_report("policy-gradient", rounds, [], contenders).splitlines()[-1]
    assert "| 2.00 (2.00 to 2.00) | 3.00 (3.00 to 3.00) |" in row


def test_shipped_contenders_have_one_line_that_says_what_differs():
    rounds = [{OURS_SHIPPED: make_answer(300, "8 environments"), SB3_SHIPPED: make_answer(100, "1 environment")}]
    contenders = all_contenders("shipped", "cpu", ("float32",))
    line = part_report("shipped", rounds, [], contenders)
    assert "\n" not in line
    assert "different work" in line
    assert "(8 environments): 300 (300 to 300) agent steps/s" in line
    assert "(1 environment): 100 (100 to 100) agent steps/s" in line
    assert line.endswith("ratio 3.00 (3.00 to 3.00).")
    alone = part_report("shipped", [{SB3_SHIPPED: make_answer(100)}], [], contenders)
    assert "ratio" not in alone


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", "AMX, AVX512-BF16."),
        ("fpu avx512_bf16", "AVX512-BF16."),
        ("", "neither AMX nor AVX512-BF16."),
    ],
)
def test_report_names_the_fast_formats_of_the_cpu(monkeypatch, flags, text):
    monkeypatch.setattr(training_processes, "cpu_info", lambda name: flags)
    line = benchmark.describe_machine()
    assert line.endswith(f"Fast bfloat16: {text}")


@pytest.mark.parametrize(
    ("parts", "scripts"),
    [
        (["shipped", "policy-gradient"], ["lab.py", "lab.py", "sb3_ppo.py", "lab.py", "sb3_dqn.py"]),
        (["dqn"], ["limits.py", *["lab.py"] * 6, *["sb3_dqn.py"] * 3, "single_file.py"]),
    ],
)
def test_chosen_parts_alone_are_measured_and_reported_in_a_fixed_order(monkeypatch, capsys, parts, scripts):
    monkeypatch.setattr(FakeProcess, "commands", [])
    monkeypatch.setattr(benchmark, "ContenderProcess", FakeProcess)
    monkeypatch.setattr(Contender, "is_importable", lambda contender: contender.script != "tianshou_dqn.py")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--here", "--rounds", "2", "--steps", "100", "--parts", *parts])
    benchmark.main()
    assert [command[1].rpartition("/")[2] for command in FakeProcess.commands] == scripts
    output = capsys.readouterr().out
    assert ("DQN at equal work" in output) == ("dqn" in parts)
    assert ("Limits of the machine" in output) == ("dqn" in parts)
    assert ("PPO at equal work" in output) == ("policy-gradient" in parts)
    last_line = output.splitlines()[-1]
    assert last_line.startswith("As shipped against as shipped") == ("shipped" in parts)


@pytest.mark.slow
@pytest.mark.parametrize("args", [["lab.py", "0", "cpu", "ppo", "8", "float32"], ["sb3_ppo.py", "0", "cpu", "8"]])
def test_policy_gradients_make_whole_rollouts_and_count_minibatches_as_updates(args):
    command = [sys.executable, str(CONTENDERS_FOLDER / args[0]), *args[1:]]
    result = subprocess.run(command, input="1\n", capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["steps"] == pytest.approx(8 * 128, abs=8)  # the last row of an episode is no agent step in our agent
    assert answer["updates"] == 4 * 8 * 128 / 256
    assert set(answer["shares"]) == {"acting", "emulation", "sampling", "updating"}
    assert 0.9 < sum(answer["shares"].values()) / answer["seconds"] <= 1
