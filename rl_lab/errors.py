"""Errors that commands report in one line, without a traceback. Importing this module does not import torch."""

from agents.core.settings import ConfigError
from envs.errors import EnvError, EnvFault


class LabError(Exception):
    """A request that cannot be fulfilled. The message is one line and says what would be right. Exit code 2."""


class Fault(Exception):
    """An error that ended a run in progress, whose last checkpoint is intact. Exit code 1."""


USER_ERRORS = (LabError, ConfigError, EnvError)
"""Errors that the user can correct. Exit code 2."""

FAULTS = (Fault, EnvFault)
"""Errors of a command in progress. Exit code 1."""
