"""torch's Adam, RAdam and RMSprop without the import of torch's compiler.

The first call of a torch optimiser imports `torch._dynamo`, which takes as long as the import of torch itself. This
project does not compile its optimisers. So this module prevents the import in two places:

1. Methods of `torch.optim.Optimizer` that are excluded from compilation are wrapped. The wrapper imports the compiler
   once and stores the result as `__dynamo_disable` on the wrapped function. `_skip_compiler_import` stores the function
   itself.
2. `step` is wrapped as well. The classes of this module call the unwrapped function.
"""

from __future__ import annotations

import inspect

import torch

_adam_step = inspect.unwrap(torch.optim.Adam.step)
_radam_step = inspect.unwrap(torch.optim.RAdam.step)
_rmsprop_step = inspect.unwrap(torch.optim.RMSprop.step)


class EagerAdam(torch.optim.Adam):
    """Adam (Kingma and Ba 2015). The numbers are those of torch.optim.Adam."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the parameters from their gradients."""
        _adam_step(self)
        _mark_parameters_as_changed(self)


class EagerRAdam(torch.optim.RAdam):
    """RAdam (Liu et al. 2020). The numbers are those of torch.optim.RAdam."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the parameters from their gradients."""
        _radam_step(self)
        _mark_parameters_as_changed(self)


class EagerRMSprop(torch.optim.RMSprop):
    """RMSProp (Tieleman and Hinton 2012). The numbers are those of torch.optim.RMSprop."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the parameters from their gradients."""
        _rmsprop_step(self)
        _mark_parameters_as_changed(self)


def _mark_parameters_as_changed(optimizer: torch.optim.Optimizer) -> None:
    """Increment the version counter of every parameter.

    The fused kernels do not do this. `agents.nn.mixed_precision.cast_parameter` reads the counter to renew its cached
    copies.
    """
    for group in optimizer.param_groups:
        torch.autograd.graph.increment_version(group["params"])


def _skip_compiler_import() -> None:
    """Store each wrapped method of `torch.optim.Optimizer` as its own uncompiled version."""
    for method in vars(torch.optim.Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        if inspect.isfunction(plain):
            setattr(plain, "__dynamo_disable", plain)


_skip_compiler_import()
