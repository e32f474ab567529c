"""The numbers of a comparison by hand, and the page in a browser."""

import json
import re

import numpy as np
import pytest
from browser import browser_tab, needs_browser

from rl_lab.cli.main import main
from rl_lab.compare import page
from rl_lab.compare.comparison import Comparison
from rl_lab.compare.runs import METRIC, read_results


def curve(*scores):
    return tuple((1000 * (i + 1), 0.5 * (i + 1), float(score)) for i, score in enumerate(scores))


@pytest.fixture
def study(make):
    """Two agents on two environments with three seeds each."""
    runs = []
    for seed in (1, 2, 3):
        runs.append(make("dqn", "Pong", seed, curve(-20, -10, seed)))
        runs.append(make("double_dqn", "Pong", seed, curve(-20, 0, 10 + seed)))
        runs.append(make("dqn", "CartPole-v1", seed, curve(100, 300, 400)))
        runs.append(make("double_dqn", "CartPole-v1", seed, curve(100, 475, 450)))
    return runs


def test_the_table_by_hand(study):
    comparison = Comparison.of(read_results(study)[0], METRIC, 12.0)
    assert [(g.label, g.env_spec.name) for g in comparison.groups] == [
        ("dqn", "CartPole-v1"),
        ("double_dqn", "CartPole-v1"),
        ("dqn", "Pong"),
        ("double_dqn", "Pong"),
    ]
    row = comparison.groups[3].row()
    assert (row["final"].value, row["best"].value, row["seeds"], row["reached"]) == (12, 12, [1, 2, 3], 2)
    assert row["steps_to_target"] is None, "not all seeds have reached it"
    assert row["normalised"].value == pytest.approx((12 + 20.7) / (14.6 + 20.7))
    cartpole = Comparison.of(read_results(study)[0], METRIC, 470.0).groups[1].row()
    assert (cartpole["steps_to_target"], cartpole["minutes_to_target"]) == (2000, 1.0)
    assert (cartpole["final"].value, cartpole["best"].value) == (450, 475)
    aggregates = comparison.aggregates()
    dqn = [np.array([1 + 20.7, 2 + 20.7, 3 + 20.7]) / 35.3, np.full(3, 400 / 475)]
    assert aggregates["dqn"]["mean"].value == pytest.approx(np.mean([np.mean(a) for a in dqn]))
    flat = np.sort(np.concatenate(dqn))
    assert aggregates["dqn"]["IQM"].value == pytest.approx(flat[1:5].mean())
    assert [g.target for g in Comparison.of(read_results(study)[0], METRIC).groups] == [475, 475, 18, 18], (
        "the presets'"
    )
    assert comparison.groups[2].curve("frames")["x"] == [4000, 8000, 12000]
    assert comparison.groups[2].curve("minutes")["y"] == [-20, -10, 2]


def test_runs_of_different_length_meet_where_both_are(make):
    runs = [make(seed=1, evaluations=curve(0, 10, 20, 30)), make(seed=2, evaluations=curve(0, 20))]
    (group,) = Comparison.of(read_results(runs)[0], METRIC).groups
    found = group.curve("steps")
    assert (found["x"][0], found["x"][-1]) == (1000, 2000)
    assert (found["y"][0], found["y"][-1]) == (0, 15)


def test_the_command_prints_a_table_and_writes_the_page(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    main(["compare", "runs", "--target", "12"])
    said = capsys.readouterr().out
    assert re.search(r"double_dqn +Pong +3 +12\.00 \(11\.\d\d to 12\.\d\d|double_dqn +Pong +3 +12\.00 \(11", said)
    assert "2 of 3" in said
    assert "page: comparison.html" in said
    html = (tmp_path / "comparison.html").read_text()
    assert "https://cdn" not in html.split("plotly.js v")[0]
    main(["compare", "runs/Pong/*", "--json", "--html", ""])
    answer = json.loads(capsys.readouterr().out)
    assert [g["agent"] for g in answer["groups"]] == ["double_dqn", "dqn"]
    assert answer["groups"][0]["final"]["value"] == 12


def test_what_does_not_compare_is_refused_unless_forced(make, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make()
    make(seed=2, eval_epsilon=0.05)
    with pytest.raises(SystemExit) as stop:
        main(["compare", "runs"])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said == (
        "rl_lab: runs on CartPole-v1 differ in eval_epsilon: 0.001 and 0.05; --force compares them all the same"
    )
    assert not (tmp_path / "comparison.html").exists()
    main(["compare", "runs", "--force"])
    assert "differ in eval_epsilon" in (tmp_path / "comparison.html").read_text()
    for args, words in ((["compare"], "which runs?"), (["compare", "runs", "--metric", "nonsense"], "nothing is left")):
        with pytest.raises(SystemExit):
            main(args)
        assert words in capsys.readouterr().err


@needs_browser
def test_the_page_in_a_browser(study, tmp_path):
    """Curves are drawn, the axis is switched, nothing is fetched, and the console stays silent."""
    results, _ = read_results(study)
    page.write(Comparison.of(results, METRIC), tmp_path / "c.html", x="steps", warnings=["a warning"])
    with browser_tab() as (tab, complaints):
        tab.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
        tab.goto((tmp_path / "c.html").as_uri())
        tab.wait_for_selector("#curve-1 .scatterlayer .trace path.js-line")
        assert tab.locator("#curve-0 path.js-line").count() >= 2
        targets = [tab.evaluate(f"document.getElementById('curve-{i}').layout.shapes.map(s => s.y0)") for i in (0, 1)]
        assert targets == [[475], [18]], "each environment has its preset's"
        assert tab.locator("#curve-0 .xtitle").text_content() == "agent steps"
        for axis, words in (("frames", "emulator frames"), ("minutes", "minutes"), ("steps", "agent steps")):
            tab.click(f"input[value={axis}]")
            tab.wait_for_function(f"document.querySelector('#curve-0 .xtitle').textContent == '{words}'")
        for place in ("aggregates", "profiles", "efficiency"):
            assert tab.locator(f"#{place} .trace").count() >= 2, place
        text = tab.text_content("body")
        for words in ("a warning", "double_dqn", "3 of 3", "human-normalised: 0 is -20.7, 1 is 14.6", "beats one of"):
            assert words in text, words
        tab.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        assert complaints == []
