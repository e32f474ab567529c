"""Memories that agents learn from: the replay memory and the rollout, and the structures that they are built from."""
