"""Print the tables and draw the pictures of docs/benchmarks/ from the data files in results/.

python scripts/plot_results.py tables [TOPIC ...]      print the summary, commands and per-seed evaluations
python scripts/plot_results.py pages                   write these tables into the pages that have a block for them
python scripts/plot_results.py pictures [TOPIC ...]    draw the learning curves, and the minutes to a score of 18

A topic is the name of a data file without ".json". A block of a page is the text between the lines
"<!-- tables of results/TOPIC.json -->" and "<!-- end of the tables -->".
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from result_data import NOT_REACHED, ResultGroup, ResultTopic, read_topic
from result_pages import update_page
from result_tables import command_table, seed_table, summary_table

ROOT = Path(__file__).parents[1]
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#999999",
)  # of the Okabe-Ito palette, which colour-blind readers can tell apart
WIDTH = 8.0  # inches
DPI = 110
STEP_GRID = 1000  # agent steps; evaluations of different seeds are aligned to multiples of this number
MINUTES_PICTURE = "minutes-to-18.png"
MINUTES_ENV = "Pong"
MINUTES_TARGET = 18
MINUTES_SEEDS = 3  # groups with fewer seeds are left out of the picture of minutes


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("tables", "pages", "pictures"))
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="names of data files without .json (default: all)")
    parser.add_argument("--data", type=Path, default=ROOT / "results", help="folder of the data files")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for the pictures")
    parser.add_argument("--pages", type=Path, default=ROOT / "docs/benchmarks", help="folder of the pages")
    args = parser.parse_args()
    if args.action == "pages":
        update_pages(args.pages, args.data)
        return
    names = args.topics or sorted(path.stem for path in args.data.glob("*.json"))
    topics = [read_topic(args.data / f"{name}.json") for name in names]
    if args.action == "tables":
        print_tables(topics)
    else:
        draw_pictures(topics, args.out)


def print_tables(topics: Sequence[ResultTopic]) -> None:
    """Print the three tables of each topic: the summary, the commands, and the evaluations of each seed."""
    for topic in topics:
        print(f"## {topic.name}: {topic.title}\n")
        for table in (summary_table, command_table, seed_table):
            print(table(topic), end="\n\n")


def update_pages(pages: Path, data: Path) -> None:
    """Write the tables into the blocks of all pages in a folder, and print the pages that changed."""
    for path in sorted(pages.glob("*.md")):
        if update_page(path, data):
            print(f"updated {path}")


def draw_pictures(topics: Sequence[ResultTopic], out: Path) -> None:
    """Write the learning curves of each topic, and the picture of minutes if a topic has minutes to show."""
    for topic in topics:
        if topic.picture:
            draw_curves(topic, out / topic.picture)
    groups = _groups_with_minutes(topics)
    if groups:
        draw_minutes(groups, out / MINUTES_PICTURE)


def draw_curves(topic: ResultTopic, path: Path) -> None:
    """Write one panel per machine: a line at the median over seeds, in a band from the lowest to the highest seed.

    A run that was stopped at the target keeps its last score at all later steps.
    """
    groups = [group for group in topic.groups if group.in_picture]
    machines = sorted({group.machine for group in groups}, reverse=True)
    figure, axes = plt.subplots(
        1, len(machines), figsize=(WIDTH, 5.4), sharex=True, sharey=True, squeeze=False, constrained_layout=True
    )
    for ax, machine in zip(axes[0], machines, strict=True):
        for number, group in enumerate(group for group in groups if group.machine == machine):
            _draw_band(ax, group, COLOURS[number])
        if topic.target is not None:
            ax.axhline(topic.target, color="black", linewidth=1, linestyle=":", label=f"target: {topic.target:g}")
        ax.set_title(f"machine {machine}", fontsize=11)
        ax.set_xlabel("thousand agent steps")
        ax.grid(alpha=0.3)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=9, frameon=False)
    axes[0][0].set_ylabel("evaluation score")
    figure.suptitle(f"{topic.title}\nline: median over seeds; band: lowest to highest seed", fontsize=11)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def draw_minutes(groups: Sequence[ResultGroup], path: Path) -> None:
    """Write one row per group: a line from the fastest to the slowest seed and a dot at the median.

    An arrow marks a group in which a seed did not reach the target.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 1.2 + 0.42 * len(groups)), constrained_layout=True)
    for y, group in enumerate(groups):
        minutes = group.minutes_to_target(MINUTES_TARGET)
        reached = [value for value in minutes if value != NOT_REACHED]
        ax.plot([min(reached), max(reached)], [y, y], color=COLOURS[0], linewidth=3, solid_capstyle="butt")
        ax.plot(statistics.median(minutes), y, "o", color=COLOURS[1], markersize=8)
        if len(reached) < len(minutes):
            text = f"{len(minutes) - len(reached)} of {len(minutes)} seeds not at {MINUTES_TARGET}"
            ax.annotate(
                "", (max(reached) + 3, y), (max(reached), y), arrowprops={"arrowstyle": "->", "color": COLOURS[0]}
            )
            ax.text(max(reached) + 3.3, y, text, va="center", fontsize=9)
    labels = [f"{group.agent}, machine {group.machine},\n{group.setting}, {len(group.runs)} seeds" for group in groups]
    ax.set_yticks(range(len(groups)), labels, fontsize=9)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel(
        f"minutes to a score of {MINUTES_TARGET} on {MINUTES_ENV} (dot: median; line: fastest to slowest seed)"
    )
    ax.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def median_band(group: ResultGroup) -> list[tuple[int, float, float, float]]:
    """Return (agent steps, median, lowest, highest score) wherever every seed of the group has a score."""
    curves = [{_align(steps): score for steps, score in run.curve} for run in group.runs]
    grid = sorted(set().union(*curves))
    if group.stopped_at_target:
        for curve in curves:
            _extend(curve, grid)
    band = []
    for steps in grid:
        scores = [curve[steps] for curve in curves if steps in curve]
        if len(scores) == len(curves):
            band.append((steps, statistics.median(scores), min(scores), max(scores)))
    return band


def _draw_band(ax: Axes, group: ResultGroup, colour: str) -> None:
    """Draw the median and the band of one group."""
    steps, medians, lows, highs = zip(*median_band(group), strict=True)
    thousands = [value / 1000 for value in steps]
    label = f"{group.agent}, {len(group.runs)} seeds,\n{group.setting}"
    ax.plot(thousands, medians, color=colour, linewidth=2, label=label)
    ax.fill_between(thousands, lows, highs, color=colour, alpha=0.18, linewidth=0)


def _extend(curve: dict[int, float], grid: Sequence[int]) -> None:
    """Repeat the last score of a stopped run at the later steps of `grid`."""
    last = max(curve)
    for steps in grid:
        if steps > last:
            curve[steps] = curve[last]


def _align(steps: int) -> int:
    """Return the multiple of STEP_GRID that is nearest to `steps`."""
    return round(steps / STEP_GRID) * STEP_GRID


def _groups_with_minutes(topics: Sequence[ResultTopic]) -> list[ResultGroup]:
    """Return the groups of MINUTES_ENV whose minutes to the target are recorded, fastest median first.

    Races are left out, because scripts/race.py draws a picture of each of them.
    """
    groups: list[ResultGroup] = []
    for topic in topics:
        if topic.target == MINUTES_TARGET and topic.minutes_limit is None:
            groups.extend(group for group in topic.groups if _is_in_minutes_picture(group))
    return sorted(groups, key=lambda group: statistics.median(group.minutes_to_target(MINUTES_TARGET)))


def _is_in_minutes_picture(group: ResultGroup) -> bool:
    """Return True if the group has enough seeds, minutes of all of them, and a seed that reached the target."""
    if group.env != MINUTES_ENV or len(group.runs) < MINUTES_SEEDS:
        return False
    minutes = group.minutes_to_target(MINUTES_TARGET)
    return bool(minutes) and min(minutes) < NOT_REACHED


if __name__ == "__main__":
    main()
