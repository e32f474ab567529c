"""The connection to Ray, made in one place, so that nothing joins a cluster that nobody asked for."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rl_lab.errors import LabError


def require_ray() -> None:
    """Raise LabError where Ray is not installed."""
    missing = [name for name in ("ray", "optuna") if importlib.util.find_spec(name) is None]
    if missing:
        raise LabError(f"{' and '.join(missing)} missing: pip install 'rl-lab[cluster]'")


def check_room(cpu: float, gpu: float) -> None:
    """Raise LabError where no node of the cluster has so much: Ray would wait for one for ever."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpu and node.get("GPU", 0) >= gpu for node in nodes):
        most = max((node.get("CPU", 0) for node in nodes), default=0)
        gpus = max((node.get("GPU", 0) for node in nodes), default=0)
        raise LabError(
            f"a run takes {cpu:g} cores and {gpu:g} GPUs (cpu_per_run, gpu_per_run); no node has them, the most are"
            f" {most:g} and {gpus:g}"
        )


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Inside, Ray runs: the cluster at `address` ("auto" is this machine's), else at RAY_ADDRESS, else one of this process alone.

    Raises LabError where no cluster answers.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the lab has its own table
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # metrics.jsonl has it all
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the table says it in a line
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(
            address=where,
            include_dashboard=False if where == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:  # type: ignore[attr-defined]
        raise LabError(f"no Ray cluster answers at {where}: {' '.join(str(error).split())[:200]}") from error
    try:
        yield
    finally:
        ray.shutdown()
