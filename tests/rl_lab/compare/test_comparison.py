"""The numbers of a comparison, computed by hand."""

import numpy as np
import pytest

from rl_lab.compare.comparison import Comparison
from rl_lab.compare.run_result import read_results
from rl_lab.experiment.run import Run
from rl_lab.tracking.metric_names import SCORE_METRIC


def compare(runs: list[Run], target: float | None = None) -> Comparison:
    return Comparison.from_results(read_results(runs)[0], SCORE_METRIC, target)


def test_groups_are_ordered_by_environment_and_then_as_named(study):
    groups = compare(study).groups
    assert [(group.label, group.env_spec.name) for group in groups] == [
        ("dqn", "CartPole-v1"),
        ("double_dqn", "CartPole-v1"),
        ("dqn", "Pong"),
        ("double_dqn", "Pong"),
    ]


def test_summary_of_a_group_in_which_one_seed_misses_the_target(study):
    summary = compare(study, 12.0).groups[3].summary()
    assert summary.final.value == 12
    assert summary.best.value == 12
    assert summary.seeds == [1, 2, 3]
    assert summary.reached == 2
    assert summary.steps_to_target is None
    assert summary.normalised is not None
    assert summary.normalised.value == pytest.approx((12 + 20.7) / (14.6 + 20.7))


def test_summary_of_a_group_in_which_all_seeds_reach_the_target(study):
    summary = compare(study, 470.0).groups[1].summary()
    assert summary.steps_to_target == 2000
    assert summary.minutes_to_target == 1.0
    assert summary.final.value == 450
    assert summary.best.value == 475


def test_aggregates_over_environments(study):
    aggregates = compare(study, 12.0).aggregates()
    dqn = [np.array([1 + 20.7, 2 + 20.7, 3 + 20.7]) / 35.3, np.full(3, 400 / 475)]
    assert aggregates["dqn"]["mean"].value == pytest.approx(np.mean([np.mean(scores) for scores in dqn]))
    pooled = np.sort(np.concatenate(dqn))
    assert aggregates["dqn"]["IQM"].value == pytest.approx(pooled[1:5].mean())


def test_target_is_that_of_the_presets_by_default(study):
    assert [group.target for group in compare(study).groups] == [475, 475, 18, 18]


def test_curve_in_frames_and_in_minutes(study):
    group = compare(study).groups[2]
    assert list(group.curve("frames").x) == [4000, 8000, 12000]
    assert list(group.curve("minutes").y) == [-20, -10, 2]


def test_curve_covers_the_steps_that_all_seeds_reached(make_run):
    longer = [(1000, 0.5, 0.0), (2000, 1.0, 10.0), (3000, 1.5, 20.0), (4000, 2.0, 30.0)]
    shorter = [(1000, 0.5, 0.0), (2000, 1.0, 20.0)]
    runs = [make_run(seed=1, evaluations=longer), make_run(seed=2, evaluations=shorter)]
    assert len(compare(runs).groups) == 2, "runs of different length are groups of their own"
    results, _ = read_results(runs)
    (group,) = Comparison.from_results(results, SCORE_METRIC, mix_lengths=True).groups
    found = group.curve("steps")
    assert (found.x[0], found.x[-1]) == (1000, 2000)
    assert (found.y[0], found.y[-1]) == (0, 15)
