"""Settings of the process for all tests."""

import os
import signal

import torch

# One thread: the networks of the tests are small, and the results do not depend on the number of threads.
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)

# A shell makes background jobs ignore Ctrl-C, and nohup makes them ignore SIGHUP. The processes that tests start would
# inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
