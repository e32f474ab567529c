"""Train every agent for a moment with fixed seeds and compare checksums with recorded ones.

A change that must not alter behaviour is checked with this script:

    python tests/checksums.py record tests/data/checksums.json    before the change
    python tests/checksums.py check tests/data/checksums.json     after it

The script starts runs through the command line and reads only the files of their run folders. It compares tensors by
their contents, whatever their keys are called, so it does not depend on names inside the project. Equal checksums mean
equal weights, optimiser moments, replay rows, random generators and logged metrics, bit for bit. Processors of another
kind may give other checksums, because the order of floating-point operations differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

TIME_KEYS = ("time/", "speed/", "seconds/", "checkpoint/")
COMMON = "--seed 3 --wandb disabled --log-every 200 --checkpoint-every 0 --eval-episodes 2 --emulator-threads 1"
CARTPOLE = f"--env CartPole-v1 --steps 1200 --eval-every 600 {COMMON}"
PENDULUM = f"--env Pendulum-v1 --steps 600 --eval-every 0 {COMMON}"
PONG = f"--env Pong --steps 800 --eval-every 0 --eval-episodes 1 {COMMON} --eval-epsilon 0.3"
STARTS = "--learning-starts 200"
SMALL = f"{STARTS} --replay-size 2000"
TABULAR = f"--env CliffWalking-v1 --steps 2000 --eval-every 0 --eval-epsilon 0.3 {COMMON}"
TILES = f"--env MountainCar-v0 --steps 2000 --eval-every 0 {COMMON}"

VALUE_AGENTS = "dqn double_dqn dueling_dqn dueling_double_dqn qr_dqn expected_sarsa drqn".split()
TABULAR_AGENTS = "tabular_sarsa tabular_expected_sarsa tabular_q_learning tabular_sarsa_lambda".split()

RUNS: dict[str, str] = {
    **{f"{name} CartPole": f"{name} {CARTPOLE} {STARTS}" for name in VALUE_AGENTS},
    **{f"{name} Pong": f"{name} {PONG} {SMALL} --precision float32" for name in VALUE_AGENTS},
    "rainbow CartPole": f"rainbow {CARTPOLE} {STARTS} --noisy --distributional --value-low 0 --value-high 100",
    "rainbow Pong": f"rainbow {PONG} {SMALL} --precision float32 --noisy --distributional",
    "reinforce CartPole": f"reinforce {CARTPOLE} --batch-size 256",
    "reinforce Pong": f"reinforce {PONG} --batch-size 256 --precision float32",
    "ppo CartPole": f"ppo {CARTPOLE} --batch-size 256 --value-clip 0.2 --target-kl 0.05 --standardize minibatch",
    "ppo Pong": f"ppo {PONG} --batch-size 256 --precision float32",
    "pqn CartPole": f"pqn {CARTPOLE}",
    "pqn Pong": f"pqn {PONG} --batch-size 256 --precision float32",
    "recurrent_ppo CartPole": f"recurrent_ppo {CARTPOLE} --batch-size 256 --core gru --value-clip 0.2",
    "sac Pendulum": f"sac {PENDULUM} --learning-starts 450 --num-envs 2 --priority-alpha 0.5 --n-step 2",
    "td3 Pendulum": f"td3 {PENDULUM} --learning-starts 450 --num-envs 2",
    "a2c CartPole": f"a2c {CARTPOLE}",
    "a2c Pong": f"a2c {PONG} --precision float32",
    **{f"{name} CliffWalking": f"{name} {TABULAR}" for name in TABULAR_AGENTS},
    **{f"{name} MountainCar": f"{name} {TILES}" for name in TABULAR_AGENTS},
    "sb3_dqn CartPole": f"sb3_dqn {CARTPOLE} --learning-starts 200",
    "sb3_ppo CartPole": f"sb3_ppo {CARTPOLE}",
    "sb3_a2c CartPole": f"sb3_a2c {CARTPOLE} --rmsprop-tf-like",
    "sb3_qrdqn CartPole": f"sb3_qrdqn {CARTPOLE} --learning-starts 200",
    "sb3_recurrent_ppo CartPole": f"sb3_recurrent_ppo {CARTPOLE}",
    "sb3_sac Pendulum": f"sb3_sac {PENDULUM} --learning-starts 450 --num-envs 2",
    "sb3_td3 Pendulum": f"sb3_td3 {PENDULUM} --learning-starts 450 --num-envs 2",
    "sb3_ppo Pendulum": f"sb3_ppo {PENDULUM} --n-steps 64",
    "sb3_dqn Pong": f"sb3_dqn {PONG} --learning-starts 200 --buffer-size 2000",
    "sb3_ppo Pong": f"sb3_ppo {PONG}",
    "sb3_a2c Pong": f"sb3_a2c {PONG}",
    # Options that change a code path.
    "dqn bfloat16": f"dqn {PONG} {SMALL} --precision bfloat16",
    "dqn priorities": f"dqn {CARTPOLE} {STARTS} --priority-alpha 0.6 --target-tau 0.01 --norm layer --dropout 0.1",
    "dqn paper": f"dqn {PONG} {SMALL} --preset paper --epsilon-hold 100 --epsilon-steps 500",
    "dqn batch norm": f"dqn {PONG} {SMALL} --norm batch --precision float32 --optimizer rmsprop --init he",
    "drqn stored": f"drqn {CARTPOLE} {STARTS} --core gru --start-state stored --burn-in 3 --priority-alpha 0.5 --double"
    " --dueling --mask-velocity",
    "rainbow plain": f"rainbow {CARTPOLE} {STARTS} --no-noisy --no-distributional",
    "reinforce karpathy": f"reinforce {PONG} --preset karpathy --steps 3000 --batch-games 1",
    "reinforce no baseline": f"reinforce {CARTPOLE} --no-baseline --batch-size 256",
    "dqn flicker": f"dqn {PONG} {SMALL} --flicker 0.5 --precision float32 --protocol machado",
    "dqn collectors": f"dqn {CARTPOLE} {STARTS} --collectors 2",
}


def tensor_digest(tensor: torch.Tensor) -> str:
    """Return a digest of a tensor's shape, type and contents."""
    flat = tensor.contiguous().flatten()
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return hashlib.sha256(f"{tensor.dtype}{list(tensor.shape)}".encode() + data).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return a digest of the tensors in a safetensors file, whatever their names."""
    digests = sorted(tensor_digest(tensor) for tensor in load_file(path).values())
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def metrics_digest(path: Path) -> str:
    """Return a digest of the logged numbers that do not depend on the clock."""
    lines = []
    for text in path.read_text().splitlines():
        values = {key: value for key, value in json.loads(text).items() if not key.startswith(TIME_KEYS)}
        lines.append(json.dumps(values, sort_keys=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def run_digest(run: Path) -> dict[str, str]:
    """Return the digests of everything in a run folder that must be reproduced."""
    checkpoints = run / "checkpoints"
    newest = max(checkpoints.glob("step-*"))
    found = {"metrics": metrics_digest(run / "metrics.jsonl")}
    for folder in (newest, checkpoints / "best"):
        for file in sorted(folder.glob("*.safetensors")):
            found[f"{folder.name}/{file.name}"] = file_digest(file)
    for index, file in enumerate(sorted((checkpoints / "rows").glob("*"))):
        found[f"rows {index}"] = file_digest(file)
    return found


def train(command: str) -> dict[str, Any]:
    """Run one training command, resume value agents for 100 further steps, and return the digests of both states."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        lab = [sys.executable, "-m", "rl_lab"]
        subprocess.run([*lab, "train", *command.split(), "--runs-dir", folder], check=True, env=environment,
                       capture_output=True)  # fmt: skip
        (run,) = Path(folder).glob("*/*/*")
        digests: dict[str, Any] = {"trained": run_digest(run)}
        if not command.startswith("sb3_"):
            steps = int(command.split("--steps ")[-1].split()[0]) + 100
            subprocess.run([*lab, "resume", str(run), "--steps", str(steps)], check=True, env=environment,
                           capture_output=True)  # fmt: skip
            digests["resumed"] = run_digest(run)
    return digests


def parse_options(args: list[str] | None = None) -> argparse.Namespace:
    """Return `mode`, `file` and `words`. Print one line and exit with code 2 if they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("record", "check"), help="record checksums, or compare with recorded ones")
    parser.add_argument("file", type=Path, help="JSON file of the checksums")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only runs whose name contains one of these words")
    options = parser.parse_args(args)
    if options.mode == "check" and not options.file.is_file():
        parser.error(f"{options.file} does not exist: record the checksums first")
    if not chosen_runs(options.words):
        parser.error(f"no run's name contains {' or '.join(options.words)}; the names are {', '.join(RUNS)}")
    return options


def chosen_runs(words: list[str]) -> dict[str, str]:
    """Return the runs whose name contains one of the words; all runs if there are no words."""
    if not words:
        return RUNS
    return {name: command for name, command in RUNS.items() if any(word in name for word in words)}


def main() -> None:
    """Record or check the checksums of the chosen runs."""
    options = parse_options()
    chosen = chosen_runs(options.words)

    def named(name: str) -> tuple[str, Any]:
        try:
            digests: Any = train(chosen[name])
        except subprocess.CalledProcessError as error:
            digests = {"failed": error.stderr.decode()[-500:]}
        print(name, digests if "failed" in digests else "trained", flush=True)
        return name, digests

    with ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        results = dict(pool.map(named, chosen))
    versions = {"torch": torch.__version__, "numpy": np.__version__, "machine": platform.processor()}
    if options.mode == "record":
        options.file.write_text(json.dumps({"versions": versions, "runs": results}, indent=1) + "\n")
        return
    expected = json.loads(options.file.read_text())["runs"]
    different = [name for name in results if results[name] != expected.get(name)]
    print(
        f"{len(results) - len(different)} of {len(results)} runs are equal"
        + (f"; different: {different}" if different else "")
    )
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
