"""The command line: one module for each command. `main` dispatches to them."""

from rl_lab.cli.main import main

__all__ = ["main"]
