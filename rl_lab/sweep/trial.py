"""One trial of a grid or search: trains a run in a Ray worker and reports its evaluations to Tune.

A trial is an ordinary run folder with the lab's exact checkpoints; Tune stores only metrics. If a worker or a node
dies, Tune restarts the trial, and the trial resumes the run from its last checkpoint. All nodes must therefore share
the folder.
"""

from __future__ import annotations

import shutil
from typing import Any

from ray import tune

from rl_lab import checkpoint
from rl_lab.errors import Fault
from rl_lab.experiment import launch
from rl_lab.experiment.registry import is_resumable, load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.suite.final_evaluation import write_final_result
from rl_lab.sweep.trial_result import TuneReporter, exits_are_faults, trial_result
from rl_lab.sweep.trial_spec import TrialSpec
from rl_lab.system.lock import lock_run

LOCK_TIMEOUT = 60.0  # seconds to wait for the lock of the run: an earlier process on a lost node may still hold it


@exits_are_faults()
def train_trial(params: dict[str, Any]) -> None:
    """Train the run of a trial to its end, and report its result. Tune calls this function in a worker.

    If the run folder exists, a finished run is only reported, and an unfinished run is resumed. A run that cannot be
    resumed is removed and starts again. A run of a suite is then evaluated, unless its result file exists.

    Args:
        params: Parameters of the trial (`TrialSpec.from_params`).

    Raises:
        Fault: The run ended before it was finished.
    """
    load_env_plugins()
    spec = TrialSpec.from_params(params, tune.get_context().get_trial_id())
    run = Run(spec.path)
    if not spec.path.exists():
        _start(spec)
    elif not _is_finished(run):
        if is_resumable(spec.config.agent) and checkpoint.generations(spec.path):
            launch.resume(run, quiet=True, listener=TuneReporter(run))
        else:
            shutil.rmtree(spec.path)
            _start(spec)
    if not launch.is_finished(run):
        raise Fault(f"{run} ended before it had all its steps")
    if spec.final_evaluation is not None:
        write_final_result(run, spec.final_evaluation)
    tune.report(trial_result(run))


def _start(spec: TrialSpec) -> None:
    """Train a new run."""
    launch.train(spec.config, spec.env_spec, quiet=True, path=spec.path, listener=TuneReporter(Run(spec.path)))


def _is_finished(run: Run) -> bool:
    with lock_run(run.path, timeout=LOCK_TIMEOUT):
        return launch.is_finished(run)
