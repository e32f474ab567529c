"""The evaluation after the training of a suite's run, and the result file written from it."""

from __future__ import annotations

import math
from pathlib import Path

from rl_lab import api
from rl_lab.compare.run_result import read_results
from rl_lab.errors import Fault
from rl_lab.experiment.run import Run
from rl_lab.suite.result_file import FinalEvaluation, FinalScores, SuiteResult
from rl_lab.system.origin import describe_commit, describe_machine_briefly
from rl_lab.system.update_speed import torch_threads
from rl_lab.tracking.summary import summarise_metrics

LEFT_OUT_SETTINGS = {
    *("agent", "env", "seed", "steps"),  # entries of their own in a result file
    *("runs_dir", "group", "wandb", "wandb_project", "address", "init_from"),  # they belong to a machine or a person
}
"""Settings that a result file does not repeat."""


def write_final_result(run: Run, request: FinalEvaluation) -> None:
    """Evaluate the last network of a finished run, and write its result file. A file that exists is left unchanged.

    The episodes depend only on the seed of the run, so a repeated evaluation gives the same scores.

    Raises:
        Fault: A score is not finite.
        LabError: The file cannot be written.
    """
    path = Path(request.path)
    if path.exists():
        return
    config = run.config
    agent = api.load_agent(run, which="last")
    options = api.EvaluationOptions(request.games, request.epsilon, config.run.seed, request.cut)
    with torch_threads(config.run.torch_threads):
        evaluation = api.evaluate_agent(run, agent, options)
    if not math.isfinite(evaluation.mean):
        raise Fault(f"{run}: the mean score of the evaluation after training is {evaluation.mean}")
    SuiteResult(
        agent=request.agent,
        env=request.env,
        seed=config.run.seed,
        steps=config.run.steps,
        settings={name: value for name, value in config.to_dict().items() if name not in LEFT_OUT_SETTINGS},
        commit=describe_commit(),
        machine=describe_machine_briefly(config.run.device),
        minutes=round(summarise_metrics(run.metrics(), None)["minutes"], 2),
        curve=_curve(run),
        final=FinalScores(evaluation.mean, evaluation.std, evaluation.returns),
    ).write(path)


def _curve(run: Run) -> list[list[float]]:
    """Return the evaluations during training as [agent steps, mean score]. Scores that are not finite are left out."""
    results, _ = read_results([run])
    if not results:
        return []
    (result,) = results
    return [[int(step), float(score)] for step, score in zip(result.steps, result.values, strict=True)]
