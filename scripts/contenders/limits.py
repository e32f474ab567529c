"""What this machine can do at most: matrix products, the bare emulators, and our stream over them.

python limits.py NUM_ENVS DEVICE answers each line of input with one JSON object: rates a second.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from envs.atari import make_vector_env
from envs.make import make_stream, resolve
from rl_lab.system.device import num_cores

num_envs, device = int(sys.argv[1]), torch.device(sys.argv[2])
env_spec = resolve("Pong")
bare, streamed = make_vector_env(env_spec, num_envs, num_cores()), make_stream(env_spec, num_envs, threads=num_cores())
bare.reset(seed=1)
streamed.reset(seed=1)
actions = np.random.default_rng(0).integers(0, env_spec.num_actions, (1_000, num_envs))


def rate(call: Callable[[int], object], work: float, seconds: float = 1.0) -> float:
    """`work` a second of repeated calls, over at least `seconds`."""
    call(0)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call(calls)
        calls += 1
    return calls * work / (time.perf_counter() - start)


def matrices(dtype: torch.dtype) -> float:
    size = 768 if device.type == "cpu" else 8192
    a = torch.rand(size, size, device=device).to(dtype)

    def product(_: int) -> None:
        torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return rate(product, 2 * size**3)


def step_bare(t: int) -> None:
    bare.step(actions[t % len(actions)])


def step_stream(t: int) -> None:
    streamed.send(actions[t % len(actions)])
    streamed.recv()
    streamed.pop_episodes()


fast_bfloat16 = matrices(torch.bfloat16) > matrices(torch.float32)
print("ready", flush=True)
for _ in sys.stdin:
    in_turn = [(rate(step_bare, num_envs, 0.25), rate(step_stream, num_envs, 0.25)) for _ in range(8)]
    emulators = [statistics.mean(rates) for rates in zip(*in_turn, strict=True)]
    found = {"matrix float32 FLOP/s": matrices(torch.float32)}
    if fast_bfloat16:
        found["matrix bfloat16 FLOP/s"] = matrices(torch.bfloat16)
    found |= {"emulators steps/s": emulators[0], "stream steps/s": emulators[1]}
    print(json.dumps(found), flush=True)
