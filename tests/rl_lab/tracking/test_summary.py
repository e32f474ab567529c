"""The summary of a run."""

from rl_lab.tracking.summary import summarise_metrics

LINES = [
    {"global_step": 10, "loss": 1.0},
    {"global_step": 20, "eval/return_mean": 5.0, "time/minutes": 2.0},
    {"global_step": 30, "eval/return_mean": 9.0, "time/minutes": 3.0},
    {"global_step": 40, "eval/return_mean": 7.0, "time/minutes": 4.0},
]


def test_summary_holds_the_first_evaluation_that_reaches_the_target():
    assert summarise_metrics(LINES, 8.0) == {
        "best": 9.0,
        "final": 7.0,
        "steps": 40,
        "minutes": 4.0,
        "target": 8.0,
        "steps_to_target": 30,
        "minutes_to_target": 3.0,
    }


def test_summary_if_the_target_is_not_reached():
    assert summarise_metrics(LINES, 10.0)["steps_to_target"] is None


def test_summary_without_a_target_or_without_lines():
    assert "target" not in summarise_metrics(LINES, None)
    assert summarise_metrics([], None)["best"] is None
