"""Reading the values of a metric from run folders."""

from rl_lab.compare.run_result import TargetTime, read_results


def test_read_results_keeps_the_last_line_of_a_step_and_ignores_an_incomplete_line(make_run):
    run = make_run(seed=1)
    incomplete = make_run(seed=3)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 2000, "time/minutes": 3.0, "eval/return_mean": 25.0}\n')
    with (incomplete.path / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 3000, "eval/ret')
    results, problems = read_results([run, incomplete])
    assert problems == []
    assert [list(result.values) for result in results] == [[10, 25], [10, 20]]
    assert list(results[0].minutes) == [1, 3]
    assert read_results([run], "loss")[0][0].values == [1.0]


def test_time_to_target_is_the_first_evaluation_at_or_above_the_target(make_run):
    ((result,), _) = read_results([make_run()])
    assert result.time_to_target(10) == TargetTime(steps=1000, minutes=1)
    assert result.time_to_target(15) == TargetTime(steps=2000, minutes=2)
    assert result.time_to_target(26) is None


def test_read_results_reports_runs_without_the_metric_or_with_unknown_settings(make_run):
    run = make_run(seed=1)
    without_evaluations = make_run(seed=2, evaluations=())
    newer = make_run(seed=4)
    (newer.path / "config.yaml").write_text((newer.path / "config.yaml").read_text() + "a_key_of_2030: 1\n")
    results, problems = read_results([run, without_evaluations, newer])
    assert len(results) == 1
    assert len(problems) == 2
    assert "is left out: it has not logged eval/return_mean yet; its metrics include loss" in problems[0]
    assert "is left out: unknown setting 'a_key_of_2030'" in problems[1]


def test_a_damaged_run_does_not_affect_other_runs(make_run):
    undamaged = make_run(seed=1)
    bad_env_spec = make_run(seed=2)
    (bad_env_spec.path / "env.json").write_text("[]")
    not_text = make_run(seed=3)
    (not_text.path / "metrics.jsonl").write_bytes(b"\xff\xfe\n")
    not_an_object = make_run(seed=4)
    (not_an_object.path / "metrics.jsonl").write_text('3\n{"eval/return_mean": 1.0}\n')
    without_step = make_run(seed=5)
    (without_step.path / "metrics.jsonl").write_text('{"eval/return_mean": 1.0}\n')
    results, problems = read_results([undamaged, bad_env_spec, not_text, not_an_object, without_step])
    assert [result.seed for result in results] == [1]
    assert len(problems) == 4
    assert all("is left out: " in problem for problem in problems)
