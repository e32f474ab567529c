"""Settings of the process for all tests."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Messages name commands as `python -m rl_lab`, also if the script `rl-lab` is on the path (rl_lab.system.shell).
SCRIPTS = str(Path(sys.executable).parent)
os.environ["PATH"] = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder != SCRIPTS)

# One thread: the networks of the tests are small, and the results do not depend on the number of threads.
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)

# A shell makes background jobs ignore Ctrl-C, and nohup makes them ignore SIGHUP. The processes that tests start would
# inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Check that no test leaves PyTorch with more threads: the runs of later tests would then choose by their speed."""
    yield
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert num_threads == 1
