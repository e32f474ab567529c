"""Train the plain DQN of single_file.py on an Atari game until an evaluation reaches a score.

    python scripts/contenders/single_file_training.py --env Pong --target 18 --seed 1 --runs-dir runs

scripts/race.py runs it. The settings are those of CleanRL's dqn_atari.py, except for the Huber loss, a smaller replay
buffer, and lives: the loss of a life does not end a return. Evaluations are as those of rl_lab: complete episodes with
few random actions, in environments of their own, side by side. They and the times are written to metrics.jsonl under
the names that rl_lab has for them. There are no checkpoints.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from single_file import PlainDQN, make_env

STEPS = 10_000_000
LEARNING_STARTS = 80_000  # agent steps
EXPLORATION_STEPS = STEPS // 10
LOG_EVERY = 2_000  # agent steps
EVAL_EPSILON = 0.001
EVAL_MAX_STEPS = 108_000


def main() -> None:
    """Train, and write metrics.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", required=True, help="name of an Atari game")
    parser.add_argument("--target", type=float, required=True, help="score of an evaluation that ends the run")
    parser.add_argument("--eval-every", type=int, default=25_000, help="agent steps between two evaluations")
    parser.add_argument("--eval-episodes", type=int, default=10, help="episodes of an evaluation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of the run folders")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    options = parser.parse_args()
    try:
        make_env(options.env).close()
    except Exception as error:  # the emulator has exceptions of its own
        print(f"single_file cannot use {options.env}: {error}", file=sys.stderr)
        sys.exit(2)
    run = options.runs_dir / options.env / "single_file" / f"seed-{options.seed}"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "metrics.jsonl").open("w") as metrics:
        train(options, metrics)


def train(options: argparse.Namespace, metrics: TextIO) -> None:
    """Train until an evaluation reaches the target, or for STEPS agent steps."""
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    agent = PlainDQN(
        torch.device(options.device),
        LEARNING_STARTS,
        game=options.env,
        seed=options.seed,
        exploration_steps=EXPLORATION_STEPS,
    )
    agent.env.action_space.seed(options.seed)
    start = time.perf_counter()

    def log(values: dict[str, float]) -> None:
        minutes = (time.perf_counter() - start) / 60
        metrics.write(json.dumps({"global_step": agent.steps, **values, "time/minutes": minutes}) + "\n")
        metrics.flush()

    while agent.steps < STEPS:
        next_log = agent.steps - agent.steps % LOG_EVERY + LOG_EVERY
        next_evaluation = agent.steps - agent.steps % options.eval_every + options.eval_every
        agent.train(min(next_log, next_evaluation) - agent.steps)
        if agent.steps == next_log:
            log({})
        if agent.steps == next_evaluation:
            score = evaluate(agent, options.env, options.eval_episodes, seed=options.seed + agent.steps)
            log({"eval/return_mean": score})
            if score >= options.target:
                return


def evaluate(agent: PlainDQN, game: str, episodes: int, *, seed: int) -> float:
    """Return the mean score of complete episodes, which are played side by side.

    The random generators of training are not used.
    """
    generator = np.random.default_rng(seed)
    envs = [make_env(game) for _ in range(episodes)]
    observations: list[Any] = [env.reset(seed=seed + number)[0] for number, env in enumerate(envs)]
    scores = np.zeros(episodes)
    active = list(range(episodes))
    for _ in range(EVAL_MAX_STEPS):
        with torch.no_grad():
            batch = np.stack([observations[number] for number in active])
            greedy = agent.network(torch.as_tensor(batch, device=agent.device)).argmax(1).tolist()
        still_active = []
        for number, greedy_action in zip(active, greedy, strict=True):
            num_actions: int = envs[number].action_space.n  # type: ignore[attr-defined]
            is_random = generator.random() < EVAL_EPSILON
            action = int(generator.integers(num_actions)) if is_random else greedy_action
            observations[number], reward, terminated, truncated, _ = envs[number].step(action)
            scores[number] += float(reward)
            if not (terminated or truncated):
                still_active.append(number)
        active = still_active
        if not active:
            break
    for env in envs:
        env.close()
    return float(scores.mean())


if __name__ == "__main__":
    main()
