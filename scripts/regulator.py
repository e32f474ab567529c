"""Agents on Regulator-v0, whose optimum is known: continuous control, and Baird's study of short steps.

    python scripts/regulator.py gain [--seeds 1..3] [--agents sac,td3,ppo]
    python scripts/regulator.py steps [--seeds 1..3]

`gain` trains agents for continuous actions with dt = 0.1 and fits u = -k x to the greedy actions for x from -1 to 1.
The optimal gain k for the discount of the agents follows from the Riccati equation.

`steps` repeats the experiment of Baird 1993 (Advantage updating). DQN and DQN with advantage learning (Bellemare et
al. 2016) choose among 21 velocities, which they hold for dt = 1 or dt = 0.01. The discount is 0.9 for each unit of
time. All runs have the same number of agent steps. The share of the optimum is the least cost over the cost of the
greedy policy, both as means over starts from -1 to 1. Dynamic programming gives the least cost with 21 velocities.

Both commands print a Markdown table with a row for each run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rl_lab
from rl_lab.experiment.seed_list import parse_seeds

RUNS = Path(".benchmark", "regulator")
DURATION = 10.0  # of an episode, in units of time
STARTS = np.linspace(-1, 1, 201)  # x at the start of the episodes that measure a policy
LEVELS = 21
DISCOUNT_PER_UNIT = 0.9
CONTINUOUS_STEPS = {"sac": 50_000, "td3": 50_000, "ppo": 200_000}  # agent steps
SMALL_NETWORK = {"hidden": 64, "batch_size": 128, "replay_ratio": 128, "lr": 1e-3}  # as for Pendulum-v1
CONTINUOUS_SETTINGS: dict[str, dict[str, Any]] = {"sac": SMALL_NETWORK, "td3": SMALL_NETWORK, "ppo": {}}
DISCRETE_STEPS = 100_000  # agent steps
CONTINUOUS_DT = 0.1
GAMMA = 0.99
GRID = np.linspace(-1.5, 1.5, 6_001)  # states of dynamic programming


def step_cost(x: NDArray[np.float64], u: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
    """Return the integral of x(t)^2 + u^2 over a step in which x moves with the velocity u."""
    return x**2 * dt + x * u * dt**2 + u**2 * (dt + dt**3 / 3)


def optimal_gain(dt: float, gamma: float) -> float:
    """Return k of the optimal u = -k x of an endless episode, by the Riccati recursion with discount."""
    p = 0.0
    k = 0.0
    for _ in range(100_000):
        k = (dt**2 / 2 + gamma * p * dt) / (dt + dt**3 / 3 + gamma * p * dt**2)
        p = dt - k * dt**2 + k**2 * (dt + dt**3 / 3) + gamma * p * (1 - k * dt) ** 2
    return k


def least_cost(dt: float) -> float:
    """Return the least undiscounted cost of an episode with LEVELS velocities, as a mean over STARTS."""
    controls = np.linspace(-1, 1, LEVELS)[:, None]
    cost = step_cost(GRID[None], controls, dt)
    next_x = np.clip(GRID[None] + controls * dt, GRID[0], GRID[-1])
    value = np.zeros(len(GRID))
    for _ in range(round(DURATION / dt)):
        value = (cost + np.interp(next_x, GRID, value)).min(axis=0)
    return float(np.interp(STARTS, GRID, value).mean())


def policy_cost(agent: Any, dt: float) -> float:
    """Return the undiscounted cost of an episode of the greedy policy of a DQN, as a mean over STARTS."""
    controls = np.linspace(-1, 1, LEVELS)
    x = STARTS.copy()
    cost = np.zeros(len(x))
    for _ in range(round(DURATION / dt)):
        action, _ = agent.predict(x[:, None].astype(np.float32))
        u = controls[action]
        cost += step_cost(x, u, dt)
        x = x + u * dt
    return float(cost.mean())


def fitted_gain(agent: Any) -> float:
    """Return k of u = -k x, fitted by least squares to the greedy actions at STARTS."""
    action, _ = agent.predict(STARTS[:, None].astype(np.float32))
    return float(-(action[:, 0] @ STARTS) / (STARTS @ STARTS))


def train(agent: str, dt: float, seed: int, **settings: Any) -> Any:
    """Train an agent and return it with the weights of its last checkpoint."""
    env_args: dict[str, float] = {"dt": dt}
    if agent == "dqn":
        env_args["levels"] = LEVELS
    run = rl_lab.train(
        agent,
        env="Regulator-v0",
        env_args=env_args,
        seed=seed,
        runs_dir=str(RUNS),
        quiet=True,
        wandb="disabled",
        torch_threads=1,
        precision="float32",
        **settings,
    )
    return rl_lab.load(run, which="last")


def print_gains(agents: list[str], seeds: list[int]) -> None:
    """Train the agents for continuous actions and print the gain of each run."""
    optimum = optimal_gain(CONTINUOUS_DT, GAMMA)
    print(f"\nOptimal gain for dt = {CONTINUOUS_DT:g} and a discount of {GAMMA:g} a step: {optimum:.4f}\n")
    print("| agent | seed | agent steps | gain | difference |\n|---|---|---|---|---|")
    for name in agents:
        for seed in seeds:
            steps = CONTINUOUS_STEPS[name]
            settings = CONTINUOUS_SETTINGS[name]
            agent = train(name, CONTINUOUS_DT, seed, steps=steps, gamma=GAMMA, eval_every=steps, **settings)
            gain = fitted_gain(agent)
            print(f"| `{name}` | {seed} | {steps:,} | {gain:.4f} | {gain / optimum - 1:+.1%} |", flush=True)


def print_step_study(seeds: list[int]) -> None:
    """Train DQN with and without advantage learning, in long and in short steps, and print the cost of each run."""
    print("\n| dt | advantage learning, alpha | seed | cost | least cost | share of the optimum |")
    print("|---|---|---|---|---|---|")
    for dt, alphas in ((1.0, (0.0, 0.9)), (0.01, (0.0, 0.9, 0.99))):
        optimum = least_cost(dt)
        for alpha in alphas:
            for seed in seeds:
                agent = train(
                    "dqn",
                    dt,
                    seed,
                    steps=DISCRETE_STEPS,
                    gamma=DISCOUNT_PER_UNIT**dt,
                    advantage_alpha=alpha,
                    n_step=1,
                    epsilon_zeta=0,
                    eval_every=DISCRETE_STEPS,
                    lr_steps=DISCRETE_STEPS,
                )
                cost = policy_cost(agent, dt)
                name = f"{alpha:g}" if alpha else "without"
                print(f"| {dt:g} | {name} | {seed} | {cost:.4f} | {optimum:.4f} | {optimum / cost:.1%} |", flush=True)


def main() -> None:
    """Run one of the two studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["gain", "steps"])
    parser.add_argument("--seeds", default="1..3", help="1..3 or 1,4")
    parser.add_argument("--agents", default="sac,td3,ppo", help="of `gain`, separated by commas")
    options = parser.parse_args()
    seeds = parse_seeds(options.seeds)
    if options.study == "gain":
        print_gains(options.agents.split(","), seeds)
    else:
        print_step_study(seeds)


if __name__ == "__main__":
    main()
