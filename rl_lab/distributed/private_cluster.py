"""A Ray cluster that only this program can enter: on the loopback interface, with a token in a private folder.

Whoever reaches a Ray port without token authentication can run code, and by default Ray listens on all interfaces.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl_lab.errors import Fault, LabError
from rl_lab.system.signals import hangup_blocked

MAX_FOLDER_LENGTH = 20
"""Characters of the parent folder. The paths of Ray's sockets are up to 83 longer, and macOS allows 103 (Linux 107)."""

LOOPBACK = ("127.0.0.1", "::1")

SETTINGS = {  # environment variables of the processes of the cluster
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: listen on the loopback interface only
    # The servers of metrics ask for no token. They do not start, because port 65536 does not exist.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "65536",
    "DASHBOARD_METRIC_PORT": "65536",
}


@contextmanager
def private_cluster() -> Iterator[None]:
    """Start a Ray cluster for the duration of the `with` block, and connect to it.

    The token is in a file that only its owner can read. The file, Ray's sockets and Ray's logs are in a folder that
    only its owner can enter. The folder is removed at the end.

    Raises:
        Fault: Ray listens on another interface than loopback.
        LabError: The folder cannot be created.
    """
    folder = _make_folder()
    try:
        values = {**SETTINGS, "RAY_AUTH_TOKEN_PATH": str(_write_token(folder))}
        with environment(values, removed=("RAY_AUTH_TOKEN",)), _loopback_only(), _local_ray(folder):
            _check_loopback()
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reload_authentication() -> None:
    """Let Ray read the mode and the token again. Ray itself reads them once, when it is imported."""
    raylet: Any = importlib.import_module("ray._raylet")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def environment(values: Mapping[str, str], *, removed: tuple[str, ...] = ()) -> Iterator[None]:
    """Set and remove environment variables for the duration of the `with` block. Ray's authentication follows them."""
    previous = {name: os.environ.get(name) for name in (*values, *removed)}
    for name in removed:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        reload_authentication()
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        reload_authentication()


@contextmanager
def _local_ray(folder: Path) -> Iterator[None]:
    """Start Ray on this machine with its files in `folder`."""
    import ray

    try:
        with hangup_blocked():
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder / "r"),  # Ray makes this folder writable for everybody
            )
        yield
    finally:
        ray.shutdown()


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Let this process choose the loopback address for a new node. Ray read the variable when it was imported."""
    from ray._private import ray_constants

    previous = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = previous


def _check_loopback() -> None:
    """Raise Fault if the node of the cluster has an address that other machines can reach."""
    import ray

    addresses = [node["NodeManagerAddress"] for node in ray.nodes()]
    if any(address not in LOOPBACK for address in addresses):
        raise Fault(
            f"Ray {ray.__version__} listens on {', '.join(addresses)} instead of 127.0.0.1; use another version"
        )


def _make_folder() -> Path:
    """Create a folder that only its owner can enter."""
    parents = [os.environ.get("RAY_TMPDIR", ""), tempfile.gettempdir(), "/tmp"]
    parent = next((path for path in parents if path and len(path) <= MAX_FOLDER_LENGTH), tempfile.gettempdir())
    try:
        return Path(tempfile.mkdtemp(prefix="rl-lab-", dir=parent)).resolve()
    except OSError as error:
        raise LabError(
            f"Ray needs a folder for its sockets, and {parent} cannot hold it: {error.strerror}; set RAY_TMPDIR to a"
            " folder with a short path"
        ) from error


def _write_token(folder: Path) -> Path:
    """Write a new token to a file that only its owner can read. Returns the path of the file."""
    path = folder / "token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path
