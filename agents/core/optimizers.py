"""Optimisers by name: torch's fused Adam and RMSProp, and the centred RMSProp of the 2015 DQN, which torch does not have."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError, CountOrZero, NonNegative, Positive

OptimizerName = Literal["adam", "rmsprop", "centered_rmsprop"]


@dataclass(frozen=True)
class OptimizerConfig:
    """Settings of the optimiser, shared by all agents that learn by gradient descent."""

    lr: Positive = 1e-4
    """Learning rate."""
    lr_end: Positive = 1e-4
    """Learning rate from agent step lr_steps on."""
    lr_hold: CountOrZero = 0
    """Agent steps before the learning rate begins to fall from lr to lr_end, linearly."""
    lr_steps: CountOrZero = 0
    """Agent step at which the learning rate reaches lr_end. 0 keeps it at lr."""
    optimizer: OptimizerName = "adam"
    """adam (Kingma and Ba 2015), rmsprop (Tieleman and Hinton 2012), or centered_rmsprop (Mnih et al. 2015)."""
    optimizer_eps: Positive = 1.5e-4
    """Epsilon of the optimiser, against division by zero."""
    grad_clip: NonNegative = 10.0
    """Largest norm of the gradient over all parameters (Pascanu et al. 2013). 0 disables clipping."""
    cuda_graphs: bool = False
    """Capture acting and updating as CUDA graphs. This needs the optimizer adam; devices other than CUDA ignore it.
    Untested: written without a CUDA device."""

    def learning_rate(self, steps: int) -> float:
        """Return the learning rate after `steps` agent steps."""
        if not self.lr_steps:
            return self.lr
        return linear_schedule(self.lr, self.lr_end, self.lr_steps, steps, hold=self.lr_hold)


class CenteredRMSProp(torch.optim.Optimizer):
    """RMSProp with the mean gradient taken off and epsilon under the root (Graves 2013, eqs. 38-40; Mnih et al. 2015).

        n <- a n + (1-a) g^2,    m <- a m + (1-a) g,    w <- w - lr g / sqrt(n - m^2 + eps)

    torch.optim.RMSprop(centered=True) adds eps outside the root, which is another algorithm where gradients are small.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, alpha: float = 0.95, eps: float = 1e-5) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            for p in params:
                if not self.state[p]:
                    self.state[p] = {"mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
            mean = [self.state[p]["mean"] for p in params]
            square = [self.state[p]["square"] for p in params]
            alpha = group["alpha"]
            torch._foreach_lerp_(mean, grads, 1 - alpha)
            torch._foreach_mul_(square, alpha)
            torch._foreach_addcmul_(square, grads, grads, 1 - alpha)
            root = torch._foreach_add(square, group["eps"])
            torch._foreach_addcmul_(root, mean, mean, -1.0)
            torch._foreach_sqrt_(root)
            torch._foreach_addcdiv_(params, grads, root, -group["lr"])


def eager(kind: type[torch.optim.Optimizer]) -> Any:
    """The same optimiser without torch's compiler, which it imports at its first call: that takes as long as torch itself.

    Nothing is compiled here. Some methods ask the compiler to leave them alone, and find its answer where it would put it;
    `step` would break its graph, and is taken as it was before it was wrapped. After it every parameter counts as changed, which
    the fused kernels forget to say: copies of them in another format are made anew (`encoders.in_format`).
    """
    for method in vars(torch.optim.Optimizer).values():
        if inspect.isfunction(plain := getattr(method, "__wrapped__", None)):
            setattr(plain, "__dynamo_disable", plain)
    plain_step = inspect.unwrap(kind.step)

    @torch.no_grad()
    def step(self: torch.optim.Optimizer) -> None:
        plain_step(self)
        torch.autograd.graph.increment_version([p for group in self.param_groups for p in group["params"]])

    return type(kind.__name__, (kind,), {"step": step})


Adam, RMSprop = eager(torch.optim.Adam), eager(torch.optim.RMSprop)


def build_optimizer(
    name: OptimizerName, params: Iterable[nn.Parameter], *, lr: float, eps: float, recorded: bool = False
) -> torch.optim.Optimizer:
    """The optimiser that a configuration names; `eps` is its term against division by zero.

    Its steps can be `recorded` as a CUDA graph where it is adam, whose learning rate is a tensor on the device then. Raises
    ConfigError for another.
    """
    if recorded:
        if name != "adam":
            raise ConfigError(f"cuda_graphs is true and optimizer is {name}; it must be adam")
        params = list(params)
        return Adam(params, lr=torch.tensor(lr, device=params[0].device), eps=eps, fused=True, capturable=True)
    if name == "centered_rmsprop":
        return CenteredRMSProp(params, lr=lr, eps=eps)
    if name == "rmsprop":
        return RMSprop(params, lr=lr, eps=eps)  # squared-gradient decay .99
    return Adam(params, lr=lr, eps=eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the steps to come; where it is a tensor, which a CUDA graph reads, in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, grad_clip: float) -> Tensor:
    """A step down the gradient of `loss`, shortened to the norm `grad_clip` if it is longer (0: never); its norm, f32[]."""
    optimizer.zero_grad()
    loss.backward()
    params = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
    if grad_clip and (norm.device.type != "cpu" or norm > grad_clip):  # another device would have to be waited for
        nn.utils.clip_grads_with_norm_(params, grad_clip, norm)
    optimizer.step()
    return norm


def load_moments(optimizer: torch.optim.Optimizer, moments: dict[Any, dict[str, Tensor]]) -> None:
    """Give an optimiser the `state` part of its `state_dict`, each tensor in the memory format of its parameter.

    A fused kernel walks parameter and moments in the order of memory: from a file they come contiguous, which is another
    order than channels_last.
    """
    whole = optimizer.state_dict()
    params = [p for group in optimizer.param_groups for p in group["params"]]
    whole["state"] = {
        int(i): {k: torch.empty_like(params[int(i)]).copy_(x) if x.dim() else x for k, x in parts.items()}
        for i, parts in moments.items()
    }
    optimizer.load_state_dict(whole)
