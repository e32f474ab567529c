"""One torch thread for all tests: their networks are small, and what they compare is the same on any number."""

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)
