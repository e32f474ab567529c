"""The errors that a person can mend: shown as one line, exit code 2, no traceback."""

from agents.base import ConfigError
from envs.card import EnvError


class LabError(Exception):
    """What went wrong with a run, a file or the machine, and what would be right, in one line."""


USER_ERRORS = (LabError, ConfigError, EnvError)
