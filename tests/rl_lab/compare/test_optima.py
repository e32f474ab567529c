"""Tests of the optimum and the regret in a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from envs.make import resolve
from envs.options import EnvOptions, WrapperSpec
from rl_lab.cli.main import main
from rl_lab.compare.comparison import Comparison
from rl_lab.compare.optima import known_optimum
from rl_lab.compare.run_result import read_results
from rl_lab.experiment.run import Run


def test_optimum_is_that_of_the_arguments():
    """Zipkin 2008: least costs of 200 periods with lead times of one and two periods."""
    one = resolve("LostSales-v0", options=EnvOptions(env_args={"lead_time": 1}))
    two = resolve("LostSales-v0", options=EnvOptions(env_args={"lead_time": 2}))
    assert known_optimum(one) == pytest.approx(-808.0, abs=0.05)
    assert known_optimum(two) == pytest.approx(-878.0, abs=0.05)


def test_optimum_is_not_known_of_other_environments_and_behind_wrappers():
    assert known_optimum(resolve("CartPole-v1")) is None
    assert known_optimum(resolve("Pong")) is None
    assert known_optimum(resolve("LostSales-v0", options=EnvOptions(env_args={"lead_time": 6}))) is None
    wrapped = EnvOptions(wrappers=(WrapperSpec("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 10}),))
    assert known_optimum(resolve("MeanReversion-v0", options=wrapped)) is None


def test_regret_is_the_distance_from_the_optimum(make_run: Callable[..., Run]):
    runs = []
    for seed, score in enumerate((20.0, 21.0, 22.0), 1):
        runs.append(make_run("dqn", "MeanReversion-v0", seed, [(1000, 1.0, score)]))
    results, _ = read_results(runs)
    (group,) = Comparison.from_results(results, "eval/return_mean").groups
    summary = group.summary()
    assert summary.optimum == pytest.approx(22.94, abs=0.01)
    assert summary.regret is not None
    assert summary.regret.value == pytest.approx(22.94 - 21, abs=0.01)
    assert summary.regret.low + summary.final.high == pytest.approx(summary.optimum)
    assert summary.regret.high + summary.final.low == pytest.approx(summary.optimum)


def test_metrics_that_are_no_scores_have_no_regret(make_run: Callable[..., Run]):
    results, _ = read_results([make_run("dqn", "MeanReversion-v0")], "loss")
    (group,) = Comparison.from_results(results, "loss").groups
    assert group.summary().optimum is None
    assert group.summary().regret is None


def test_compare_prints_the_regret_beside_the_score(make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]):
    run = make_run("dqn", "MeanReversion-v0", evaluations=[(1000, 1.0, 20.0)])
    main(["compare", str(run.path), "--html="])
    header, row = capsys.readouterr().out.splitlines()[:2]
    assert header.split()[3:7] == ["final", "best", "optimum", "regret"]
    assert row.split()[3:7] == ["20.00", "20.00", "22.94", "2.94"]
    main(["compare", str(run.path), "--html=", "--json"])
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["regret"]["value"] == pytest.approx(group["optimum"] - 20)


def test_table_without_known_optimum_has_no_columns_for_it(
    make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
):
    run = make_run()
    main(["compare", str(run.path), "--html="])
    assert "regret" not in capsys.readouterr().out


def with_entries(run: Run, **entries: float) -> Run:
    """Add entries to the last line of a run's metrics."""
    path = run.path / "metrics.jsonl"
    *lines, last = path.read_text().splitlines()
    names = {"num_cut": "eval/num_cut", "length_mean": "eval/length_mean"}
    last = json.dumps(json.loads(last) | {names[name]: value for name, value in entries.items()})
    path.write_text("\n".join([*lines, last]) + "\n")
    return run


@pytest.mark.parametrize(
    ("entries", "has_regret"),
    [
        ({"num_cut": 1, "length_mean": 40.0}, False),
        ({"num_cut": 0, "length_mean": 50.0}, True),  # the episodes ended by themselves at the limit
        ({"length_mean": 50.0}, False),  # a run of an older version, which did not log num_cut
        ({"length_mean": 49.9}, True),
        ({}, True),
    ],
)
def test_scores_of_cut_episodes_have_no_regret(
    make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str], entries: dict[str, float], has_regret: bool
):
    """The optimum is the score of whole episodes. One seed of two is enough."""
    runs = [make_run("dqn", "MeanReversion-v0", seed, eval_max_steps=50) for seed in (1, 2)]
    with_entries(runs[1], **entries)
    main(["compare", *(str(run.path) for run in runs), "--html=", "--json"])
    content = json.loads(capsys.readouterr().out)
    (group,) = content["groups"]
    assert (group["regret"] is not None) is has_regret
    assert group["optimum"] is not None
    warnings = [text for text in content["warnings"] if "regret" in text]
    assert len(warnings) == (not has_regret)
    if warnings:
        assert "in 1 of 2 runs" in warnings[0]
