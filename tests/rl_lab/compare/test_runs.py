"""Which runs a name means, what is read of them, and which may be compared."""

import json

import pytest

from rl_lab.compare.runs import check_comparable, find_runs, labels, read_results, remarks
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run


def test_a_name_is_a_folder_a_pattern_a_group_or_a_part_of_names(make, tmp_path):
    runs_dir = str(tmp_path / "runs")
    one, two = make(seed=1), make(seed=2, group="study-1")
    other = make("double_dqn", env="Acrobot-v1")

    def found(*names):
        return {run.path.resolve() for run in find_runs(names, runs_dir)}

    assert found(str(one.path)) == {one.path}
    assert found(f"{runs_dir}/CartPole-v1") == {one.path, two.path}
    assert found("CartPole-v1/dqn") == {one.path, two.path}
    assert found(f"{runs_dir}/*/*/*") == found("*/*/*") == {one.path, two.path, other.path}
    assert found("study-1") == {two.path}
    assert found("-s1") == {one.path, other.path}
    assert found("dqn") == {one.path, two.path}, "double_dqn is another agent"
    assert found("double_dqn") == found("double") == {other.path}
    assert found("study-1", str(two.path)) == {two.path}
    with pytest.raises(LabError, match="no run is called 'nothing'"):
        found("nothing")


def test_what_is_read(make):
    """Each evaluation once, the later line of two for one step; a torn last line, and none yet, are told."""
    run, empty, torn = make(seed=1), make(seed=2, evaluations=()), make(seed=3)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 2000, "time/minutes": 3.0, "eval/return_mean": 25.0}\n')
    with (torn.path / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 3000, "eval/ret')
    later = make(seed=4)
    (later.path / "config.yaml").write_text((later.path / "config.yaml").read_text() + "a_key_of_2030: 1\n")
    results, problems = read_results([run, empty, torn, later])
    assert [list(r.scores) for r in results] == [[10, 25], [10, 20]]
    assert list(results[0].minutes) == [1, 3]
    assert results[0].reached(15) == (2000, 3)
    assert results[0].reached(26) is None
    assert len(problems) == 2
    assert "is left out: it has logged no eval/return_mean yet; it has " in problems[0]
    assert "is left out: unknown setting 'a_key_of_2030'" in problems[1]
    assert read_results([run], "loss")[0][0].scores == [1.0]


def test_runs_on_other_terms_are_told_apart(make):
    pong, machado = make(env="Pong"), make(env="Pong", protocol="machado")
    results, _ = read_results([make(), make("double_dqn"), make(env="Acrobot-v1")])
    assert check_comparable(results) == []
    results, _ = read_results([make(), make(eval_epsilon=0.05)])
    assert check_comparable(results) == ["runs on CartPole-v1 differ in eval_epsilon: 0.001 and 0.05"]
    sticky = Run(machado.path)
    env_spec = json.loads((sticky.path / "env.json").read_text())
    (sticky.path / "env.json").write_text(
        json.dumps({**env_spec, **json.loads((pong.path / "env.json").read_text()), "sticky": 0.25})
    )
    results, _ = read_results([pong, sticky])
    assert check_comparable(results) == ["runs on Pong differ in sticky: 0.0 and 0.25"]


def test_what_a_reader_should_know_is_said(make):
    """Few seeds, one that is there twice, runs that have not come as far."""
    assert remarks(read_results([make(seed=seed) for seed in range(5)])[0]) == []
    same = [make(seed=1), make(seed=2)]
    few = "intervals of fewer than 5 seeds are too narrow"
    assert [said.split(":")[0] for said in remarks(read_results(same)[0])] == [few]
    further = [make("double_dqn", seed=s, evaluations=((9000, 1.0, 1.0),)) for s in (1, 2)]
    assert remarks(read_results([*same, *further])[0])[0] == (
        "final scores on CartPole-v1 are of different numbers of steps: dqn 2,000, double_dqn 9,000"
    )
    twice = [*same, make(seed=2, evaluations=((1000, 1.0, 1.0), (4000, 2.0, 2.0)))]
    assert remarks(read_results(twice)[0])[:-1] == [
        "dqn on CartPole-v1 has seed 2 more than once: its interval is too narrow",
        "dqn on CartPole-v1: the last values are of 2,000 to 4,000 steps",
    ]


def test_damage_costs_only_the_run_that_has_it(make, tmp_path):
    good, env_spec, log, numbers = make(seed=1), make(seed=2), make(seed=3), make(seed=4)
    (env_spec.path / "env.json").write_text("[]")
    (log.path / "metrics.jsonl").write_bytes(b"\xff\xfe\n")
    (numbers.path / "metrics.jsonl").write_text('3\n{"eval/return_mean": 1.0}\n')
    (no_step := make(seed=5)).path.joinpath("metrics.jsonl").write_text('{"eval/return_mean": 1.0}\n')
    results, problems = read_results([good, env_spec, log, numbers, no_step])
    assert [r.seed for r in results] == [1]
    assert len(problems) == 4
    assert all("is left out: " in problem for problem in problems)
    (tmp_path / "runs/CartPole-v1/dqn/wandb/files").mkdir(parents=True)
    (tmp_path / "runs/CartPole-v1/dqn/wandb/files/config.yaml").write_bytes(b"\xff")
    assert len(find_runs(["CartPole-v1"], str(tmp_path / "runs"))) == 5
    assert len(find_runs([str(make(seed=9, group="2026-11-21").config.run.group)], str(tmp_path / "runs"))) == 1


def test_runs_are_labelled_by_what_they_differ_in(make):
    """The steps asked for are nothing that our own agents learn by: a run can be extended. SB3's schedules depend on them."""
    assert set(labels(read_results([make(seed=1), make(seed=3, steps=77)])[0])) == {"dqn"}
    theirs = [make("sb3_dqn", seed=1, steps=77), make("sb3_dqn", seed=2, steps=78)]
    assert labels(read_results(theirs)[0]) == ["sb3_dqn steps=77", "sb3_dqn steps=78"]
    results, _ = read_results([make(seed=1), make(seed=2), make(seed=1, lr=0.5, n_step=1), make("double_dqn")])
    plain, same, other, double = labels(results)
    assert plain == same
    assert plain.startswith("dqn lr=")
    assert other.split() == ["dqn", "lr=0.5", "n_step=1"]
    assert double == "double_dqn"
