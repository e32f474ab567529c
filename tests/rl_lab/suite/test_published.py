"""Published scores: the CSV files, and the check of recalled columns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rl_lab.errors import LabError
from rl_lab.suite.published import MEANS_FILE, RUNS_FILE, published_folder, read_entry, read_published
from rl_lab.suite.suite import PublishedEntry, read_suite

RUNS = "agent,game,run,score\nA,Pong,0,-10\nA,Pong,1,-12\nB,Pong,0,20\nA,Breakout,0,3.5\n"
MEANS = "game,random,human,A,Bad\nPong,-20.7,14.6,-3.05,x\nBreakout,1.7,30.5,30.5,2\n"
# Normalised, column A of MEANS is .5 on Pong, (-3.05 + 20.7) / 35.3, and 1 on Breakout.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / RUNS_FILE).write_text(RUNS)
    (tmp_path / MEANS_FILE).write_text(MEANS)
    return tmp_path


@pytest.fixture
def suite(make_suite):
    return read_suite(str(make_suite()))


def test_single_runs_of_one_agent_are_read_by_game(suite, folder):
    score_set = read_entry(PublishedEntry("X", "paper", runs="A"), suite, folder)
    assert score_set.scores["Pong"].tolist() == [-10, -12]
    assert score_set.scores["Breakout"].tolist() == [3.5]
    assert not score_set.are_means


def test_a_recalled_column_with_the_published_mean_and_median_is_marked(suite, folder):
    entry = PublishedEntry("X", "paper", column="A", recalled=True, iqm=0.7, median=0.75, mean=0.752)
    score_set = read_entry(entry, suite, folder)
    assert score_set.label == "X*"
    envs = suite.envs
    quoted = score_set.aggregate("IQM", envs, may_quote=True)
    assert quoted is not None
    assert quoted.value == 0.7
    assert np.isnan(quoted.low)
    assert score_set.aggregate("IQM", envs, may_quote=False) is None, "an IQM of means is not an IQM of runs"
    computed = score_set.aggregate("mean", envs, may_quote=True)
    assert computed is not None
    assert computed.value == pytest.approx(0.75)


@pytest.mark.parametrize(("mean", "median", "named"), [(0.76, 0.75, "mean 0.750"), (0.75, 0.74, "median 0.750")])
def test_a_recalled_column_with_another_mean_or_median_is_left_out(suite, folder, mean, median, named):
    entry = PublishedEntry("X", "paper", column="A", recalled=True, median=median, mean=mean)
    with pytest.raises(LabError, match=f"its recalled scores have the {named}, not the published"):
        read_entry(entry, suite, folder)


def test_the_median_is_over_three_games_and_is_checked(make_suite, folder):
    """Normalised, the scores are .5, 1 and 1: those on Breakout and Qbert are those of a human."""
    suite = read_suite(str(make_suite(**{"Pong, Breakout": "Pong, Breakout, Qbert"})))
    (folder / MEANS_FILE).write_text("game,A\nPong,-3.05\nBreakout,30.5\nQbert,13455\n")
    values = [0.5, 1.0, 1.0]
    entry = PublishedEntry("X", "paper", column="A", recalled=True, median=1.0, mean=sum(values) / 3)
    score_set = read_entry(entry, suite, folder)
    for name, expected in (("median", 1.0), ("mean", sum(values) / 3)):
        estimate = score_set.aggregate(name, suite.envs, may_quote=False)
        assert estimate is not None
        assert estimate.value == pytest.approx(expected, abs=1e-3)
    with pytest.raises(LabError, match="the median 1.000, not the published 0.833"):
        read_entry(replace(entry, median=sum(values) / 3), suite, folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (PublishedEntry("X", "paper", runs="C"), "has no runs of 'C'"),
        (PublishedEntry("X", "paper", runs="B"), "no score on Breakout"),
        (PublishedEntry("X", "paper", column="C"), "has no column 'C'"),
        (PublishedEntry("X", "paper", column="Bad"), "line 2 of .* has 'x' in place of a score"),
    ],
)
def test_what_cannot_be_read_is_named(suite, folder, entry, message):
    with pytest.raises(LabError, match=message):
        read_entry(entry, suite, folder)


def test_a_line_with_too_few_entries_is_named(suite, folder):
    (folder / RUNS_FILE).write_text(RUNS + "A,Pong\n")
    with pytest.raises(LabError, match="line 6 of .* has another number of entries"):
        read_entry(PublishedEntry("X", "paper", runs="A"), suite, folder)


def test_read_published_goes_on_without_the_files(make_suite, tmp_path):
    extra = "published:\n  - {name: X, source: P, runs: A}\n  - {name: Y, source: P, scores: {Pong: 1, Breakout: 2}}\n"
    found = read_published(read_suite(str(make_suite(extra))), tmp_path / "missing")
    assert [each.name for each in found.score_sets] == ["Y"]
    (problem,) = found.problems
    assert problem.startswith("X is left out: ")
    assert RUNS_FILE in problem


def test_without_a_folder_one_message_names_all_agents_of_the_files(make_suite):
    extra = (
        "published:\n  - {name: X, source: P, runs: A}\n  - {name: Y, source: P, scores: {Pong: 1, Breakout: 2}}\n"
        "  - {name: Z, source: P, column: A}\n"
    )
    found = read_published(read_suite(str(make_suite(extra))), None)
    assert [each.name for each in found.score_sets] == ["Y"]
    assert found.problems == [
        "X, Z are left out: name the folder of atari100k_runs.csv and atari100k_scores.csv by --published-dir or"
        " RL_LAB_PUBLISHED_DIR"
    ]


def test_the_option_comes_before_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("RL_LAB_PUBLISHED_DIR", raising=False)
    assert published_folder("") is None
    assert published_folder(str(tmp_path)) == tmp_path
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("RL_LAB_PUBLISHED_DIR", str(tmp_path / "other"))
    assert published_folder("") == tmp_path / "other"
    assert published_folder(str(tmp_path)) == tmp_path


def test_a_folder_that_does_not_exist_is_refused_with_the_name_of_its_source(tmp_path, monkeypatch):
    with pytest.raises(LabError, match=r"published_dir is '.*missing'; there is no such folder"):
        published_folder(str(tmp_path / "missing"))
    monkeypatch.setenv("RL_LAB_PUBLISHED_DIR", str(tmp_path / "missing"))
    with pytest.raises(LabError, match=r"RL_LAB_PUBLISHED_DIR is '.*missing'; there is no such folder"):
        published_folder("")


def test_the_published_numbers_of_atari_100k():
    """The numbers of docs and papers, from 100 runs a game: IQM, median and mean (Agarwal et al. 2021)."""
    folder = Path(__file__).parents[4] / "shared/data"
    if not folder.exists():
        pytest.skip(f"{folder} is not on this machine")
    found = read_published(read_suite("atari100k"), folder)
    by_name = {each.name: each for each in found.score_sets}
    published = {"DrQ_eps": (0.280, 0.313, 0.465), "SPR": (0.337, 0.396, 0.616), "DER": (0.183, 0.189, 0.350)}
    for name, numbers in published.items():
        scores = by_name[name].normalised(read_suite("atari100k").envs)
        assert scores is not None
        pooled = np.sort(np.concatenate(scores))
        quarter = len(pooled) // 4
        means = [each.mean() for each in scores]
        if not by_name[name].are_means:
            assert pooled[quarter : len(pooled) - quarter].mean() == pytest.approx(numbers[0], abs=0.001)
        assert np.median(means) == pytest.approx(numbers[1], abs=0.001)
        assert np.mean(means) == pytest.approx(numbers[2], abs=0.001)
