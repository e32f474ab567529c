"""Upper bounds of this machine: matrix products, the emulators alone, and our stream of rows over the emulators.

Run as: python limits.py NUM_ENVS DEVICE. Each line of standard input is answered with one JSON object of rates per
second.
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
from rl_lab.system.cores import num_cores


def rate(call: Callable[[int], object], work: float, seconds: float = 1.0) -> float:
    """Return the work per second of repeated calls.

    Args:
        call: Called with 0, 1, 2, ...; an additional first call is not measured.
        work: Work of one call.
        seconds: Minimum duration of the measurement.
    """
    call(0)
    num_calls = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        call(num_calls)
        num_calls += 1
    return num_calls * work / (time.perf_counter() - start)


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the floating-point operations per second of products of square matrices."""
    size = 768 if device.type == "cpu" else 8192
    matrix = torch.rand(size, size, device=device).to(dtype)

    def multiply(_: int) -> None:
        torch.mm(matrix, matrix)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return rate(multiply, 2 * size**3)


class EmulatorRates:
    """Measures the agent steps per second of Pong, for ALE's vector environment alone and for our stream."""

    def __init__(self, num_envs: int) -> None:
        env_spec = resolve("Pong")
        self._num_envs = num_envs
        self._emulators = make_vector_env(env_spec, num_envs, num_cores())
        self._stream = make_stream(env_spec, num_envs, threads=num_cores())
        self._emulators.reset(seed=1)
        self._stream.reset(seed=1)
        self._actions = np.random.default_rng(0).integers(0, env_spec.num_actions, (1_000, num_envs))

    def measure(self) -> tuple[float, float]:
        """Return the rates of the emulators alone and of the stream. Short measurements alternate."""
        emulator_rates = []
        stream_rates = []
        for _ in range(8):
            emulator_rates.append(rate(self._step_emulators, self._num_envs, 0.25))
            stream_rates.append(rate(self._step_stream, self._num_envs, 0.25))
        return statistics.mean(emulator_rates), statistics.mean(stream_rates)

    def _step_emulators(self, t: int) -> None:
        self._emulators.step(self._actions[t % len(self._actions)])

    def _step_stream(self, t: int) -> None:
        self._stream.send(self._actions[t % len(self._actions)])
        self._stream.recv()
        self._stream.pop_episodes()


def main() -> None:
    """Answer each line of standard input with the rates."""
    emulators = EmulatorRates(num_envs=int(sys.argv[1]))
    device = torch.device(sys.argv[2])
    # Without support in hardware, products in bfloat16 are slower than in float32. They are no bound then.
    has_fast_bfloat16 = matrix_rate(torch.bfloat16, device) > matrix_rate(torch.float32, device)
    print("ready", flush=True)
    for _ in sys.stdin:
        emulator_rate, stream_rate = emulators.measure()
        rates = {"matrix float32 FLOP/s": matrix_rate(torch.float32, device)}
        if has_fast_bfloat16:
            rates["matrix bfloat16 FLOP/s"] = matrix_rate(torch.bfloat16, device)
        rates["emulators steps/s"] = emulator_rate
        rates["stream steps/s"] = stream_rate
        print(json.dumps(rates), flush=True)


if __name__ == "__main__":
    main()
