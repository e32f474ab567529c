"""Settings of the agents. The modules do not import torch, so that `train AGENT --help` need not wait for it."""
