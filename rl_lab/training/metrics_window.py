"""Means of metrics between two lines of the log."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_lab.errors import Fault
from rl_lab.training.training_loop import LoopStep


class MetricsWindow:
    """Collects the metrics of updates and the scores of episodes since the last line of the log.

    Metrics stay on the agent's device until the window is closed, so collecting them never waits for the device.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.metrics: list[Tensor] = []  # one vector [len(names)] for each row that brought updates
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def add(self, step: LoopStep) -> None:
        """Add the outcome of one row."""
        if step.metrics:
            self.names = list(step.metrics)
            self.metrics.append(torch.stack([value.float() for value in step.metrics.values()]))
        self.returns += [episode.score for episode in step.episodes]
        self.lengths += [episode.length for episode in step.episodes]

    def close(self) -> dict[str, float]:
        """Return the means and clear the window. Raises Fault if the mean loss is not finite."""
        means: dict[str, float] = {}
        if self.metrics:
            means = dict(zip(self.names, torch.stack(self.metrics).mean(0).tolist(), strict=True))
        if self.returns:
            means["train/return"] = float(np.mean(self.returns))
            means["train/length"] = float(np.mean(self.lengths))
        self.metrics = []
        self.returns = []
        self.lengths = []
        if not np.isfinite(means.get("loss", 0.0)):
            raise Fault(f"the loss is {means['loss']}: lower lr, or set grad_clip")
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the content of the window."""
        state: dict[str, Any] = {"names": self.names, "returns": self.returns, "lengths": self.lengths}
        if self.metrics:
            state["metrics"] = torch.stack(self.metrics)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the content that `state_dict` returned."""
        self.names = state["names"]
        self.returns = state["returns"]
        self.lengths = state["lengths"]
        self.metrics = list(state["metrics"]) if "metrics" in state else []
