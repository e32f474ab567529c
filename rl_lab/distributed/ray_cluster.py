"""The connection to Ray. All parts of the lab connect here, so none joins a cluster by accident."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from envs.optional_packages import install_command
from rl_lab.distributed.private_cluster import environment, private_cluster
from rl_lab.errors import LabError
from rl_lab.system.optional_packages import RAY_PACKAGES, require_packages
from rl_lab.system.printable import print_line

MIN_RAY = (2, 54)  # the first release that requires the token on every port (pyproject.toml)

ANSWER_SECONDS = 15  # the longest time that a cluster may take to answer

HOW_TO_GIVE_TOKEN = "RAY_AUTH_TOKEN_PATH must name the file with the token of the Ray cluster (docs/scale.md)"


def require_ray(purpose: str = "a cluster") -> None:
    """Raise LabError if Ray or Optuna is not installed, or if Ray is too old.

    Args:
        purpose: What needs Ray, as the beginning of the message.
    """
    require_packages(RAY_PACKAGES, purpose)
    version = importlib.metadata.version("ray")
    major, minor = (int(number) for number in version.split(".")[:2])
    if (major, minor) < MIN_RAY:
        raise LabError(f"Ray {version} lets strangers run code; upgrade it with: {install_command('ray')}")


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
            RAY_ADDRESS is not set either, a cluster is started that ends with the block (`private_cluster`).

    Raises:
        LabError: Ray is not installed, no cluster answers, or the cluster refuses the token.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the lab prints its own table of trials
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # metrics.jsonl holds the metrics
    from ray.exceptions import RayError

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the lab prints failed trials in its own table
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    with ExitStack() as stack:
        try:
            stack.enter_context(private_cluster() if where == "local" else _existing_cluster(where))
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            reason = " ".join(str(error).split())[:200]
            raise LabError(f"no Ray cluster answers at {where}: {reason}") from error
        yield


@contextmanager
def _existing_cluster(address: str) -> Iterator[None]:
    """Connect to a cluster that somebody else started, with the token of this user if there is one.

    Ray takes the token from RAY_AUTH_TOKEN, from the file RAY_AUTH_TOKEN_PATH, or from ~/.ray/auth_token.
    """
    import ray

    has_token = _has_token()
    values = {"RAY_AUTH_MODE": "token"} if has_token and "RAY_AUTH_MODE" not in os.environ else {}
    with environment(values):
        if ":" in address and "://" not in address:
            _check_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        if not has_token:
            print_line(
                f"rl_lab: the Ray cluster at {address} is entered without a token; whoever reaches its ports can run"
                " code (docs/scale.md)",
                file=sys.stderr,
            )
        try:
            yield
        finally:
            ray.shutdown()


def _has_token() -> bool:
    """Return True if this user has a token for a cluster.

    Raises:
        LabError: RAY_AUTH_MODE or RAY_AUTH_TOKEN_PATH demands a token that does not exist.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return False
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    named_file = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    file = Path(named_file) if named_file else Path.home() / ".ray" / "auth_token"
    try:
        has_token = bool(file.read_text().strip())
    except (OSError, ValueError):
        has_token = False
    if not has_token and (named_file or mode == "token"):
        raise LabError(f"{file} cannot be read or holds no token; {HOW_TO_GIVE_TOKEN}")
    return has_token


def _check_answer(address: str) -> None:
    """Raise LabError if no cluster answers, or if the cluster refuses the token.

    Ray itself does not distinguish the two, and prints a line for each of its attempts.

    Args:
        address: host:port.
    """
    import grpc

    if os.environ.get("RAY_USE_TLS", "0") not in ("0", "false", "False", ""):
        return  # the certificates are Ray's business
    raylet: Any = importlib.import_module("ray._raylet")
    headers = raylet.AuthenticationTokenLoader.instance().get_token_for_http_header()
    metadata = tuple((name.lower(), value) for name, value in headers.items())
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        try:
            ask(b"", metadata=metadata, timeout=ANSWER_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            code = error.code()  # pyright: ignore[reportAttributeAccessIssue]
            if code is grpc.StatusCode.UNAUTHENTICATED:
                raise LabError(f"the Ray cluster at {address} refuses the token: {HOW_TO_GIVE_TOKEN}") from None
            if code is not grpc.StatusCode.UNIMPLEMENTED:
                raise LabError(f"no Ray cluster answers at {address} within {ANSWER_SECONDS} s") from None
