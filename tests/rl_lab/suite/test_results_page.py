"""The page of results and `compare` on results: numbers computed by hand, from files with chosen scores."""

import json
from pathlib import Path

import numpy as np
import pytest

from rl_lab import cli
from rl_lab.errors import LabError
from rl_lab.suite import results_pictures
from rl_lab.suite.published import MEANS_FILE, RUNS_FILE, PublishedScores, read_published
from rl_lab.suite.result_file import FinalScores, SuiteResult, read_results, result_path
from rl_lab.suite.results_page import SuiteSection, markdown_table, render_page, suite_section
from rl_lab.suite.suite import read_suite

GAMES = ["Alien", "Amidar", "Assault", "Asterix", "Asteroids", "Atlantis"]
PUBLISHED = """\
published:
  - {name: P, source: "Paper 1, table 2", runs: A}
  - {name: Q, source: "Paper 2, table 3", column: A, recalled: true, iqm: 0.71, mean: 0.75, median: 0.75}
"""


def normalised_pong(score: float) -> float:
    return (score + 20.7) / 35.3


def normalised_breakout(score: float) -> float:
    return (score - 1.7) / 28.8


@pytest.fixture
def study(make_suite, add_result, tmp_path, monkeypatch) -> Path:
    """Write a suite with two agents, two games and two seeds, and published scores. Return the suite's file.

    `other` scores higher than `ours` on Pong, and on Breakout in one pair of seeds of four.
    """
    for seed, pong, breakout in ((1, -10.0, 10.0), (2, -8.0, 20.0)):
        add_result("ours", "Pong", seed, pong, curve=[[500, -20.0], [1000, pong]])
        add_result("ours", "Breakout", seed, breakout)
    for seed, pong, breakout in ((1, 10.0, 5.0), (2, 12.0, 15.0)):
        add_result("other", "Pong", seed, pong)
        add_result("other", "Breakout", seed, breakout)
    (tmp_path / RUNS_FILE).write_text("agent,game,run,score\nA,Pong,0,-10\nA,Pong,1,-12\nA,Breakout,0,3.5\n")
    (tmp_path / MEANS_FILE).write_text("game,random,human,A\nPong,-20.7,14.6,-3.05\nBreakout,1.7,30.5,30.5\n")
    monkeypatch.chdir(tmp_path)
    return make_suite(PUBLISHED)


def section_of(path: Path) -> SuiteSection:
    return suite_section(read_suite(str(path)), read_results(Path("results/toy")), PublishedScores())


def table_row(page: str, start: str, number: int = 0) -> list[str]:
    """Return the cells of a row of the page that starts with a text; the first such row, or a later one."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in lines[number].strip("|").split("|")]


def score_table(page: str) -> list[list[str]]:
    """Return the cells of the table of scores, with the headings and without the line of dashes."""
    table = page.split("### Scores")[1].split("\n\n")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def run_compare(capsys, *names: str) -> dict:
    cli.main(["compare", *names, "--json", "--published-dir", "."])
    return json.loads(capsys.readouterr().out)


def test_the_command_writes_scores_aggregates_and_improvement(study, capsys):
    cli.main(["results", str(study), "--published-dir", ".", "--out", "page.md", "--no-pictures"])
    assert "page: page.md" in capsys.readouterr().out
    page = Path("page.md").read_text()
    headings, *rows = score_table(page)
    assert headings == ["agent", "Pong", "Breakout"]
    assert [row[0] for row in rows] == ["ours", "other", "P", "Q*"]
    assert rows[0][1].startswith("-9.0 (")
    assert [row[1] for row in rows[2:]] == ["-11.0", "-3.0"]
    scores = [normalised_pong(-10), normalised_pong(-8), normalised_breakout(10), normalised_breakout(20)]
    ours = table_row(page, "ours", 1)
    assert ours[1] == "2"
    assert ours[2].startswith(f"{np.mean(sorted(scores)[1:3]):.3f} (")
    assert ours[4].startswith(f"{np.mean(scores):.3f} (")
    assert table_row(page, "Q*", 1)[2] == "0.710 (as published)"
    # Of 4 pairs on Pong ours wins none, of 4 on Breakout 3.
    assert table_row(page, "ours", 2)[2].startswith("0.38 (")
    # P has 2 runs on Pong (-10, -12) and 1 on Breakout: 3 wins and a tie of 4 pairs, and 2 of 2.
    assert table_row(page, "ours", 2)[3] == f"{np.mean([3.5 / 4, 1]):.2f}"
    assert "Paper 2, table 3" in page
    assert table_row(page, "ours", 3)[1:5] == ["4", "1, 2", "1,000", "1.5 (1.5 to 1.5)"]


def test_the_page_depends_on_the_files_only(study):
    for name in ("first.md", "second.md"):
        cli.main(["results", str(study), "--published-dir", ".", "--out", name, "--no-pictures"])
    assert Path("first.md").read_bytes() == Path("second.md").read_bytes()


def test_pictures_are_drawn_and_named_on_the_page(study):
    cli.main(["results", str(study), "--published-dir", ".", "--out", "docs/page.md"])
    names = ["results-toy-curves.png", "results-toy-profiles.png"]
    page = Path("docs/page.md").read_text()
    for name in names:
        assert f"]({name})" in page
        assert Path("docs", name).read_bytes().startswith(b"\x89PNG")


def test_an_agent_has_the_same_colour_in_both_panels_of_a_picture(study, monkeypatch):
    """The published means come first: they have an IQM in one panel, and no profile in the other."""
    p, q = PUBLISHED.splitlines()[1:]
    study.write_text(study.read_text().replace(f"{p}\n{q}\n", f"{q}\n{p}\n"))
    suite = read_suite(str(study))
    figures = []
    monkeypatch.setattr(results_pictures, "_save", lambda pyplot, figure, path: figures.append(figure))
    section = suite_section(suite, read_results(Path("results/toy")), read_published(suite, Path(".")))
    results_pictures.draw_pictures(section, Path("docs"))
    left, right = figures[-1].axes
    labels = [text.get_text() for text in left.get_yticklabels()]
    bars = [line.get_color() for line in left.get_lines() if line.get_linewidth() == 5]
    of_profiles = {line.get_label(): line.get_color() for line in right.get_lines()}
    of_bars = dict(zip(labels, bars, strict=True))
    assert labels == ["ours", "other", "Q*", "P"]
    assert {label: of_bars[label] for label in of_profiles} == of_profiles


def test_legend_and_label_of_learning_curves_do_not_overlap(study, monkeypatch):
    figures = []
    monkeypatch.setattr(results_pictures, "_save", lambda pyplot, figure, path: figures.append(figure))
    results_pictures.draw_pictures(section_of(study), Path("docs"))
    curves = figures[0]
    curves.draw_without_rendering()
    (label,) = [text for text in curves.texts if text.get_text() == "thousand agent steps"]
    assert not curves.legends[0].get_window_extent().overlaps(label.get_window_extent())


def test_the_page_begins_with_an_overview(study):
    page = render_page([section_of(study)], {})
    assert page.startswith("# Results\n\nResults of 8 runs in 1 suite.\n\n| suite |")
    scores = sorted([normalised_pong(10), normalised_pong(12), normalised_breakout(5), normalised_breakout(15)])
    best = f"other: {np.mean(scores[1:3]):.3f} ("
    row = table_row(page, "[Toy](#toy)")
    assert row[1:4] == ["2 of 2", "ours, other", "8"]
    assert row[4].startswith(best)
    assert "\n## Toy\n" in page


def test_scores_of_an_environment_have_equal_decimals(make_suite, add_result, tmp_path, monkeypatch):
    """Pong has scores above 10, Breakout below 1: one decimal and three. A zero has no sign."""
    add_result("ours", "Pong", 1, 12.345)
    add_result("other", "Pong", 1, -0.01)
    add_result("ours", "Breakout", 1, 0.12345)
    add_result("other", "Breakout", 1, 0.5)
    monkeypatch.chdir(tmp_path)
    _, *rows = score_table(render_page([section_of(make_suite())], {}))
    assert rows == [["ours", "12.3", "0.123"], ["other", "0.0", "0.500"]]


def test_many_environments_are_rows(make_suite, add_result, tmp_path, monkeypatch):
    games = [*GAMES[:6], "Pong"]
    for env in games:
        add_result("ours", env, 1, 5.0)
    monkeypatch.chdir(tmp_path)
    suite = make_suite(**{"[Pong, Breakout]": str(games)})
    table = score_table(render_page([section_of(suite)], {}))
    assert table == [["environment", "ours"], *([env, "5.00"] for env in games)]


def test_lines_of_text_are_short(study):
    study.write_text(study.read_text() + f"note: {'word ' * 100}\n")
    page = render_page([section_of(study)], {})
    assert page.count("word") == 100
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 120


def test_tuned_and_untuned_environments_have_tables_of_their_own(study):
    study.write_text(study.read_text() + "tuned: [Breakout]\n")
    page = render_page([section_of(study)], {})
    tuned = [normalised_breakout(10), normalised_breakout(20)]
    untuned = [normalised_pong(-10), normalised_pong(-8)]
    assert table_row(page, "ours", 2)[4].startswith(f"{np.mean(tuned):.3f} (")
    assert table_row(page, "ours", 3)[4].startswith(f"{np.mean(untuned):.3f} (")
    assert "on which no setting was chosen: Pong." in page


def test_only_environments_that_all_of_our_agents_have_are_aggregated(study):
    for path in Path("results/toy/other/Breakout").iterdir():
        path.unlink()
    section = section_of(study)
    assert section.common_envs == ["Pong"]
    page = render_page([section], {})
    assert "Normalised scores" not in page
    assert table_row(page, "ours", 1)[2].startswith("0.00 ("), "improvement is not over Pong alone"


def test_agents_without_a_common_environment_are_not_compared(make_suite, add_result, tmp_path, monkeypatch):
    add_result("ours", "Breakout", 1, 10.0)
    add_result("ours", "Pong", 1, 5.0)
    add_result("other", "Pong", 1, 5.0)
    monkeypatch.chdir(tmp_path)
    section = section_of(make_suite(**{"ours: {agent: dqn}": "ours: {agent: dqn, envs: [Breakout]}"}))
    (problem,) = section.problems
    assert problem.startswith("ours on Pong, seed 1, is left out: in the suite toy, the agent does not train on")
    assert "improvement" not in render_page([section], {})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"steps": 500}, "it has 500 agent steps, those of the suite have 1,000"),
        ({"agent": "third"}, "has no agent 'third'"),
        ({"env": "Qbert"}, "has no environment 'Qbert'"),
    ],
)
def test_results_that_do_not_belong_to_the_suite_are_left_out_with_a_reason(study, add_result, changed, reason):
    values = {"agent": "ours", "env": "Pong", "seed": 3, **changed}
    add_result(values.pop("agent"), values.pop("env"), values.pop("seed"), 1e6, **values)
    section = section_of(study)
    (problem,) = section.problems
    assert reason in problem
    assert all(scores.max() < 1e5 for each in section.ours for scores in each.scores.values())
    assert reason in render_page([section], {})


def test_without_results_the_command_names_the_one_that_makes_them(make_suite, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for args in ([], [str(make_suite())]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["results", *args])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "sweep suite" in error


def test_results_of_another_suite_of_this_name_are_named_in_the_error(make_suite, add_result, monkeypatch, capsys):
    suite = make_suite()
    add_result("ours", "Pong", 1, 1.0, steps=500)
    monkeypatch.chdir(suite.parent)
    with pytest.raises(SystemExit):
        cli.main(["results", str(suite)])
    (line,) = capsys.readouterr().err.splitlines()
    assert "it has 500 agent steps, those of the suite have 1,000" in line


def test_an_empty_folder_of_a_suite_does_not_prevent_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("results/classic").mkdir(parents=True)
    result = SuiteResult("dqn", "Pong", 1, 10, {}, "1234", "2 cores", 1.0, [], FinalScores(5.0, 0.0, [5.0] * 100))
    result.write(result_path("results", "pong", "dqn", "Pong", 1))
    cli.main(["results", "--no-pictures", "--out", "page.md"])
    assert [row[0] for row in score_table(Path("page.md").read_text())] == ["agent", "dqn"]


def test_pictures_that_cannot_be_written_are_one_line(study, capsys):
    Path("docs").write_text("a file in place of the folder")
    with pytest.raises(SystemExit) as stop:
        cli.main(["results", str(study)])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert "docs/results.md cannot be written" in lines[-1]
    assert len(lines) == 1


def test_markdown_cells_escape_bars():
    assert markdown_table(["a|b"], [["c"]]) == "| a\\|b |\n| --- |\n| c |"


def test_compare_json_names_the_statistic_of_each_value(study, capsys):
    content = run_compare(capsys, "toy/ours", "toy/other")
    (score,) = [each for each in content["scores"] if each["agent"] == "ours" and each["env"] == "Pong"]
    assert (score["statistic"], score["value"], score["runs"]) == ("mean", -9.0, 2)
    of_ours = {each["statistic"]: each["value"] for each in content["normalised"] if each["agent"] == "ours"}
    assert of_ours.keys() == {"IQM", "median", "mean"}
    pong = np.mean([normalised_pong(-10), normalised_pong(-8)])
    breakout = np.mean([normalised_breakout(10), normalised_breakout(20)])
    assert of_ours["median"] == pytest.approx((pong + breakout) / 2)
    (improvement,) = [each for each in content["improvement"] if each["better"] == "ours"]
    assert (improvement["statistic"], improvement["value"]) == ("probability of improvement", 0.375)


def test_compare_of_run_folders_names_the_statistics_of_its_columns(train, capsys):
    run = train(steps=300, learning_starts=100, eval_every=0, eval_episodes=1)
    cli.main(["compare", str(run), "--json", "--html", ""])
    content = json.loads(capsys.readouterr().out)
    numbers = {name for name, value in content["groups"][0].items() if isinstance(value, dict | float)}
    assert numbers - {"target", "optimum"} <= content["statistics"].keys()


def test_compare_reads_the_published_scores_of_the_lab(tmp_path, monkeypatch, capsys):
    """DER is a column of recalled means: it is refused unless the numbers agree."""
    monkeypatch.chdir(tmp_path)
    envs = read_suite("atari100k").envs
    lines = [f"DrQ_eps,{env},{run},{run}" for env in envs for run in range(2)]
    Path(RUNS_FILE).write_text("\n".join(["agent,game,run,score", *lines]) + "\n")
    content = run_compare(capsys, "published:DrQ_eps")
    assert len(content["envs"]) == 26
    assert content["scores"][0]["value"] == 0.5
    assert "Kostrikov" in content["sources"]["DrQ_eps"]
    Path(MEANS_FILE).write_text("\n".join(["game,DER_100runs", *(f"{env},100" for env in envs)]) + "\n")
    with pytest.raises(SystemExit):
        cli.main(["compare", "published:DER", "--published-dir", "."])
    assert "published:DER cannot be used: its recalled scores have the mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["toy/ours", "published:None"], "published:None is unknown; there are: "),
        (["toy/ours", "runs"], "toy/ours is a result and runs is none"),
        (["toy/ours", "published:SPR"], "published:SPR cannot be used"),
    ],
)
def test_wrong_names_of_results_are_one_line(study, capsys, names, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *names, "--published-dir", "."])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_user_without_the_published_files_gets_the_page_and_one_line(study, capsys, monkeypatch):
    monkeypatch.delenv("RL_LAB_PUBLISHED_DIR", raising=False)
    cli.main(["results", str(study), "--out", "page.md", "--no-pictures"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "P, Q are left out: name the folder of atari100k_runs.csv" in line
    assert [row[0] for row in score_table(Path("page.md").read_text())] == ["agent", "ours", "other"]


def test_the_environment_variable_names_the_folder_of_published_scores(study, capsys, monkeypatch):
    monkeypatch.setenv("RL_LAB_PUBLISHED_DIR", ".")
    cli.main(["results", str(study), "--out", "page.md", "--no-pictures"])
    assert [row[0] for row in score_table(Path("page.md").read_text())] == ["agent", "ours", "other", "P", "Q*"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "published:SPR cannot be used: name the folder of atari100k_runs.csv"),
        (["--published-dir", "missing"], "published_dir is 'missing'; there is no such folder"),
    ],
)
def test_compare_without_the_published_files_is_one_line(study, capsys, monkeypatch, options, message):
    monkeypatch.delenv("RL_LAB_PUBLISHED_DIR", raising=False)
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", "published:SPR", *options])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def write_tabular_result(seed: int, score: float, steps: int) -> None:
    """Write a result of the lab's suite tabular."""
    games = [score] * 100
    result = SuiteResult(
        "tabular_sarsa", "CliffWalking-v1", seed, steps, {}, "12", "2 cores", 1.0, [], FinalScores(score, 0.0, games)
    )
    result.write(result_path("results", "tabular", result.agent, result.env, seed))


def test_compare_leaves_out_results_that_the_page_leaves_out(tmp_path, monkeypatch, capsys):
    """The suite tabular has 100,000 agent steps."""
    monkeypatch.chdir(tmp_path)
    write_tabular_result(1, -13.0, 100_000)
    write_tabular_result(2, -99.0, 500)
    content = run_compare(capsys, "tabular/tabular_sarsa")
    assert [score["value"] for score in content["scores"]] == [-13.0]
    assert "seed 2, is left out: it has 500 agent steps" in " ".join(content["warnings"])
    Path("results/tabular/tabular_sarsa/CliffWalking-v1/1.json").unlink()
    with pytest.raises(SystemExit):
        cli.main(["compare", "tabular/tabular_sarsa"])
    assert "it has 500 agent steps" in capsys.readouterr().err


def test_compare_without_known_scales_prints_no_table_of_normalised_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_tabular_result(1, -13.0, 100_000)
    cli.main(["compare", "tabular/tabular_sarsa"])
    out, err = capsys.readouterr()
    assert "-13.00" in out
    assert "IQM" not in out
    assert "CliffWalking-v1 has no known scale" in err


def test_a_damaged_result_file_is_named(study):
    Path("results/toy/ours/Pong/1.json").write_text("{")
    with pytest.raises(LabError, match=r"1\.json"):
        section_of(study)


def test_the_page_in_docs_is_built_from_the_result_files(tmp_path, monkeypatch):
    monkeypatch.delenv("RL_LAB_PUBLISHED_DIR", raising=False)
    root = Path(__file__).parents[3]
    out = tmp_path / "results.md"
    cli.main(["results", "--results-dir", str(root / "results"), "--out", str(out)])
    assert out.read_text() == (root / "docs/results.md").read_text()
