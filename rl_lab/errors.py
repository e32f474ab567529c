"""The errors that a person can mend: shown as one line and no traceback."""

from agents.core.settings import ConfigError
from envs.spec import EnvError


class LabError(Exception):
    """What was asked cannot be, and what would be right, in one line: exit code 2."""


class Fault(Exception):
    """What broke while a run was going: exit code 1. Its last checkpoint is whole."""


USER_ERRORS = (LabError, ConfigError, EnvError)
