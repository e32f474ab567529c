"""Tests of who may enter a Ray cluster: a cluster of the lab refuses strangers, other clusters get the user's token."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from sweep_cluster import Cluster, Command

from rl_lab.distributed.ray_cluster import require_ray
from rl_lab.errors import LabError

HOLD_CLUSTER = """
import json, os, sys
import ray
from rl_lab.distributed.ray_cluster import connected

with connected(""):
    ray.get(ray.remote(lambda: 1).remote())  # a worker has started
    token_file = os.environ["RAY_AUTH_TOKEN_PATH"]
    print(json.dumps({"address": ray.get_runtime_context().gcs_address, "token_file": token_file}), flush=True)
    sys.stdin.readline()
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}), flush=True)
"""

STRANGER = """
import pathlib, sys
import ray

def enter(path):
    pathlib.Path(path).touch()

ray.init(address=sys.argv[1], log_to_driver=False)
ray.get(ray.remote(enter).remote(sys.argv[2]))
"""

METHODS = (  # a method of each service, all of which a stranger must not call
    "/ray.rpc.NodeInfoGcsService/GetClusterId",
    "/ray.rpc.InternalKVGcsService/InternalKVPut",
    "/ray.rpc.JobInfoGcsService/AddJob",
    "/ray.rpc.ActorInfoGcsService/CreateActor",
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.ObjectManagerService/Push",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.ReporterService/GetTraceback",
)

REQUESTS = (  # requests that run code or read files in a cluster without a token
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/api/jobs/"),
    ("POST", "/api/jobs/"),
    ("POST", "/api/job_agent/jobs/"),
    ("GET", "/api/v0/logs/file"),
    ("POST", "/get_or_create_runtime_env"),
)


class HeldCluster:
    """A cluster of the lab, held by a process of its own."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment["RAY_AUTH_MODE"] = "disabled"  # what the user set for other clusters does not open this one
        command = [sys.executable, "-c", HOLD_CLUSTER]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        self.address: str = answer["address"]
        self.token_file = Path(answer["token_file"])
        self.token = self.token_file.read_text()

    def processes(self) -> list[psutil.Process]:
        """Return the driver and all processes of the cluster."""
        driver = psutil.Process(self.process.pid)
        return [driver, *driver.children(recursive=True)]

    def listening(self) -> list[tuple[str, int]]:
        """Return the address and the port of each listening socket of the cluster."""
        sockets: set[tuple[str, int]] = set()
        for process in self.processes():
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    sockets.add((connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port))
        return sorted(sockets)

    def close(self) -> dict[str, str]:
        """End the cluster. Returns the variables of authentication that the driver had afterwards."""
        output, _ = self.process.communicate("end\n", timeout=60)
        return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def held_cluster() -> Iterator[HeldCluster]:
    held = HeldCluster()
    yield held
    if held.process.poll() is None:
        held.close()


def rpc_code(port: int, method: str, token: str | None) -> grpc.StatusCode:
    """Call a method with an empty message. Returns the status of the answer."""
    metadata = None if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", metadata=metadata, timeout=5)
        except grpc.RpcError as error:
            return error.code()  # pyright: ignore[reportAttributeAccessIssue]
    return grpc.StatusCode.OK


def http_status(port: int, method: str, path: str) -> int | None:
    """Return the status of a request without a token, None if the port does not speak HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request(method, path, body=json.dumps({"entrypoint": "true"}), headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def test_all_ports_of_the_cluster_are_on_the_loopback_interface(held_cluster: HeldCluster):
    sockets = held_cluster.listening()
    assert len(sockets) >= 5  # of the GCS, the raylet, its object manager, the agents and the worker
    assert {address for address, _ in sockets} == {"127.0.0.1"}


def test_no_port_of_the_cluster_answers_a_stranger(held_cluster: HeldCluster):
    gcs_port = int(held_cluster.address.split(":")[1])
    assert rpc_code(gcs_port, METHODS[0], held_cluster.token) is grpc.StatusCode.OK
    refused = []
    for _, port in held_cluster.listening():
        for method in METHODS:
            for token in (None, "0" * 64):
                code = rpc_code(port, method, token)
                assert code is not grpc.StatusCode.OK, (port, method, token)
                if code is grpc.StatusCode.UNAUTHENTICATED:
                    refused.append(method)
        statuses = {(method, path): http_status(port, method, path) for method, path in REQUESTS}
        assert all(status is None or status in (401, 403) for status in statuses.values()), (port, statuses)
        refused += [str(status) for status in statuses.values() if status is not None]
    assert {"401", *METHODS} - {METHODS[-1]} <= set(refused)


def test_only_the_owner_can_read_the_token_and_it_is_nowhere_else(held_cluster: HeldCluster):
    folder = held_cluster.token_file.parent
    assert held_cluster.token_file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    holders = [path for path in files if held_cluster.token.encode() in path.read_bytes()]
    assert holders == [held_cluster.token_file]
    for process in held_cluster.processes():
        assert held_cluster.token not in " ".join([*process.cmdline(), *process.environ().values()])


@pytest.mark.slow
def test_a_stranger_cannot_run_a_function(held_cluster: HeldCluster, tmp_path: Path):
    """The control: with the token the same program runs its function."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    inherited["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # otherwise Ray replaces 127.0.0.1 by the machine's address
    variables = {
        "without a mode": {},
        "without authentication": {"RAY_AUTH_MODE": "disabled"},
        "wrong token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        "right token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": held_cluster.token},
    }
    processes = {}
    for name, values in variables.items():
        command = [sys.executable, "-c", STRANGER, held_cluster.address, str(tmp_path / name)]
        processes[name] = subprocess.Popen(command, env={**inherited, **values, "HOME": str(tmp_path)})
    codes = {name: process.wait(120) for name, process in processes.items()}
    assert [name for name in variables if (tmp_path / name).exists()] == ["right token"]
    assert [name for name, code in codes.items() if code == 0] == ["right token"]


@pytest.mark.slow
def test_the_end_of_the_cluster_removes_the_token_and_restores_the_environment():
    held = HeldCluster()
    assert held.token_file.exists()
    processes = held.processes()
    assert held.close() == {"RAY_AUTH_MODE": "disabled"}
    assert not held.token_file.parent.exists()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


@pytest.mark.parametrize(("version", "is_accepted"), [("2.53.0", False), ("2.54.0", True), ("3.0.0rc1", True)])
def test_versions_of_ray_with_open_ports_are_refused(version: str, is_accepted: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    if is_accepted:
        require_ray()
    else:
        with pytest.raises(
            LabError, match=r"Ray 2\.53\.0 lets strangers run code; upgrade it with: pip install .rl-lab\[ray\]"
        ):
            require_ray()


SWEEP = ("sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1", "--steps", "300", "--wandb", "disabled")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 32}, "refuses the token"),
        ({"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "missing"}, "missing cannot be read or holds no token"),
        ({"RAY_AUTH_TOKEN": ""}, "auth_token cannot be read or holds no token"),
        ({"RAY_AUTH_MODE": "disabled"}, "refuses the token"),
    ],
)
def test_a_refused_token_ends_in_one_line(
    cluster: Cluster, variables: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, output = Command(tmp_path, *SWEEP).finish()
    assert code == 2, output
    _, line = output.splitlines()  # the first line says where the sweep is
    assert line.startswith("rl_lab: ")
    assert message in line
    assert "RAY_AUTH_TOKEN_PATH must name the file with the token of the Ray cluster" in line
    assert not list(tmp_path.glob("runs/sweeps/*"))


PLUGIN = """
import gymnasium as gym
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

gym.register("Mine-v0", entry_point="mine:CartPoleEnv", max_episode_steps=50)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ("train", "dqn", "--env", "mine:Mine-v0", "--collectors", "1", "--steps", "300"),
        ("sweep", "grid", "--agents", "dqn", "--envs", "mine:Mine-v0", "--steps", "300"),
    ],
)
def test_workers_find_an_environment_in_the_current_folder(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "mine.py").write_text(PLUGIN)
    code, output = Command(tmp_path, *args, "--wandb", "disabled", "--eval-episodes", "1").finish()
    assert code == 0, output
    texts: list[Any] = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("RAY_AUTH" in text for text in texts)
