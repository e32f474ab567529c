"""One torch thread for all tests: their networks are small, and what they compare is the same on any number. And Ctrl-C as ever."""

import os
import signal

import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)
# A shell's background jobs ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
