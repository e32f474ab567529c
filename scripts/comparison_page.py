"""Write the page of `compare` for runs of a results file, and the picture docs/comparison.png.

python scripts/comparison_page.py results/pendulum.json --agents sac td3 --png docs/comparison.png

The run folders of these measurements are not kept. So this script writes folders with the settings and the evaluations
of the results file, which is what `compare` reads. A picture needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from envs.make import resolve
from rl_lab.compare.checks import find_caveats
from rl_lab.compare.comparison import Comparison
from rl_lab.compare.page import write_page
from rl_lab.compare.run_result import read_results
from rl_lab.experiment import config
from rl_lab.experiment.run import Run
from rl_lab.tracking.metric_names import MINUTES_METRIC, SCORE_METRIC, STEP_METRIC

WIDTH, HEIGHT = 1100, 885  # of the picture, in pixels


def main() -> None:
    """Write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a results file with curves")
    parser.add_argument("--agents", nargs="+", default=[], help="agents of the file; by default all")
    parser.add_argument("--html", type=Path, default=Path("comparison.html"))
    parser.add_argument("--png", type=Path, help="picture of the top of the page")
    options = parser.parse_args()
    topic = json.loads(options.results.read_text())
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for group in topic["groups"]:
            if not options.agents or group["agent"] in options.agents:
                env = group.get("env", topic.get("env"))
                runs += [write_run(folder, env, group["agent"], run) for run in group["runs"]]
        results, problems = read_results(runs)
        comparison = Comparison.from_results(results, SCORE_METRIC, topic.get("target"))
        write_page(comparison, options.html, x="steps", warnings=find_caveats(results) + problems)
    print(options.html)
    if options.png:
        write_picture(options.html, options.png)
        print(options.png)


def write_run(folder: str, env: str, agent: str, run: dict[str, Any]) -> Run:
    """Write a run folder with the evaluations of a run of a results file. Minutes are spread evenly over the steps."""
    env_spec = resolve(env)
    overrides = {"env": env, "seed": run["seed"], "runs_dir": folder}
    written = Run.create(config.resolve(agent, env_spec, overrides), env_spec)
    last_step = run["curve"][-1][0]
    lines = []
    for step, score in run["curve"]:
        line = {STEP_METRIC: step, SCORE_METRIC: score}
        if "minutes" in run:
            line[MINUTES_METRIC] = run["minutes"] * step / last_step
        lines.append(json.dumps(line) + "\n")
    (written.path / "metrics.jsonl").write_text("".join(lines))
    return written


def write_picture(html: Path, png: Path) -> None:
    """Write a screenshot of the top of a page."""
    from playwright.sync_api import sync_playwright  # an optional package

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(html.absolute().as_uri(), timeout=0)
        tab.wait_for_selector(".scatterlayer .trace path.js-line", timeout=0)
        tab.wait_for_timeout(500)
        tab.screenshot(path=str(png))
        browser.close()


if __name__ == "__main__":
    main()
