"""Make an agent of a run part of the package: rl_lab/demo/NAME, which `watch demo:NAME` shows.

    python scripts/make_demo.py RUN --name NAME --commit HASH      # from the run's best checkpoint
    python scripts/make_demo.py --table                            # only write the table of docs/zoo.md anew

Networks above 1 MB are stored in float16, and the score is that of the stored network.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import yaml

from agents.core.agent import Agent
from rl_lab import api, checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.demo_agents import DEMOS, DemoRecord, demo_names
from rl_lab.experiment.env_settings import settings_of
from rl_lab.experiment.run import Run
from rl_lab.system.exit_codes import run_command
from rl_lab.system.portable_name import portable_name

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
TABLE_START = "<!-- table: scripts/make_demo.py -->\n"
TABLE_END = "<!-- end of table -->\n"
HALF_PRECISION_BYTES = 1_000_000
"""Size of a network above which its weights are stored in float16."""

WITHOUT_INFLUENCE = {
    *("group", "name", "tags", "notes", "runs_dir", "wandb", "wandb_project", "tensorboard", "trackio"),
    *("log_every", "video_every", "checkpoint_every", "checkpoint_minutes", "env_timeout", "emulator_threads"),
    *("device", "vectorization", "protocol", "address"),
}
"""Settings that the command of a demo leaves out: they do not change what the agent learns on a CPU."""

DEFAULT_SHARING = {"group": "", "name": "", "tags": "", "notes": "", "runs_dir": "runs", "wandb": "auto"}
"""Settings of the person who trained the run, which a demo does not keep."""


def main() -> None:
    """Write the folder of a demo and the table of the page, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run folder")
    parser.add_argument("--name", help="name of the demo: letters, digits and hyphens")
    parser.add_argument("--commit", help="commit of the code that trained the run")
    parser.add_argument("--episodes", type=int, default=100, help="whole episodes of the evaluation")
    parser.add_argument("--note", default="", help="what a reader must know besides")
    parser.add_argument("--table", action="store_true", help="only write the table of docs/zoo.md anew")
    options = parser.parse_args()
    if not options.table:
        if not (options.run and options.name and options.commit):
            parser.error("RUN, --name and --commit are needed")
        make_demo(Run.find(options.run), options.name, options.commit, options.episodes, options.note)
    PAGE.write_text(with_table(PAGE.read_text()))
    size = sum(path.stat().st_size for path in DEMOS.rglob("*") if path.is_file())
    print(f"{PAGE}: {len(demo_names())} agents, {size / 1e6:.2f} MB together")


def make_demo(run: Run, name: str, commit: str, episodes: int, note: str = "") -> None:
    """Write the run folder of a demo, play its episodes, and write demo.json.

    Args:
        run: The run, with a best checkpoint.
        name: Name of the demo. A demo of this name is replaced.
        commit: Commit of the code that trained the run.
        episodes: Number of episodes of the evaluation.
        note: What a reader must know besides.

    Raises:
        LabError: The name has other characters than letters, digits and hyphens, or there is no best checkpoint.
    """
    if portable_name(name) != name or "." in name:
        raise LabError(f"the name of a demo is {name!r}; it must consist of letters, digits and hyphens")
    best = checkpoint.read_state(checkpoint.find(run.path, "best"))
    folder = DEMOS / name
    weights = write_run_folder(run, folder, best)
    score = api.evaluate(Run(folder), episodes=episodes)
    record = DemoRecord(
        agent=run.config.agent,
        env=run.env_spec.name,
        command=training_command(run),
        seed=run.config.run.seed,
        commit=commit,
        step=best["steps"],
        weights=weights,
        score=round(score.mean, 4),
        score_std=round(score.std, 4),
        score_min=min(score.returns),
        score_max=max(score.returns),
        episodes=episodes,
        epsilon=run.config.run.eval_epsilon,
        note=note,
    )
    record.write(folder)
    print(f"{folder}: {score}")


def write_run_folder(run: Run, folder: Path, best: dict[str, Any]) -> str:
    """Write configuration, environment spec and best network, and return the number format of the weights."""
    agent = api.load_agent(run, which="best")
    weights = "float32"
    if network_bytes(agent) > HALF_PRECISION_BYTES:
        agent.network.half()
        weights = "float16"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    checkpoint.save_best(folder, agent, {"steps": best["steps"], "score": best["score"]})
    config = configuration.replace_settings(run.config, DEFAULT_SHARING, "the demo")
    (folder / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    shutil.copy(run.path / "env.json", folder / "env.json")
    return weights


def network_bytes(agent: Agent) -> int:
    """Return the size of the network."""
    return sum(tensor.nbytes for tensor in agent.network.state_dict().values())


def training_command(run: Run) -> str:
    """Return the command that trains the run again: agent, environment, and the settings that differ from the defaults.

    `--torch-threads` and `--precision` are always part of it, because they are chosen by speed otherwise.
    """
    config = run.config
    spec = run.env_spec
    named = {"env": config.run.env, **settings_of(spec.options)}
    defaults = configuration.resolve(config.agent, spec, named, preset=config.run.preset).to_dict()
    words = ["python", "-m", "rl_lab", "train", config.agent, "--env", config.run.env]
    if config.run.preset != defaults["preset"] or config.run.preset != "default":
        words += ["--preset", config.run.preset]
    if api.resolve_env(config.run.env, options=spec.options).protocol != spec.protocol:
        words += ["--protocol", spec.protocol]
    words += env_words(config)
    for name, value in config.to_dict().items():
        is_default = value == defaults[name] and name != "seed"
        if not is_default and name not in WITHOUT_INFLUENCE and name not in ("agent", "env", "preset"):
            words += flag_words(name, value)
    return shlex.join(words)


def env_words(config: Config) -> list[str]:
    """Return the flags for the arguments of the environment and for its wrappers."""
    words = []
    for name, value in config.run.env_args.items():
        words += ["--env-arg", f"{name}={json.dumps(value)}"]
    for wrapper in config.run.wrappers:
        words += ["--wrapper", yaml.safe_dump(wrapper, default_flow_style=True, width=10**6).strip()]
    return words


def flag_words(name: str, value: Any) -> list[str]:
    """Return the words of a setting on the command line."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", "none" if value is None else str(value)]


def with_table(page: str) -> str:
    """Return the page with the table of all demos between its two marks."""
    before, rest = page.split(TABLE_START)
    after = rest.split(TABLE_END)[1]
    return before + TABLE_START + zoo_table() + TABLE_END + after


def zoo_table() -> str:
    """Return a Markdown table with one row for each demo."""
    lines = ["| name | agent | environment | agent steps | score | kB | training |", "|---|---|---|---|---|---|---|"]
    for name in demo_names():
        record = DemoRecord.read(name)
        size = sum(path.stat().st_size for path in (DEMOS / name).rglob("*") if path.is_file())
        score = f"{record.score:.2f} +- {record.score_std:.2f} ({record.episodes} episodes)"
        training = f"`{record.command}` at {record.commit}"
        cells = [
            f"`demo:{name}`",
            f"`{record.agent}`",
            record.env,
            f"{record.step:,}",
            score,
            f"{math.ceil(size / 1e3):,}",
        ]
        lines.append(f"| {' | '.join([*cells, training])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
