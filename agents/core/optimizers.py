"""Construction of the optimiser, and one gradient step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from agents.configs.shared import OptimizerConfig
from agents.core.centered_rmsprop import CenteredRMSProp
from agents.core.eager_optimizers import EagerAdam, EagerRAdam, EagerRMSprop
from agents.core.settings import ConfigError


def build_optimizer(
    config: OptimizerConfig, params: Iterable[nn.Parameter], *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Return the optimiser that `config.optimizer` names.

    Settings of Adam and RMSprop that `config` lacks are PyTorch's defaults, such as RMSprop's decay rate of 0.99.

    With a weight decay above 0, every step first multiplies the decaying weights w by 1 - lr * weight_decay, then takes
    the step of the optimiser (Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2).

    Args:
        config: Name, learning rate, epsilon and weight decay.
        params: Parameters to optimise. Those with fewer than two dimensions do not decay.
        capturable: Build an optimiser whose steps can be captured as a CUDA graph. Its learning rate is a tensor.

    Raises:
        ConfigError: `capturable` is true and the optimiser is not adam, or it has no weight decay and the setting is
            above 0.
    """
    params = list(params)
    if config.weight_decay and config.optimizer not in ("adam", "radam"):
        raise ConfigError(
            f"weight_decay is {config.weight_decay:g} and optimizer is {config.optimizer}; it must be adam or radam"
        )
    if capturable:
        return _build_capturable_adam(config, params)
    if config.optimizer == "centered_rmsprop":
        return CenteredRMSProp(params, lr=config.lr, eps=config.optimizer_eps)
    if config.optimizer == "rmsprop":
        return EagerRMSprop(params, lr=config.lr, eps=config.optimizer_eps)
    groups = _decay_groups(params, config.weight_decay)
    if config.optimizer == "radam":
        return EagerRAdam(
            groups, lr=config.lr, eps=config.optimizer_eps, decoupled_weight_decay=config.weight_decay > 0
        )
    return EagerAdam(
        groups, lr=config.lr, eps=config.optimizer_eps, fused=True, decoupled_weight_decay=config.weight_decay > 0
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next steps.

    A learning rate in a tensor is changed in place, because CUDA graphs read the tensor by its address.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def clipped_gradient_step(optimizer: torch.optim.Optimizer, loss: Tensor, *, grad_clip: float) -> Tensor:
    """Take one optimiser step on the gradient of the loss.

    Only the parameters of the optimiser receive gradients, even if the loss depends on other parameters.

    Args:
        optimizer: Optimiser of the parameters.
        loss: Loss, f32[].
        grad_clip: Largest norm of the gradient of all parameters together. A longer gradient is scaled down to this
            norm. 0 disables clipping.

    Returns:
        Norm of the gradient before clipping, f32[].
    """
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for param in params:
        param.grad = None
    loss.backward(inputs=params)
    norm = gradient_norm(params)
    # On a CPU, gradients that are short enough need no scaling. On a GPU, the comparison would wait for the device, so
    # every gradient is scaled, a short one by 1.
    if grad_clip and (norm.device.type != "cpu" or norm > grad_clip):
        nn.utils.clip_grads_with_norm_(params, grad_clip, norm)
    optimizer.step()
    return norm


def gradient_norm(params: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of the gradients of all parameters together, f32[]. Parameters without a gradient count as 0."""
    norms = torch._foreach_norm([param.grad for param in params if param.grad is not None])
    return torch.linalg.vector_norm(torch.stack(norms))


def reset_optimizer_state(optimizer: torch.optim.Optimizer, params: Iterable[nn.Parameter]) -> None:
    """Set all numbers that the optimiser keeps for these parameters to 0, which are the numbers before its first step.

    The tensors stay the same, because CUDA graphs read them by their addresses.
    """
    for param in params:
        for tensor in optimizer.state.get(param, {}).values():
            tensor.zero_()


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[Any, dict[str, Tensor]]) -> None:
    """Load the "state" part of an optimiser's `state_dict`. Each tensor gets the memory format of its parameter.

    A fused kernel reads a parameter and its moments in the order of memory. Tensors from a file are contiguous, which
    is a different order than channels_last.

    Args:
        optimizer: Optimiser to change.
        state: For each index of a parameter, the tensors of this parameter by name. The indices may be strings.
    """
    params = [param for group in optimizer.param_groups for param in group["params"]]
    loaded = optimizer.state_dict()
    loaded["state"] = {int(index): _like_parameter(params[int(index)], parts) for index, parts in state.items()}
    optimizer.load_state_dict(loaded)


def _build_capturable_adam(config: OptimizerConfig, params: list[nn.Parameter]) -> EagerAdam:
    """Return Adam with its learning rate in a tensor f32[] on the device of the parameters."""
    if config.optimizer != "adam":
        raise ConfigError(f"cuda_graphs is true and optimizer is {config.optimizer}; it must be adam")
    lr = torch.tensor(config.lr, device=params[0].device)
    groups = _decay_groups(params, config.weight_decay)
    return EagerAdam(
        groups,
        lr=lr,
        eps=config.optimizer_eps,
        fused=True,
        capturable=True,
        decoupled_weight_decay=config.weight_decay > 0,
    )


def _decay_groups(params: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimiser: with weight decay two, decaying parameters first, otherwise one."""
    if not weight_decay:
        return [{"params": params}]
    groups = [
        {"params": [param for param in params if param.dim() > 1], "weight_decay": weight_decay},
        {"params": [param for param in params if param.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _like_parameter(param: nn.Parameter, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the memory format of the parameter. Scalars, such as the step counter, are not changed."""
    result = {}
    for name, tensor in parts.items():
        if tensor.dim():
            tensor = torch.empty_like(param).copy_(tensor)
        result[name] = tensor
    return result
