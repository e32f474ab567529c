"""Opening the sinks of a run."""

from rl_lab.tracking.tracker import open_tracker


def test_lines_after_the_checkpoint_are_dropped_on_resume(train):
    run = train(steps=600)
    tracker = open_tracker(run, "disabled", 400)
    tracker.log(410, {"x": 1.0})
    tracker.close()
    steps = [line["global_step"] for line in run.metrics()]
    assert max(steps[:-1]) <= 400
    assert steps[-1] == 410
