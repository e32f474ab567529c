"""Names of the metrics in metrics.jsonl that several modules read, and of the x-axes of curves."""

from typing import Literal

STEP_METRIC = "global_step"
"""Agent steps of the run. Every line of metrics.jsonl has this entry; W&B uses it as the x-axis of all charts."""

SCORE_METRIC = "eval/return_mean"
"""Mean score of the episodes of an evaluation. A score is an undiscounted return, without reward clipping."""

MINUTES_METRIC = "time/minutes"
"""Wall-clock minutes of training, over all parts of a resumed run."""

XAxis = Literal["steps", "frames", "minutes"]
"""X-axis of a learning curve: agent steps, emulator frames, or minutes of training."""
