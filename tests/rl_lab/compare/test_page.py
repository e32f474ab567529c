"""The command `compare`: the table, the JSON output, and the page in a browser."""

import json
import re

import pytest
from browser import browser_tab, needs_browser

from rl_lab.cli.main import main
from rl_lab.compare.comparison import Comparison
from rl_lab.compare.page import write_page
from rl_lab.compare.run_result import read_results
from rl_lab.tracking.metric_names import SCORE_METRIC


def test_command_prints_a_table_and_writes_a_page(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    main(["compare", "runs", "--target", "12"])
    output = capsys.readouterr().out
    assert re.search(r"double_dqn +Pong +3 +12\.00 \(11", output)
    assert "2 of 3" in output
    assert "page: comparison.html" in output
    html = (tmp_path / "comparison.html").read_text()
    assert "https://cdn" not in html.split("plotly.js v")[0], "the page must not fetch plotly.js"


def test_command_prints_json(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["compare", "runs/Pong/*", "--json", "--html", ""])
    content = json.loads(capsys.readouterr().out)
    assert [group["agent"] for group in content["groups"]] == ["double_dqn", "dqn"]
    assert content["groups"][0]["final"]["value"] == 12
    assert not (tmp_path / "comparison.html").exists()


def test_command_rejects_incompatible_runs_without_force(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run()
    make_run(seed=2, eval_epsilon=0.05)
    with pytest.raises(SystemExit) as stop:
        main(["compare", "runs"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.strip() == (
        "rl_lab: runs on CartPole-v1 differ in eval_epsilon: 0.001 and 0.05; --force compares the runs anyway"
    )
    assert not (tmp_path / "comparison.html").exists()
    main(["compare", "runs", "--force"])
    assert "differ in eval_epsilon" in (tmp_path / "comparison.html").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [(["compare"], "no runs given"), (["compare", "runs", "--metric", "nonsense"], "no run left to compare")],
)
def test_command_rejects_empty_comparisons(args, message, make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run()
    with pytest.raises(SystemExit):
        main(args)
    assert message in capsys.readouterr().err


@needs_browser
def test_page_in_a_browser(study, tmp_path):
    """The page draws its curves, switches the axis, loads nothing from the network and logs no errors."""
    results, _ = read_results(study)
    path = tmp_path / "comparison.html"
    write_page(Comparison.from_results(results, SCORE_METRIC), path, x="steps", warnings=["a warning"])
    with browser_tab() as (tab, complaints):
        tab.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
        tab.goto(path.as_uri())
        tab.wait_for_selector("#curve-1 .scatterlayer .trace path.js-line")
        assert tab.locator("#curve-0 path.js-line").count() >= 2
        targets = [tab.evaluate(f"document.getElementById('curve-{i}').layout.shapes.map(s => s.y0)") for i in (0, 1)]
        assert targets == [[475], [18]], "each plot shows the target of the preset"
        assert tab.locator("#curve-0 .xtitle").text_content() == "agent steps"
        for axis, title in (("frames", "emulator frames"), ("minutes", "minutes"), ("steps", "agent steps")):
            tab.click(f"input[value={axis}]")
            tab.wait_for_function(f"document.querySelector('#curve-0 .xtitle').textContent == '{title}'")
        for plot in ("aggregates", "profiles", "efficiency"):
            assert tab.locator(f"#{plot} .trace").count() >= 2, plot
        text = tab.text_content("body")
        for words in ("a warning", "double_dqn", "3 of 3", "human-normalised: 0 is -20.7, 1 is 14.6", "P(X > Y)"):
            assert words in text, words
        tab.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        assert complaints == []
