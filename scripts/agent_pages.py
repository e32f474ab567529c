"""Fill the tables of the pages in docs/agents/ from configs/ and results/.

A page holds blocks, which the script replaces:

    <!-- settings AGENT: NAME NAME ... -->     the settings with their values, by environment and preset
    <!-- results AGENT,AGENT: TOPIC TOPIC -->  the summaries of results/TOPIC.json
    <!-- end -->

The values are those that `train AGENT --env ENV` resolves, so a page cannot differ from configs/*.yaml.

    python scripts/agent_pages.py           write the pages
    python scripts/agent_pages.py --check   exit with code 1 if a page is not up to date
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from result_data import ResultTopic, read_topic
from result_tables import markdown_table, summary_table

from envs.make import resolve
from rl_lab.experiment import config
from rl_lab.experiment.registry import find_agent
from rl_lab.experiment.run_config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- (settings|results) ([\w,]+): ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


class Column(NamedTuple):
    """A column of values: an environment, and a preset."""

    title: str
    env: str
    preset: str = "default"


DISCRETE = (
    Column("vectors", "Acrobot-v1"),
    Column("`CartPole-v1`", "CartPole-v1"),
    Column("`Pong`", "Pong"),
    Column("other Atari games", "Breakout"),
    Column("Atari, `--preset paper`", "Breakout", "paper"),
)
MEMORY = (
    Column("vectors", "Acrobot-v1"),
    Column("`CartPole-v1`", "CartPole-v1"),
    Column("`LongRecall-v0`", "LongRecall-v0"),
)
GRIDS = (Column("`CliffWalking-v1`", "CliffWalking-v1"), Column("`FrozenLake-v1`", "FrozenLake-v1"))
COLUMNS = {
    "drqn": (*MEMORY, *DISCRETE[3:]),
    "recurrent_ppo": (*MEMORY, *DISCRETE[3:]),
    "reinforce": (*DISCRETE[:4], Column("`Pong`, `--preset karpathy`", "Pong", "karpathy")),
    "rainbow": (*DISCRETE, Column("Atari, `--preset der`", "Breakout", "der")),
    "sac": (Column("vectors", "MountainCarContinuous-v0"), Column("`Pendulum-v1`", "Pendulum-v1")),
    "td3": (Column("vectors", "MountainCarContinuous-v0"), Column("`Pendulum-v1`", "Pendulum-v1")),
    "tabular_sarsa": GRIDS,
    "tabular_sarsa_lambda": GRIDS,
    "a2c": DISCRETE[:4],
    "sb3_dqn": DISCRETE[1:4],
    "sb3_ppo": DISCRETE[1:4],
    "pqn": DISCRETE[:4],
}
"""Columns by agent. The other agents have those of DISCRETE."""


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with code 1 if a page is not up to date"
    )
    options = parser.parse_args()
    outdated = []
    for path in sorted((ROOT / "docs/agents").glob("*.md")):
        text = path.read_text()
        filled = fill_page(text)
        if filled != text:
            outdated.append(str(path.relative_to(ROOT)))
            if not options.check:
                path.write_text(filled)
    for page in outdated:
        print(f"{page} {'is not up to date' if options.check else 'written'}")
    if options.check and outdated:
        sys.exit("write them with: python scripts/agent_pages.py")


def fill_page(text: str) -> str:
    """Return a page with the tables of today."""
    return BLOCK.sub(_filled_block, text)


def _filled_block(match: re.Match[str]) -> str:
    """Return a block with its table."""
    head, kind, agents, names, end = match.groups()
    table = (
        settings_table(agents, names.split()) if kind == "settings" else results_table(agents.split(","), names.split())
    )
    return f"{head}\n{table}\n\n{end}"


def settings_table(agent: str, names: list[str]) -> str:
    """Return the values of some settings of an agent as a Markdown table: one row for each setting."""
    columns = COLUMNS.get(agent, DISCRETE)
    resolved = [config.resolve(agent, resolve(column.env), {}, preset=column.preset).to_dict() for column in columns]
    meanings = field_docs(find_agent(agent).load_config_class()) | field_docs(RunConfig)
    rows = []
    for name in names:
        cells = {column.title: value_text(values[name]) for column, values in zip(columns, resolved, strict=True)}
        rows.append({"setting": f"`--{name.replace('_', '-')}`", "meaning": first_sentence(meanings[name]), **cells})
    return markdown_table(rows, ["setting", "meaning", *(column.title for column in columns)])


def results_table(agents: list[str], topics: list[str]) -> str:
    """Return the summaries of the groups of some agents as Markdown tables: one table for each topic."""
    tables = []
    for name in topics:
        topic = read_topic(ROOT / f"results/{name}.json")
        groups = [group for group in topic.groups if group.agent in agents]
        tables.append(f"{topic.title}:\n\n{summary_table(_with_groups(topic, groups))}")
    return "\n\n".join(tables)


def _with_groups(topic: ResultTopic, groups: list[Any]) -> ResultTopic:
    """Return a topic with some of its groups."""
    return dataclasses.replace(topic, groups=groups)


def field_docs(settings_class: type) -> dict[str, str]:
    """Return the docstring of each field of a dataclass and of its bases. The nearest class wins."""
    docs: dict[str, str] = {}
    for base in reversed(settings_class.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(text, ast.Expr):
                continue
            if isinstance(field.target, ast.Name) and isinstance(text.value, ast.Constant):
                docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, without its full stop, with `|` escaped for a table."""
    sentence = re.split(r"(?<!\bal)\.(?=\s|$)", text, maxsplit=1)[0]
    return sentence.replace("|", "\\|")


def value_text(value: Any) -> str:
    """Return a value as a person types it: 1,000,000, 2.5e-4, true."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and 0 < abs(value) < 0.002:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


if __name__ == "__main__":
    main()
