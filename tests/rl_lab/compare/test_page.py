"""The command `compare`: the table, the JSON output, and the page in a browser."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from browser import browser_tab, needs_browser
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_lab.cli.main import main
from rl_lab.compare.comparison import Comparison
from rl_lab.compare.page import page_data, render_page, write_page
from rl_lab.compare.run_result import read_results
from rl_lab.experiment.human_scores import add_human_score
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


class ScriptParser(HTMLParser):
    """Collects the contents of the script elements, as a browser divides the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: list[str] = []
        self.is_inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "script":
            self.is_inside = True
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.is_inside = False

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.scripts[-1] += data


MARKUP = ["<!--<script>", "</script><script>alert(1)</script>", "/*PLOTLY*/", "/*DATA*/", "/*DATA*/null", "\\1\\g<0>"]
MARKUP += ["&lt;", "\u2028\u2029", "-->", "]]>", "__proto__", "\ud800", "\x1b[2J", "<img src=x onerror=alert(1)>"]
NAMES = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(MARKUP)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(NAMES, children, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, JSON_VALUES, max_size=4))
@settings(max_examples=100, deadline=None)
def test_names_are_data_of_the_page_whatever_they_hold(data: dict[str, Any]):
    """The page has three scripts, the first holds the data, and the names add nothing to the others."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "plotly = '/*DATA*/'")
        html = render_page(data)
    parser = ScriptParser()
    parser.feed(html)
    assert len(parser.scripts) == 3
    assert json.loads(parser.scripts[0]) == data
    assert parser.scripts[1] == "plotly = '/*DATA*/'"
    assert html.count("<script") == 3
    assert "<!--" not in html
    html.encode()


def test_the_page_holds_plotly_once_and_three_scripts():
    html = render_page({"name": "/*PLOTLY*/"})
    assert html.count("plotly.js v") == render_page({}).count("plotly.js v") == 1
    assert len(html) - len(render_page({})) < 40


@needs_browser
def test_page_with_hostile_names_in_a_browser(make_run, tmp_path):
    """All names are shown as they are, nothing is executed, and the page is drawn."""
    name = "<!--<script>/*PLOTLY*/</script><b>bold</b><img src=x onerror=alert(1)> &amp;"
    comparison = Comparison.from_results(read_results([make_run(), make_run(seed=2)])[0], SCORE_METRIC)
    data = page_data(comparison, x="steps", warnings=[name])
    data["envs"][0]["name"] = name
    data["envs"][0]["groups"][0]["label"] = name
    data["rows"][0]["agent"] = name
    path = tmp_path / "page.html"
    path.write_text(render_page(data), encoding="utf-8")
    with browser_tab() as (tab, complaints):
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.goto(path.as_uri())
        tab.wait_for_selector("#curve-0 .scatterlayer .trace path.js-line")
        assert tab.locator("#warnings .warning").text_content() == name
        assert tab.locator("#summary td").first.text_content() == name
        assert tab.locator("#curve-0-title").text_content() == name
        assert tab.locator("#curves .legend button").first.text_content() == name
        assert tab.locator("script").count() == 3
        assert tab.locator("img").count() == 0
        assert complaints == []


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
        assert tab.locator("#curves h3").all_text_contents() == ["CartPole-v1", "Pong (classic)"]
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


def test_command_shows_the_scores_of_a_person_under_the_same_conditions(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run()
    spec = run.env_spec
    for score in (12.0, 31.0):
        path = add_human_score("runs", spec, score=score, steps=9, seconds=1.0, seed=1, game=1)
    other = dataclasses.replace(spec, options=dataclasses.replace(spec.options, env_args={"sutton_barto_reward": True}))
    add_human_score("runs", other, score=500.0, steps=9, seconds=1.0, seed=1, game=1)
    with path.open("a") as file:
        file.write("{broken\n[]\n")
    main(["compare", str(run.path)])
    output = capsys.readouterr().out
    assert "a person on CartPole-v1: mean 21.50, best 31, 2 games (runs/human/CartPole-v1.jsonl)" in output
    data = json.loads(re.findall(r'id="data">(.*?)</script>', (tmp_path / "comparison.html").read_text(), re.S)[0])
    assert data["envs"][0]["human"] == {"mean": 21.5, "text": "a person: mean 21.50, best 31, 2 games"}
    main(["compare", str(run.path), "--json", "--html", ""])
    assert json.loads(capsys.readouterr().out)["human"] == {"CartPole-v1": [12.0, 31.0]}
    main(["compare", str(run.path), "--metric", "time/minutes", "--json", "--html", ""])
    assert json.loads(capsys.readouterr().out)["human"] == {}


OUTSIDE = """() => [...document.querySelectorAll('td, th, span, button, label, p, h2, h3, summary, .plot, .warning')]
    .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
    .map(element => element.textContent)"""
LINE_COLORS = "() => [...document.querySelectorAll('#curve-0 path.js-line')].map(line => line.style.stroke).join()"


@needs_browser
def test_page_is_complete_at_all_widths_and_dark_if_the_browser_is(study, make_run, tmp_path):
    """Nothing is cut or needs horizontal scrolling, and the colours are those of the browser's scheme."""
    results, _ = read_results([*study, make_run("dqn", "Pong", 4, ((1000, 0.5, -19.0), (2000, 1.0, 5.0)), lr=3e-4)])
    path = tmp_path / "comparison.html"
    write_page(Comparison.from_results(results, SCORE_METRIC), path, x="steps", warnings=["a warning " * 20])
    background = "getComputedStyle(document.body).backgroundColor"
    with browser_tab() as (tab, complaints):
        tab.goto(path.as_uri())
        tab.wait_for_selector("#curve-1 .scatterlayer .trace path.js-line")
        for width in (1200, 1100, 400):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.wait_for_function(f"document.documentElement.scrollWidth <= {width}")  # Plotly waits a moment
            assert tab.evaluate(OUTSIDE) == []
            assert tab.locator("#summary table.list").count() == (width == 400)
        row = tab.locator("#summary tr").nth(2)
        shown = [(cell.get_attribute("data-heading"), cell.inner_text()) for cell in row.locator("td").all()]
        assert ("environment", "CartPole-v1") in shown, "a narrow page names the cells of each row"
        assert tab.evaluate(background) == "rgb(255, 255, 255)"
        light_lines = tab.evaluate(LINE_COLORS)
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_function(f"({LINE_COLORS})() != '{light_lines}'")
        assert all(int(level) < 60 for level in re.findall(r"\d+", tab.evaluate(background)))
        assert complaints == []


@needs_browser
def test_page_shows_each_seed_on_demand_and_hides_agents(study, tmp_path):
    path = tmp_path / "comparison.html"
    write_page(Comparison.from_results(read_results(study)[0], SCORE_METRIC), path, x="steps", warnings=[])
    plotted = "document.getElementById('curve-1').data.filter(trace => trace.fill != 'toself')"
    with browser_tab() as (tab, complaints):
        tab.goto(path.as_uri())
        tab.wait_for_selector("#curve-1 .scatterlayer .trace path.js-line")
        assert tab.evaluate(f"{plotted}.map(trace => trace.name)") == ["dqn", "double_dqn"]
        tab.check("#each-seed")
        traces = tab.evaluate(f"{plotted}.map(trace => [trace.name, trace.x, trace.y])")
        by_name = {name: (x, y) for name, x, y in traces}
        assert len(by_name) == len(traces) == 8
        assert by_name["dqn, seed 3"] == ([1000, 2000, 3000], [-20, -10, 3]), "the evaluations of the run"
        assert by_name["double_dqn, seed 1"][1] == [-20, 0, 11]
        tab.click("input[value=frames]")
        assert tab.evaluate(f"{plotted}[0].x") == [4000, 8000, 12000]
        tab.click("#curves button[data-label=dqn] >> nth=1")
        assert len(tab.evaluate(plotted)) == 4
        assert tab.locator("#curves button[aria-pressed=false]").all_text_contents() == ["dqn", "dqn"]
        assert complaints == []
