"""Makes the agent that comes with the lab, rl_lab/demo, of a run's best checkpoint: weights in 16 bits, and how it came about.

python scripts/make_demo.py RUN --commit HASH
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path

import yaml

import rl_lab
from rl_lab import checkpoint
from rl_lab.experiment.run import DEMO, Run
from rl_lab.system.exit_codes import answer

README = """# The agent of `python -m rl_lab watch demo`

{agent} on {env_spec}, trained by

    {command}

at commit {commit}; the best evaluation's weights, of agent step {step:,}, in 16 bits. In {episodes} whole games, epsilon {epsilon:g}, with
`python -m rl_lab eval demo --episodes {episodes}`: {score}. Made by `scripts/make_demo.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--commit", required=True, help="what the run was trained with")
    parser.add_argument("--episodes", type=int, default=30)
    given = parser.parse_args()
    run = Run.find(given.run)
    agent, config = rl_lab.load(run, which="best"), run.config
    state = checkpoint.read_state(checkpoint.find(run.path, "best"))
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    agent.network.half()
    checkpoint.save_best(DEMO, agent, {"steps": state["steps"], "score": state["score"]})
    kept = dataclasses.replace(config, run=dataclasses.replace(config.run, runs_dir="runs", wandb="auto"))
    (DEMO / "config.yaml").write_text(yaml.safe_dump(kept.to_dict(), sort_keys=False))
    shutil.copy(run.path / "env.json", DEMO / "env.json")
    score = rl_lab.evaluate(Run(DEMO), episodes=given.episodes)
    (DEMO / "README.md").write_text(
        README.format(
            agent=config.agent,
            env_spec=run.env_spec,
            command=f"python -m rl_lab train {config.agent} --env {config.run.env} --seed {config.run.seed}",
            commit=given.commit,
            step=state["steps"],
            episodes=given.episodes,
            epsilon=config.run.eval_epsilon,
            score=score,
        )
    )
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file())
    print(f"{DEMO}: {size / 1e6:.2f} MB, {score}")


if __name__ == "__main__":
    answer(main)
