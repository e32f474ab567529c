"""Differences between runs that make a comparison invalid, and caveats."""

import json

from rl_lab.compare.checks import find_caveats, find_incompatibilities
from rl_lab.compare.run_result import read_results

FEW_SEEDS = "intervals from fewer than 5 seeds are too narrow"


def test_runs_of_different_agents_and_environments_are_compatible(make_run):
    results, _ = read_results([make_run(), make_run("double_dqn"), make_run(env="Acrobot-v1")])
    assert find_incompatibilities(results) == []


def test_a_different_evaluation_epsilon_is_an_incompatibility(make_run):
    results, _ = read_results([make_run(), make_run(eval_epsilon=0.05)])
    assert find_incompatibilities(results) == ["runs on CartPole-v1 differ in eval_epsilon: 0.001 and 0.05"]


def test_a_different_environment_spec_is_an_incompatibility(make_run):
    pong = make_run(env="Pong")
    sticky = make_run(env="Pong", protocol="machado")
    env_spec = json.loads((pong.path / "env.json").read_text())
    (sticky.path / "env.json").write_text(json.dumps({**env_spec, "sticky": 0.25}))
    results, _ = read_results([pong, sticky])
    assert find_incompatibilities(results) == ["runs on Pong differ in sticky: 0.0 and 0.25"]


def test_fields_that_only_describe_an_environment_may_differ(make_run):
    pong = make_run(env="Pong")
    other = make_run(env="Pong")
    env_spec = json.loads((pong.path / "env.json").read_text())
    (other.path / "env.json").write_text(json.dumps({**env_spec, "frame_stack": 2, "transformations": ["grey"]}))
    results, _ = read_results([pong, other])
    assert find_incompatibilities(results) == []


def test_five_complete_seeds_have_no_caveats(make_run):
    results, _ = read_results([make_run(seed=seed) for seed in range(5)])
    assert find_caveats(results) == []


def test_few_seeds_are_a_caveat(make_run):
    results, _ = read_results([make_run(seed=1), make_run(seed=2)])
    assert [caveat.split(":")[0] for caveat in find_caveats(results)] == [FEW_SEEDS]


def test_groups_of_different_length_are_a_caveat(make_run):
    runs = [make_run(seed=1), make_run(seed=2)]
    runs += [make_run("double_dqn", seed=seed, evaluations=((9000, 1.0, 1.0),)) for seed in (1, 2)]
    results, _ = read_results(runs)
    assert find_caveats(results)[0] == (
        "final scores on CartPole-v1 belong to different numbers of agent steps: dqn 2,000, double_dqn 9,000"
    )


def test_a_repeated_seed_and_runs_of_different_length_are_caveats(make_run):
    runs = [make_run(seed=1), make_run(seed=2), make_run(seed=2, evaluations=((1000, 1.0, 1.0), (4000, 2.0, 2.0)))]
    results, _ = read_results(runs)
    assert find_caveats(results, mix_lengths=True)[:-1] == [
        "dqn on CartPole-v1 has more than one run with seed 2: its interval is too narrow",
        "dqn on CartPole-v1: its runs end after 2,000 to 4,000 agent steps",
    ]


def test_scores_that_ended_their_run_are_a_caveat(make_run):
    """The last evaluation of such a run is chosen for its score."""
    runs = [make_run(seed=seed, steps=2000, target=20.0, stop_at_target=True) for seed in range(4)]
    runs.append(make_run(seed=4, steps=2000, target=21.0, stop_at_target=True))  # it has not reached its target
    results, _ = read_results(runs)
    assert find_caveats(results) == [
        "dqn on CartPole-v1: 4 of 5 runs ended at an evaluation that reached the target (stop_at_target), so their"
        " final scores are too high; `eval` measures them"
    ]


def test_a_game_without_reference_scores_is_a_caveat(make_run):
    results, _ = read_results([make_run(env=env, seed=seed) for env in ("AirRaid", "Alien") for seed in range(5)])
    assert find_caveats(results) == [
        "AirRaid is left out of the normalised scores: the scores of a random policy and of a human are not known"
    ]
