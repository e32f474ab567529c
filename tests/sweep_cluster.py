"""A Ray cluster of two nodes on this machine, and commands of the lab as processes.

    python sweep_cluster.py

prints the address of the cluster. Then each line of its input is executed: "kill" removes the second node, "add" adds
it again. The cluster is a process of its own, because Ray reads environment variables only when it is imported.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RAY_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on the loopback interface only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # by default workers give way to other processes, such as other tests
}


class Command:
    """`python -m rl_lab ARGS` as a process in a process group of its own, with its output in a file."""

    def __init__(self, folder: Path | str, *args: str) -> None:
        """Start the command in `folder`."""
        self.log = Path(folder) / f"output-{time.monotonic_ns()}.txt"
        with self.log.open("w") as file:
            command = [sys.executable, "-m", "rl_lab", *args]
            self.process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, start_new_session=True)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 120) -> Any:
        """Call the condition repeatedly, and return its first true value. Fail if the command ends or time is up."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return value

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def finish(self, seconds: float = 180) -> tuple[int, str]:
        """Wait until the command ends. Return its exit code and its output."""
        return self.process.wait(seconds), self.log.read_text()


class Cluster:
    """A cluster in a process of its own."""

    def __init__(self, folder: str) -> None:
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        self.address = self._read_answer()

    def do(self, command: str) -> None:
        """Execute "kill" or "add" of the second node, and wait until it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        self._read_answer()

    def close(self) -> None:
        """End the cluster."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def _read_answer(self) -> str:
        """Return the next line of the process that is meant for this class."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("cluster: "):
                return line.removeprefix("cluster: ").strip()
        raise AssertionError("the cluster has ended")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with one core each, at RAY_ADDRESS for the commands that a test starts."""
    environment = dict(os.environ)
    # A short path, because the length of the paths of Unix sockets is limited.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update(RAY_SETTINGS, RAY_AUTH_TOKEN=uuid.uuid4().hex, RAY_TMPDIR=folder)
        two_nodes = Cluster(folder)
        os.environ["RAY_ADDRESS"] = two_nodes.address
        try:
            yield two_nodes
        finally:
            two_nodes.close()
            os.environ.clear()
            os.environ.update(environment)


def main() -> None:
    """Start the cluster, print its address, and execute the commands from standard input."""
    from ray.cluster_utils import Cluster as RayCluster

    ray_cluster = RayCluster()
    options: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
    ray_cluster.add_node(**options)
    second_node = ray_cluster.add_node(**options)
    print(f"cluster: {ray_cluster.address}", flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            ray_cluster.remove_node(second_node, allow_graceful=False)
        else:
            second_node = ray_cluster.add_node(**options)
        print("cluster: done", flush=True)
    ray_cluster.shutdown()


if __name__ == "__main__":
    main()
