"""What happened between two lines of the log."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_lab.errors import Fault
from rl_lab.training.training_loop import LoopStep


class MetricsWindow:
    """Means over the updates and games since the last line. Metrics stay on the device until the line is written."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.metrics: list[Tensor] = []  # one vector a row that learned, in the order of `names`
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def add(self, tick: LoopStep) -> None:
        """Take in what one row brought."""
        if tick.metrics:
            self.names = list(tick.metrics)
            self.metrics.append(torch.stack([x.float() for x in tick.metrics.values()]))
        self.returns += [game.score for game in tick.episodes]
        self.lengths += [game.length for game in tick.episodes]

    def close(self) -> dict[str, float]:
        """The means; a new window begins. Raises Fault where the loss is no finite number any more."""
        values: dict[str, float] = {}
        if self.metrics:
            values = dict(zip(self.names, torch.stack(self.metrics).mean(0).tolist(), strict=True))
        if self.returns:
            values |= {"train/return": float(np.mean(self.returns)), "train/length": float(np.mean(self.lengths))}
        self.metrics, self.returns, self.lengths = [], [], []
        if not np.isfinite(values.get("loss", 0.0)):
            raise Fault(f"the loss is {values['loss']}: lower lr, or set grad_clip")
        return values

    def state_dict(self) -> dict[str, Any]:
        """The window so far."""
        metrics = {"metrics": torch.stack(self.metrics)} if self.metrics else {}
        return {"names": self.names, "returns": self.returns, "lengths": self.lengths, **metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a window that `state_dict` described."""
        self.names, self.returns, self.lengths = state["names"], state["returns"], state["lengths"]
        self.metrics = list(state["metrics"]) if "metrics" in state else []
