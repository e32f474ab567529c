"""Training of several seeds with the same settings, as one group of runs.

Each seed is trained in a process of its own. The same command continues a group that was stopped: finished runs are
kept, interrupted runs are resumed, and the other seeds are started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Sequence

from rich.console import Console

from rl_lab import checkpoint
from rl_lab.errors import Fault, LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.experiment.training_job import TrainingJob
from rl_lab.system.cores import share_of_cores
from rl_lab.system.lock import lock_run
from rl_lab.system.printable import plain_text
from rl_lab.system.signals import handled_signals
from rl_lab.tracking.run_table import RunRow, RunTable

POLL_INTERVAL = 1.0  # seconds
SETTINGS_THAT_MAY_DIFFER = ("seed", "runs_dir", "address", "name", "tags", "notes")
AUTOMATIC = {"torch_threads": 0}
"""Values that a run resolves when it starts, of settings for which this value is not "auto"."""


class GroupStopped(Exception):
    """A signal stopped the training of a group. The runs that were training have saved a checkpoint."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


def plan_jobs(
    program: Sequence[str], training_args: Sequence[str], seeds: Sequence[int], config: Config
) -> list[TrainingJob]:
    """Return a job for each seed of a group.

    The job of a finished run has no command, and an interrupted run is resumed from its checkpoint. An interrupted run
    without a checkpoint is deleted and trained again.

    Args:
        program: The command line that starts this program.
        training_args: The command `train` with its arguments, without the seed and the group.
        seeds: The seeds.
        config: The configuration that results from `training_args`, with the name of the group.

    Raises:
        LabError: A run of the group has other settings, was interrupted and cannot be resumed, or is being trained by
            another process.
    """
    runs = _existing_runs(config)
    jobs = []
    for seed in seeds:
        command = [*program, *training_args, "--seed", str(seed), "--group", config.run.group]
        run = runs.get(seed)
        if run is None:
            jobs.append(TrainingJob(seed, command))
            continue
        _check_same_settings(config, run.config, seed)
        if is_finished(run):
            jobs.append(TrainingJob(seed, [], run=run))
        elif not is_resumable(config.agent):
            raise LabError(f"{run} was interrupted and cannot be resumed: remove it, or choose another --group")
        elif checkpoint.generations(run.path):
            jobs.append(TrainingJob(seed, [*program, "resume", str(run.path)], run=run))
        else:
            with lock_run(run.path):
                shutil.rmtree(run.path)
            jobs.append(TrainingJob(seed, command))
    return jobs


def train_group(jobs: Sequence[TrainingJob], *, parallel: int, group: str) -> None:
    """Run the jobs and display them in one table.

    Parallel jobs share the cores evenly: OMP_NUM_THREADS is the number of cores divided by `parallel`, unless the
    variable is already set. `parallel` is reduced to the number of jobs, including finished jobs, so that a job has the
    same number of threads when the group is continued. SIGINT, SIGTERM and SIGHUP are passed on to the jobs, which then
    save a checkpoint.

    Args:
        jobs: The jobs of all seeds.
        parallel: Maximum number of jobs that run at the same time.
        group: Name of the group.

    Raises:
        GroupStopped: A signal stopped the group.
        Fault: A job failed. The other jobs were still run.
    """
    parallel = min(parallel, len(jobs))
    environment = dict(os.environ)
    if parallel > 1:
        environment.setdefault("OMP_NUM_THREADS", str(share_of_cores(runs=parallel)))
    console = Console(highlight=False)
    console.print(plain_text(f"group {group}: seeds {', '.join(str(job.seed) for job in jobs)}"), soft_wrap=True)
    with _SignalForwarder(jobs) as signals, RunTable(console, f"group {group}") as table:
        while True:
            num_running = sum(job.state == "running" for job in jobs)
            waiting = [job for job in jobs if job.state == "waiting" and not signals.received]
            _start_jobs(waiting[: parallel - num_running], environment, signals)
            table.update([RunRow(f"seed {job.seed}", job.state, job.run) for job in jobs])
            if not num_running and not waiting:
                break
            time.sleep(POLL_INTERVAL)
    _report_unfinished_jobs(jobs, console, group, signals.received)


class _SignalForwarder:
    """Passes SIGINT, SIGTERM and SIGHUP on to the running jobs, inside a `with` block."""

    def __init__(self, jobs: Sequence[TrainingJob]) -> None:
        self.jobs = jobs
        self.received: list[int] = []  # numbers of the signals, oldest first

    def __enter__(self) -> _SignalForwarder:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(handled_signals(self._forward))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _forward(self, number: int, frame: object) -> None:
        """Handle signal `number`."""
        self.received.append(number)
        for job in self.jobs:
            job.send_signal(number)


def _start_jobs(jobs: Sequence[TrainingJob], environment: dict[str, str], signals: _SignalForwarder) -> None:
    """Start the jobs one by one, until a signal arrives."""
    for job in jobs:
        if signals.received:
            return
        job.start(environment)
        if signals.received:  # the signal arrived while the job was being started, and was not passed on to it
            job.send_signal(signals.received[0])


def _report_unfinished_jobs(jobs: Sequence[TrainingJob], console: Console, group: str, received: list[int]) -> None:
    """Print the last line of each job that was stopped or failed, and raise GroupStopped or Fault if there is one.

    The traceback of a failed job is printed before its last line.
    """
    failed = []
    for job in jobs:
        state = job.state
        if state not in ("stopped", "failed"):
            continue
        if state == "failed":
            for line in job.traceback():
                console.print(plain_text(line), soft_wrap=True)
        reason = job.problem or job.last_line()
        console.print(plain_text(f"seed {job.seed} {state}: {reason}"), soft_wrap=True)
        # If this process received no signal, another process stopped the job. This counts as a failure.
        if state == "failed" or not received:
            failed.append(str(job.seed))
    if failed:
        raise Fault(f"seed {', '.join(failed)} failed; the others are in the group {group}")
    if received:
        raise GroupStopped(received[0])


def _existing_runs(config: Config) -> dict[int, Run]:
    """Return the group's runs of this agent on this environment, by seed."""
    runs: dict[int, Run] = {}
    for run in Run.of_group(config.run.group, config.run.runs_dir):
        existing_config = run.config
        if (existing_config.agent, existing_config.run.env) == (config.agent, config.run.env):
            runs[existing_config.run.seed] = run
    return runs


def _check_same_settings(config: Config, existing_config: Config, seed: int) -> None:
    """Raise LabError if the existing run of a seed was started with other settings.

    A setting that is automatic in `config` is not compared, because `existing_config` holds its resolved value.
    """
    settings = config.to_dict()
    existing_settings = existing_config.to_dict()
    for name in sorted(settings.keys() | existing_settings.keys()):
        if name in SETTINGS_THAT_MAY_DIFFER or settings.get(name) == AUTOMATIC.get(name, "auto"):
            continue
        if settings.get(name) != existing_settings.get(name):
            raise LabError(
                f"the group {config.run.group} has seed {seed} with {name} {existing_settings.get(name)}, not"
                f" {settings.get(name)}; the same settings continue the group, another --group starts a new one"
            )
