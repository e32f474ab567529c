"""The labels of groups."""

from rl_lab.compare.labels import group_labels
from rl_lab.compare.run_result import read_results


def test_labels_name_the_settings_that_vary(make_run):
    results, _ = read_results(
        [make_run(seed=1), make_run(seed=2), make_run(seed=1, lr=0.5, n_step=1), make_run("double_dqn")]
    )
    first, second, changed, double_dqn = group_labels(results)
    assert first == second
    assert sorted(changed.split()) == ["dqn", "lr=0.5", "n_step=1"]
    assert [word.split("=")[0] for word in first.split()] == [word.split("=")[0] for word in changed.split()]
    assert double_dqn == "double_dqn"


def test_labels_name_steps_only_for_agents_that_cannot_resume(make_run):
    """A run that can be extended learns the same for all values of `steps`. The schedules of SB3 depend on it."""
    resumable, _ = read_results([make_run(seed=1), make_run(seed=3, steps=77)])
    assert set(group_labels(resumable)) == {"dqn"}
    not_resumable, _ = read_results([make_run("sb3_dqn", seed=1, steps=77), make_run("sb3_dqn", seed=2, steps=78)])
    assert group_labels(not_resumable) == ["sb3_dqn steps=77", "sb3_dqn steps=78"]


def test_runs_of_different_length_have_different_labels(make_run):
    """5% more steps are still the same length. A run that stopped at its target counts with its whole budget."""
    runs = [
        make_run(seed=1, evaluations=((2000, 1.0, 1.0),)),
        make_run(seed=2, evaluations=((2050, 1.0, 1.0),)),
        make_run(seed=3, evaluations=((8000, 4.0, 1.0),)),
        make_run(seed=4, steps=8000, target=5.0, stop_at_target=True, evaluations=((500, 1.0, 6.0),)),
    ]
    results, _ = read_results(runs)
    assert group_labels(results) == ["dqn steps=2,050", "dqn steps=2,050", "dqn steps=8,000", "dqn steps=8,000"]
    assert group_labels(results, mix_lengths=True) == ["dqn"] * 4
