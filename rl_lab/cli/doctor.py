"""The command `doctor`."""

from __future__ import annotations

import sys

from rl_lab.errors import LabError
from rl_lab.system.shell import PROG


def doctor_command(args: list[str]) -> None:
    if args in (["-h"], ["--help"]):
        print(f"usage: {PROG} doctor\nWhat this machine has; exit code 1 if something is wrong with it.")
        return
    if args:
        raise LabError(f"doctor takes no options, not {' '.join(args)}")
    from rl_lab.system.doctor import report

    lines, problems = report()
    print("\n".join([*lines, *(f"PROBLEM: {p}" for p in problems)]))
    sys.exit(1 if problems else 0)
