"""The command line."""

from rl_lab.cli.main import main

__all__ = ["main"]
