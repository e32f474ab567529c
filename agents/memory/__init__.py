"""Memories that agents learn from: replay, rollouts, and the sum tree behind priorities."""
