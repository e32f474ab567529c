"""The command `results`: the page of results from result files and published scores."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from agents.core.settings import check_fields
from rl_lab.cli.parsing import parse
from rl_lab.errors import LabError
from rl_lab.system.printable import print_line
from rl_lab.system.shell import PROG

if TYPE_CHECKING:
    from rl_lab.suite.results_page import SectionPictures, SuiteSection

SuiteNames = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SUITE...", help_behavior_hint="(any number)")
]


@dataclass(frozen=True)
class ResultsOptions:
    """The options of `results`."""

    suites: SuiteNames = ()
    """Suites, or paths of their YAML files. Default: the suites of the lab that have result files."""
    results_dir: str = "results"
    """Folder of the result files, RESULTS_DIR/SUITE/AGENT/ENV/SEED.json."""
    published_dir: str = ""
    """Folder of atari100k_runs.csv and atari100k_scores.csv (docs/suites.md). Default: the environment variable
    RL_LAB_PUBLISHED_DIR; without it, the scores of these files are left out."""
    out: str = "docs/results.md"
    """The Markdown file. Its pictures are written beside it."""
    pictures: bool = True
    """Draw the pictures, which needs matplotlib."""


def results_command(args: list[str]) -> None:
    """Run the command `results`."""
    description = "Build the page of results from the result files of suites and from published scores."
    options = parse(ResultsOptions, args, "results", description)
    check_fields(options)
    from rl_lab.suite.results_page import render_page

    sections = _read_sections(options)
    out = Path(options.out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pictures = _draw_pictures(sections, out.parent) if options.pictures else {}
        out.write_text(render_page(sections, pictures), encoding="utf-8")
    except OSError as error:
        raise LabError(f"the page {out} cannot be written: {error.strerror}") from error
    for section in sections:
        for problem in section.problems:
            print_line(f"{section.suite.name}: {problem}", file=sys.stderr)
    print_line(f"page: {out}")


def _draw_pictures(sections: Sequence[SuiteSection], folder: Path) -> dict[str, SectionPictures]:
    """Draw the pictures of all suites. Return them by the names of the suites."""
    from rl_lab.suite.results_pictures import draw_pictures

    return {section.suite.name: draw_pictures(section, folder) for section in sections}


def _read_sections(options: ResultsOptions) -> list[SuiteSection]:
    """Return the suites to show. Raises LabError if there is none, or a file is damaged."""
    from rl_lab.suite.published import published_folder, read_published
    from rl_lab.suite.result_file import read_results
    from rl_lab.suite.results_page import suite_section
    from rl_lab.suite.suite import read_suite, suite_names

    results_dir = Path(options.results_dir)
    in_folder = [name for name in suite_names() if any((results_dir / name).glob("*/*/*.json"))]
    names = list(dict.fromkeys(options.suites)) or in_folder
    if not names:
        raise LabError(f"{results_dir} has no result files of a suite; {PROG} sweep suite NAME makes them")
    folder = published_folder(options.published_dir)
    sections = []
    for name in names:
        suite = read_suite(name)
        results = read_results(results_dir / suite.name)
        section = suite_section(suite, results, read_published(suite, folder))
        if options.suites and not section.score_sets:
            reason = f": {section.problems[-1]}" if results else f"; {PROG} sweep suite {name} makes them"
            raise LabError(f"{results_dir / suite.name} has no result files that can be shown{reason}")
        sections.append(section)
    return sections
