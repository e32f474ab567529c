"""The connection to Ray. All parts of the lab connect here, so none joins a cluster by accident."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rl_lab.errors import LabError


def require_ray() -> None:
    """Raise LabError if Ray or Optuna is not installed."""
    missing = [name for name in ("ray", "optuna") if importlib.util.find_spec(name) is None]
    if missing:
        raise LabError(f"{' and '.join(missing)} missing: pip install 'rl-lab[cluster]'")


def check_resources(cpu: float, gpu: float) -> None:
    """Raise LabError if no node of the cluster has the resources of one run. Ray itself would wait forever.

    Args:
        cpu: Cores of one run.
        gpu: GPUs of one run, or a fraction of one.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpu and node.get("GPU", 0) >= gpu for node in nodes):
        max_cpus = max((node.get("CPU", 0) for node in nodes), default=0)
        max_gpus = max((node.get("GPU", 0) for node in nodes), default=0)
        raise LabError(
            f"a run takes {cpu:g} cores and {gpu:g} GPUs (cpu_per_run, gpu_per_run); no node has them: the largest"
            f" numbers on a node are {max_cpus:g} and {max_gpus:g}"
        )


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a Ray cluster for the duration of the `with` block.

    Args:
        address: Address of the cluster; "auto" is a cluster on this machine. If it is empty, RAY_ADDRESS is used. If
            RAY_ADDRESS is not set either, a cluster is started that ends with the block.

    Raises:
        LabError: Ray is not installed, or no cluster answers.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the lab prints its own table of trials
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # metrics.jsonl holds the metrics
    import ray
    from ray.exceptions import RayError

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the lab prints failed trials in its own table
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(
            address=where,
            include_dashboard=False if where == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LabError(f"no Ray cluster answers at {where}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()
