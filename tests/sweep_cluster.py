"""A Ray cluster of two nodes on loopback, in a process of its own, and commands that use it.

    python sweep_cluster.py     prints the address; then each line of its input is done: kill (the second node), add

Of its own, because Ray reads its environment once, when it is imported.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on loopback alone
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # by default they wait for the tests beside them
}


class Command:
    """`python -m rl_lab ARGS` as a process of its own group; what it says goes to a file."""

    def __init__(self, cwd, *args):
        self.log = Path(cwd) / f"said-{time.monotonic_ns()}.txt"
        with self.log.open("w") as file:
            command = [sys.executable, "-m", "rl_lab", *args]
            self.process = subprocess.Popen(command, cwd=cwd, stdout=file, stderr=file, start_new_session=True)

    def wait_for(self, condition, seconds=120):
        """The first true value of the condition; fails when the command ends before, or time is up."""
        until = time.monotonic() + seconds
        while not (value := condition()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        return value

    def kill(self):
        self.process.kill()
        self.process.wait()

    def finish(self, seconds=180):
        """Its exit code and what it said."""
        return self.process.wait(seconds), self.log.read_text()


class Cluster:
    """The cluster, seen from a test."""

    def __init__(self, folder):
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        self.address = self._answer()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("cluster: "):
                return line.removeprefix("cluster: ").strip()
        raise AssertionError("the cluster has ended")

    def do(self, what):
        """kill or add the second node."""
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        self._answer()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a core each, at RAY_ADDRESS for the commands that a test runs."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update(PRIVATE, RAY_AUTH_TOKEN=uuid.uuid4().hex, RAY_TMPDIR=folder)  # short: sockets' paths are
        found = Cluster(folder)
        os.environ["RAY_ADDRESS"] = found.address
        try:
            yield found
        finally:
            found.close()
            os.environ.clear()
            os.environ.update(before)


def main():
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes()
    options = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
    second = [nodes.add_node(**options), nodes.add_node(**options)][1]
    print(f"cluster: {nodes.address}", flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            nodes.remove_node(second, allow_graceful=False)
        else:
            second = nodes.add_node(**options)
        print("cluster: done", flush=True)
    nodes.shutdown()


if __name__ == "__main__":
    main()
