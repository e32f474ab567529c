"""The centred RMSProp of Graves 2013, with which Mnih et al. 2015 trained DQN."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn


class CenteredRMSProp(torch.optim.Optimizer):
    """RMSProp that divides by the standard deviation of the gradient (Graves 2013, equations 38 to 40).

        n <- alpha n + (1 - alpha) g^2
        m <- alpha m + (1 - alpha) g
        w <- w - lr g / sqrt(n - m^2 + eps)

    n - m^2, the variance of the gradient, counts as 0 where rounding makes it negative.

    torch.optim.RMSprop(centered=True) adds eps outside the square root. The two differ where gradients are small.

    Args:
        params: Parameters to optimise.
        lr: Learning rate.
        alpha: Decay rate of the running means n and m.
        eps: Constant added under the square root.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, alpha: float = 0.95, eps: float = 1e-5) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the parameters from their gradients. A closure is not supported."""
        if closure is not None:
            raise NotImplementedError("CenteredRMSProp.step takes no closure")
        for group in self.param_groups:
            self._update_group(group["params"], group["lr"], group["alpha"], group["eps"])
        return None

    def _update_group(self, params: list[Tensor], lr: float, alpha: float, eps: float) -> None:
        """Update the parameters of one group. Parameters without a gradient stay as they are."""
        params = [param for param in params if param.grad is not None]
        grads = [param.grad for param in params if param.grad is not None]
        for param in params:
            if not self.state[param]:
                self.state[param] = {"mean": torch.zeros_like(param), "square": torch.zeros_like(param)}
        mean = [self.state[param]["mean"] for param in params]
        square = [self.state[param]["square"] for param in params]
        torch._foreach_lerp_(mean, grads, 1 - alpha)
        torch._foreach_mul_(square, alpha)
        torch._foreach_addcmul_(square, grads, grads, 1 - alpha)
        root = torch._foreach_add(square, eps)
        torch._foreach_addcmul_(root, mean, mean, -1.0)
        # Rounding can make n - m^2 negative where the gradient hardly changes. The square root would then be NaN.
        torch._foreach_clamp_min_(root, eps)
        torch._foreach_sqrt_(root)
        torch._foreach_addcdiv_(params, grads, root, -lr)
