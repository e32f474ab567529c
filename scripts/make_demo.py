"""Make the agent that is part of the package, rl_lab/demo, from a run's best checkpoint.

    python scripts/make_demo.py RUN --commit HASH

The weights are stored in float16. README.md documents the training and the score.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path

import yaml

from rl_lab import api, checkpoint
from rl_lab.experiment.run import DEMO, Run
from rl_lab.system.exit_codes import run_command

README = """# The agent of `python -m rl_lab watch demo`

Agent: {agent}

Environment: {env_spec}

Training: `{command}` at commit {commit}

Weights: the best evaluation, at agent step {step:,}, stored in float16

Score: {score}, from `python -m rl_lab eval demo --episodes {episodes}` (whole games, epsilon {epsilon:g})

`scripts/make_demo.py` writes this folder.
"""


def main() -> None:
    """Replace the folder of the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--commit", required=True, help="commit of the code that trained the run")
    parser.add_argument("--episodes", type=int, default=30, help="whole games of the evaluation")
    options = parser.parse_args()
    run = Run.find(options.run)
    best = checkpoint.read_state(checkpoint.find(run.path, "best"))
    write_run_folder(run, best)
    score = api.evaluate(Run(DEMO), episodes=options.episodes)
    config = run.config
    readme = README.format(
        agent=config.agent,
        env_spec=run.env_spec,
        command=f"python -m rl_lab train {config.agent} --env {config.run.env} --seed {config.run.seed}",
        commit=options.commit,
        step=best["steps"],
        episodes=options.episodes,
        epsilon=config.run.eval_epsilon,
        score=score,
    )
    (DEMO / "README.md").write_text(readme)
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file())
    print(f"{DEMO}: {size / 1e6:.2f} MB, {score}")


def write_run_folder(run: Run, best: dict) -> None:
    """Write the run folder of the demo: configuration, environment spec and best network."""
    agent = api.load_agent(run, which="best")
    agent.network.half()
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    checkpoint.save_best(DEMO, agent, {"steps": best["steps"], "score": best["score"]})
    run_settings = dataclasses.replace(run.config.run, runs_dir="runs", wandb="auto")
    config = dataclasses.replace(run.config, run=run_settings)
    (DEMO / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    shutil.copy(run.path / "env.json", DEMO / "env.json")


if __name__ == "__main__":
    run_command(main)
