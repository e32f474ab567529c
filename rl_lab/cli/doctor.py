"""The command `doctor`."""

from __future__ import annotations

from rl_lab.errors import LabError
from rl_lab.system.exit_codes import CommandExit
from rl_lab.system.printable import count_of
from rl_lab.system.shell import PROG


def doctor_command(args: list[str]) -> None:
    """Print a description of this machine and the problems of the installation. Exit with code 1 if there are problems.

    Raises:
        LabError: There are arguments.
    """
    if args in (["-h"], ["--help"]):
        print(f"usage: {PROG} doctor\nDescribe this machine, and report problems of the installation (exit code 1).")
        return
    if args:
        raise LabError(f"doctor takes no options, not {' '.join(args)}")
    from rl_lab.system.diagnosis import describe_machine, find_problems

    for line in describe_machine():
        print(line, flush=True)  # the updates take minutes on a machine whose cores are busy
    for line in _describe_updates():
        print(line)
    problems = find_problems()
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if not problems:
        print("no problems found")
    raise CommandExit(1 if problems else 0)


def _describe_updates() -> list[str]:
    """Return a line with the time of an update of dqn on Pong, by threads and precision, as a run would measure it."""
    from rl_lab import api
    from rl_lab.experiment.training_plan import plan_training
    from rl_lab.system.update_speed import describe

    config, env_spec = api.resolve_run("dqn", "Pong", {})
    plan = plan_training(config, env_spec)
    if not plan.compute.measured:
        return []
    chosen = f"{plan.config.run.precision}, {count_of(plan.compute.threads, 'torch thread')}"
    return [f"updates of dqn on Pong, in ms by threads: {describe(plan.compute.measured)}; a run takes {chosen}"]
