"""The command `compare`: the table, the JSON output, and the page in a browser."""

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
        assert tab.locator("#curve-0 .gtitle").text_content() == f"{name} ({comparison.groups[0].env_spec.protocol})"
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
