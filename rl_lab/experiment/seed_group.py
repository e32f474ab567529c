"""Several seeds of the same training as one group: each is a run of its own, in a process of its own, one after another or side by side.

A group that was stopped goes on when it is asked for again under its name: runs that are through stay as they are, those that
were stopped are resumed, the others begin.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from rl_lab import checkpoint
from rl_lab.errors import Fault, LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.launch import is_finished
from rl_lab.experiment.registry import is_resumable
from rl_lab.experiment.run import Run
from rl_lab.system.cores import num_cores
from rl_lab.system.lock import lock_run
from rl_lab.tracking.run_table import RunRow, RunTable

REFRESH = 1.0  # seconds between two looks at the runs


def parse_seeds(text: str) -> list[int]:
    """1..5, or 1,3,8, or both mixed. Raises LabError."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?\s*", part)
        if match is None:
            raise LabError(f"seeds is {text!r}; it must be like 1..5 or 1,3,8")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= 2**31 or last - first >= 10_000:
            raise LabError(f"seeds is {text!r}; seeds lie below 2147483648, and at most 10,000 make a range")
        if last < first:
            raise LabError(f"seeds is {text!r}; {first}..{last} holds none")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise LabError(f"seeds is {text!r}; it names a seed twice")
    return seeds


@dataclass
class Job:
    """The training of one seed, seen from outside."""

    seed: int
    command: Sequence[str]
    process: subprocess.Popen[str] | None = None
    run: Run | None = None
    said: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    listener: threading.Thread | None = None

    def start(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def last_word(self) -> str:
        """What it said at the end."""
        if self.listener is not None:
            self.listener.join(5)
        return self.said[-1] if self.said else ""

    def _listen(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if self.run is None and (match := re.match(r"run folder (.+)$", line.rstrip())):
                self.run = Run(Path(match[1]))

    @property
    def state(self) -> str:
        if self.process is None:
            return "waiting" if self.command else "done"
        code = self.process.poll()
        return (
            "running" if code is None else "done" if code == 0 else "stopped" if code >= 128 or code < 0 else "failed"
        )


class Stopped(Exception):
    """A signal stopped the group; every run that had begun has saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


def jobs_of_group(lab: Sequence[str], training: Sequence[str], seeds: Sequence[int], config: Config) -> list[Job]:
    """What is left to do for each seed of the config's group: all of `lab training --seed S`, the rest, or nothing.

    Raises LabError where the group has that seed of this agent on this environment and cannot go on with it.
    """
    group = config.run.group
    there = {}
    for run in Run.of_group(group, config.run.runs_dir):
        its = run.config
        if (its.agent, its.run.env) == (config.agent, config.run.env):
            there[its.run.seed] = run
    jobs = []
    for seed in seeds:
        run = there.get(seed)
        anew = Job(seed, [*lab, *training, "--seed", str(seed), "--group", group])
        if run is None:
            jobs.append(anew)
            continue
        asked, has = config.to_dict(), run.config.to_dict()
        for key in sorted(asked.keys() | has.keys()):
            # "auto" and the like have become what they came to
            if (
                key not in ("seed", "runs_dir", "address")
                and asked.get(key) != has.get(key)
                and asked.get(key) != "auto"
            ):
                raise LabError(
                    f"the group {group} has seed {seed} with {key} {has.get(key)}, not {asked.get(key)};"
                    " the same settings go on with it, another --group begins anew"
                )
        if is_finished(run):
            jobs.append(Job(seed, [], run=run))
        elif is_resumable(config.agent) and checkpoint.generations(run.path):
            jobs.append(Job(seed, [*lab, "resume", str(run.path)], run=run))
        elif is_resumable(config.agent):  # cut off before its first checkpoint
            with lock_run(run.path):
                shutil.rmtree(run.path)
            jobs.append(anew)
        else:
            raise LabError(f"{run} was cut off and cannot be resumed: remove it, or choose another --group")
    return jobs


def train_group(all_jobs: Sequence[Job], *, side_by_side: int, group: str) -> None:
    """Do the jobs, so many at a time, and show them in one table.

    Those side by side share out the processor's cores (OMP_NUM_THREADS, unless it is set), the same way when the group goes on
    with fewer of them. Ctrl-C and SIGTERM are passed on: each run saves and says how to go on. Raises Stopped then, and Fault when
    one has failed (the others are trained all the same).
    """
    environment = dict(os.environ)
    side_by_side = min(side_by_side, len(all_jobs))
    if side_by_side > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // side_by_side)))
    asked: list[int] = []  # the signals that came

    def stop(number: int, frame: object) -> None:
        asked.append(number)
        for job in all_jobs:
            if job.state == "running" and job.process is not None:
                job.process.send_signal(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    console = Console(highlight=False)
    try:
        with RunTable(console, f"group {group}") as table:
            while True:
                running = sum(job.state == "running" for job in all_jobs)
                waiting = [job for job in all_jobs if job.state == "waiting" and not asked]
                for job in waiting[: side_by_side - running]:
                    if asked:
                        break
                    job.start(environment)
                    if asked and job.process is not None:  # while it began
                        job.process.send_signal(asked[0])
                table.update([RunRow(f"seed {job.seed}", job.state, job.run) for job in all_jobs])
                if not running and not waiting:
                    break
                time.sleep(REFRESH)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for job in all_jobs:
        if job.state in ("stopped", "failed"):
            console.print(f"seed {job.seed} {job.state}: {job.last_word()}", markup=False, soft_wrap=True)
    failed = [str(job.seed) for job in all_jobs if job.state == "failed" or (job.state == "stopped" and not asked)]
    if failed:
        raise Fault(f"seed {', '.join(failed)} failed; the others are in the group {group}")
    if asked:
        raise Stopped(asked[0])
