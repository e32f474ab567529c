"""Reading suites: those of the lab, and errors in the suite of a person."""

import csv
from pathlib import Path

import pytest

from agents.core.settings import ConfigError
from envs.atari import games
from rl_lab.compare.scores import RANDOM_AND_HUMAN
from rl_lab.errors import LabError
from rl_lab.experiment.registry import BUILT_IN_AGENTS
from rl_lab.suite.suite import read_suite, suite_names
from rl_lab.sweep.suite import suite_cells, suite_trials
from rl_lab.sweep.sweep import Sweep

EXPECTED_SUITES = ["atari10", "atari100k", "atari57", "classic", "minatar", "pong", "tabular", "worlds"]
MACHINE = {"wandb": "disabled", "runs_dir": "runs", "device": "cpu"}


def test_the_suites_of_the_lab_are_listed():
    assert suite_names() == EXPECTED_SUITES


@pytest.mark.parametrize("name", [name for name in EXPECTED_SUITES if name != "minatar"])
def test_every_agent_of_a_suite_can_train_on_every_environment(name):
    """LunarLander needs a package that may be missing. Of the 57 games, a few stand for all."""
    suite = read_suite(name)
    envs = [env for env in suite.envs[:5] if env != "LunarLander-v3"]
    cells = suite_cells(suite, suite.agents, envs, MACHINE)
    assert len(cells) == sum(len(set(agent.envs or envs) & set(envs)) for agent in suite.agents.values())
    for cell in cells:
        steps = suite.steps_on(cell.env)
        assert cell.config.run.steps == steps or steps is None
        assert cell.config.run.eval_epsilon == suite.evaluation.epsilon
        assert cell.config.run.torch_threads == 1


def test_atari_suites_name_games_that_exist_and_have_reference_scores():
    for name in ("atari10", "atari57", "atari100k"):
        assert set(read_suite(name).envs) <= games().keys() & RANDOM_AND_HUMAN.keys()
    assert set(read_suite("atari57").envs) == set(RANDOM_AND_HUMAN)
    assert len(read_suite("atari10").envs) == 10
    assert len(read_suite("atari100k").envs) == 26


def test_atari100k_has_the_games_of_the_published_scores():
    path = Path(__file__).parents[4] / "shared/data/atari100k_scores.csv"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    with path.open() as file:
        published = [row["game"] for row in csv.DictReader(file)]
    assert sorted(published) == sorted(read_suite("atari100k").envs)


def test_atari100k_follows_its_protocol():
    suite = read_suite("atari100k")
    cells = suite_cells(suite, suite.agents, ["Pong"], MACHINE)
    for cell in cells:
        assert (cell.env_spec.sticky, cell.env_spec.life_loss, len(cell.env_spec.actions)) == (0.0, True, 6)
        settings = cell.config.to_dict()
        assert (settings["steps"], settings["num_envs"], settings["reward_clip"]) == (100_000, 1, 1.0)
        assert settings["replay_size"] == 100_000
        assert settings["replay_ratio"] == settings["batch_size"], "not one update a step"
    evaluation = suite.evaluation
    assert (evaluation.games, evaluation.epsilon, evaluation.cut) == (100, 0.001, 27_000)


def test_atari100k_trains_every_game_with_the_same_settings():
    """Pong has settings of its own outside of this suite."""
    suite = read_suite("atari100k")
    for name in suite.agents:
        pong, breakout = suite_cells(suite, suite.choose_agents(name), ["Pong", "Breakout"], MACHINE)
        ours = {key: value for key, value in pong.config.to_dict().items() if key not in ("env", "target")}
        others = breakout.config.to_dict()
        differing = {key for key in ours if ours[key] != others[key]}
        if ours["lr_steps"] == 0:
            differing -= {"lr_end"}  # without lr_steps, the learning rate stays at lr
        if ours["priority_alpha"] == 0:
            differing -= {"priority_beta_steps"}
        if ours.get("noisy"):
            differing -= {"epsilon_steps", "epsilon_end"}
        assert not differing, name


def test_der_has_the_settings_of_its_paper():
    suite = read_suite("atari100k")
    (cell,) = suite_cells(suite, suite.choose_agents("der"), ["Pong"], MACHINE)
    settings = cell.config.to_dict()
    wanted = {
        "steps": 100_000,
        "encoder": "data_efficient",
        "filters": 32,
        "hidden": 256,
        "n_step": 20,
        "num_envs": 1,
        "learning_starts": 1600,
        "target_every": 2000,
        "target_tau": 0.0,
        "noisy": True,
        "distributional": True,
        "priority_alpha": 0.5,
        "priority_beta": 0.4,
        "grad_clip": 10.0,
        "optimizer": "adam",
        "lr": 1e-4,
        "lr_steps": 0,
        "optimizer_eps": 1.5e-4,
    }
    assert {name: settings[name] for name in wanted} == wanted


def test_drq_eps_has_the_settings_of_its_papers():
    suite = read_suite("atari100k")
    (cell,) = suite_cells(suite, suite.choose_agents("drq_eps"), ["Pong"], MACHINE)
    assert cell.config.agent == "dueling_double_dqn"
    settings = cell.config.to_dict()
    wanted = {
        "encoder": "nature",
        "filters": 32,
        "hidden": 512,
        "n_step": 10,
        "gamma": 0.99,
        "learning_starts": 1600,
        "target_every": 1,
        "target_tau": 0.0,
        "priority_alpha": 0.0,
        "epsilon_start": 1.0,
        "epsilon_end": 0.01,
        "epsilon_steps": 5000,
        "epsilon_zeta": 0.0,
        "augment_shift": 4,
        "augment_intensity": 0.05,
        "lr": 1e-4,
        "lr_steps": 0,
        "optimizer": "adam",
        "optimizer_eps": 1.5e-4,
        "grad_clip": 10.0,
    }
    assert {name: settings[name] for name in wanted} == wanted


def test_frugal_is_der_with_the_options_of_bbf_that_cost_little():
    """The last reset comes a third of the updates before the end, and n and gamma have reached their ends by then."""
    suite = read_suite("atari100k")
    der, frugal = suite_cells(suite, suite.choose_agents("der,frugal"), ["Qbert"], MACHINE)
    before, after = der.config.to_dict(), frugal.config.to_dict()
    changed = {name: after[name] for name in before if before[name] != after[name] and name != "preset"}
    wanted = {
        "learning_starts": 2000,
        "noisy": False,
        "epsilon_hold": 2000,
        "epsilon_steps": 4000,
        "target_tau": 0.005,
        "augment_shift": 4,
        "augment_intensity": 0.05,
        "weight_decay": 0.1,
        "reset_every": 33_000,
        "anneal_updates": 10_000,
        "n_step_start": 10,
        "n_step": 3,
        "gamma_start": 0.97,
        "gamma": 0.997,
    }
    assert changed == wanted
    updates = 100_000 - after["learning_starts"]
    assert updates % after["reset_every"] > 30_000 > after["anneal_updates"]


def test_pong_has_every_agent_of_the_lab_that_learns_from_images():
    own = [entry for entry in BUILT_IN_AGENTS if not entry.name.startswith(("tabular_", "sb3_"))]
    assert read_suite("pong").agents.keys() == {entry.name for entry in own if entry.abilities.discrete_actions}


def test_a_suite_of_a_person_has_the_name_of_its_file(make_suite):
    suite = read_suite(str(make_suite()))
    assert suite.name == "toy"
    assert suite.agents["ours"].agent == "dqn"
    assert suite.agents["other"].settings == {"lr": "1e-3"}
    assert suite.choose_agents("other").keys() == {"other"}
    assert suite.choose_envs("") == ["Pong", "Breakout"]


def test_settings_of_an_agent_override_those_of_the_suite(make_suite):
    suite = read_suite(str(make_suite("settings: {lr: 5e-4, gamma: 0.9}\n")))
    ours, other = suite_cells(suite, suite.agents, ["Pong"], MACHINE)
    assert (ours.config.settings.lr, other.config.settings.lr) == (5e-4, 1e-3)
    assert (ours.config.settings.gamma, other.config.settings.gamma) == (0.9, 0.9)
    assert (ours.label, other.label) == ("ours", "other")


def test_an_agent_may_train_on_some_environments_only_with_steps_of_their_own(make_suite):
    path = make_suite(
        "env_settings: {Breakout: {steps: 500}}\n", **{"ours: {agent: dqn}": "ours: {agent: dqn, envs: [Breakout]}"}
    )
    suite = read_suite(str(path))
    cells = suite_cells(suite, suite.agents, suite.envs, MACHINE)
    trained = {(cell.agent, cell.env): cell.config.run.steps for cell in cells}
    assert trained == {("ours", "Breakout"): 500, ("other", "Pong"): 1000, ("other", "Breakout"): 500}
    with pytest.raises(LabError, match="in the suite toy, ours do not train on Pong"):
        suite_cells(suite, suite.choose_agents("ours"), ["Pong"], MACHINE)


def test_a_suite_may_have_an_environment_twice_with_different_arguments(tmp_path):
    path = tmp_path / "shops.yaml"
    path.write_text(
        "title: Shops\n"
        "envs: [LostSales-v0, quick]\n"
        "agents:\n  dqn: {}\n  small: {agent: dqn, settings: {hidden: 16}}\n"
        "steps: 100\nseeds: 1..2\nevaluation: {games: 2}\n"
        "env_settings: {quick: {env: LostSales-v0, env_args: {lead_time: 2}, hidden: 8}}\n"
    )
    suite = read_suite(str(path))
    cells = suite_cells(suite, suite.agents, suite.envs, MACHINE)
    columns = [(cell.label, cell.env, cell.config.run.env, cell.config.settings.hidden) for cell in cells]
    assert columns == [
        ("", "LostSales-v0", "LostSales-v0", 256),
        ("quick", "quick", "LostSales-v0", 8),
        ("small", "LostSales-v0", "LostSales-v0", 16),
        ("small quick", "quick", "LostSales-v0", 8),
    ]
    assert [cell.env_spec.options.env_args for cell in cells[:2]] == [{}, {"lead_time": 2}]
    trials = suite_trials(Sweep("grid", "now", "group", "runs", 1, 0, 0, {}), suite, cells, [1], tmp_path)
    files = [Path(trial["final_evaluation"]["path"]).relative_to(tmp_path.resolve()) for trial in trials]
    assert [str(file.parent) for file in files[:2]] == ["shops/dqn/LostSales-v0", "shops/dqn/quick"]
    assert trials[1]["final_evaluation"]["env"] == "quick"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{agent: dqn}", "{agent: dqn, envs: [Pnog]}", "the agent ours in"),
        ("{agent: dqn}", "{agent: dqn, envs: Pong}", "envs"),
        ("steps: 1000", "steps: 1000\nenv_settings: {Pnog: {steps: 10}}", "env_settings in"),
        ("steps: 1000", "steps: 1000\nenv_settings: {Pong: 10}", "env_settings of Pong in"),
        ("steps: 1000", "steps: 1000\nenv_settings: {Pong: {steps: 0}}", "it must be a whole number of at least 1"),
        ("title: Toy", "titel: Toy", "unknown entry 'titel'; the nearest is 'title'"),
        ("title: Toy", "", "has no entry 'title'"),
        ("steps: 1000", "steps: 0", "steps is 0"),
        ("steps: 1000", "steps: many", "steps is 'many'"),
        ("when: end", "when: best", "when is 'best'"),
        ("games: 2", "games: 2, gmes: 3", "unknown entry 'gmes'"),
        ("epsilon: 0", "epsilon: 2", "epsilon is 2"),
        ("[Pong, Breakout]", "Pong", "envs"),
        ("[Pong, Breakout]", "[Pong, Pong]", "twice"),
        ("{agent: dqn}", "{agent: dqn, stings: 1}", "unknown entry 'stings'"),
        ("ours: {agent: dqn}", "our/s: {agent: dqn}", "agent 'our/s'"),
    ],
)
def test_errors_in_a_suite_are_one_line_with_the_file(make_suite, old, new, message):
    path = make_suite(**{old: new})
    with pytest.raises(ConfigError) as error:
        read_suite(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: A, source: B}", "exactly one of scores, runs and column"),
        ("{name: A, source: B, runs: A, column: A}", "exactly one of scores, runs and column"),
        ("{name: A, scores: {Pong: 1}}", "has no entry 'source'"),
        ("{name: A, source: B, scores: {Pong: good}}", "must be a number"),
        ("{name: A, source: B, column: A, recalled: true}", "needs its published mean and median"),
        ("{name: A, source: B, runs: A}\n  - {name: A, source: C, runs: A}", "a name twice"),
    ],
)
def test_errors_in_published_entries_are_refused(make_suite, entry, message):
    path = make_suite(f"published:\n  - {entry}\n")
    with pytest.raises(ConfigError, match=message):
        read_suite(str(path))


def test_wrong_names_and_seeds_are_refused(make_suite):
    with pytest.raises(LabError, match="unknown suite 'clasic'; nearest: classic"):
        read_suite("clasic")
    with pytest.raises(LabError, match="seeds is '3..1'"):
        read_suite(str(make_suite(**{"1..2": "3..1"})))
    suite = read_suite(str(make_suite(**{"3..1": "1..2"})))
    with pytest.raises(LabError, match="the suite toy has no 'our'; nearest: ours"):
        suite.choose_agents("our")
    with pytest.raises(LabError, match="it names Pong twice"):
        suite.choose_envs("Pong,Pong")


def test_an_unknown_setting_names_agent_environment_and_suite(make_suite):
    suite = read_suite(str(make_suite("settings: {lrr: 1}\n")))
    with pytest.raises(LabError, match="ours on Pong in the suite toy: unknown setting 'lrr'"):
        suite_cells(suite, suite.agents, ["Pong"], MACHINE)
