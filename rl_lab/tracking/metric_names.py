"""Names of the metrics in metrics.jsonl that several modules read, and of the x-axes of curves."""

from typing import Literal

STEP_METRIC = "global_step"
"""Agent steps of the run. Every line of metrics.jsonl has this entry; W&B uses it as the x-axis of all charts."""

SCORE_METRIC = "eval/return_mean"
"""Mean score of the episodes of an evaluation. A score is an undiscounted return, without reward clipping."""

LENGTH_METRIC = "eval/length_mean"
"""Mean length of the episodes of an evaluation in agent steps."""

CUT_METRIC = "eval/num_cut"
"""Episodes of an evaluation that were cut at `eval_max_steps`. Missing if all episodes were shorter than that."""

MINUTES_METRIC = "time/minutes"
"""Wall-clock minutes of training, over all parts of a resumed run."""

XAxis = Literal["steps", "frames", "minutes"]
"""X-axis of a learning curve: agent steps, emulator frames, or minutes of training."""
