"""Bytes of memory for the parts of an agent, computed before anything is allocated.

An agent class may define a class method `memory_needs(config, spaces)`, which returns a list of `MemoryNeed`. For a
class without this method only `bytes_needed` counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from agents.core.types import EnvSpaces

MAX_BYTES = 2**62
"""Largest size of a tensor. The size of a network with a larger tensor is that of this tensor alone."""

MOMENTS = {"adam": 2, "radam": 2, "rmsprop": 1, "centered_rmsprop": 2}
"""Numbers that an optimiser keeps for each weight, by `OptimizerConfig.optimizer`."""

ACTIVATION_COPIES = 3
"""Copies of the outputs of a layer in an update: before and after ReLU, and their gradient."""

FLOAT_BYTES = 4


class MemoryNeed(NamedTuple):
    """The memory that one part of a training takes."""

    part: str  # "the replay"
    bytes: int
    advice: str  # what makes the part smaller: "lower replay_size"
    saved_bytes: int = 0  # bytes of the part in a checkpoint


class NetworkSize(NamedTuple):
    """The size of a network."""

    weight_bytes: int  # of all parameters and buffers
    outputs: int  # units of all fully connected and recurrent layers


def network_size(build: Callable[[], nn.Module]) -> NetworkSize:
    """Return the size of a network without allocating its weights.

    The weights are tensors on PyTorch's meta device, which have a shape and no memory.

    Args:
        build: Function that returns the network. The initial weights should be those of PyTorch: other initialisations
            compute with the weights.
    """
    try:
        with _WithoutMemory():
            network = build()
    except _TooLargeError as error:
        return NetworkSize(error.bytes, 0)
    except (AttributeError, RuntimeError, ValueError):  # the constructor of the agent will raise this error, too
        return NetworkSize(0, 0)
    tensors = network.state_dict().values()
    outputs = 0
    for module in network.modules():
        if isinstance(module, nn.Linear):
            outputs += module.out_features
        elif isinstance(module, nn.RNNCellBase):
            outputs += module.weight_hh.shape[0]
    return NetworkSize(sum(tensor.numel() * tensor.element_size() for tensor in tensors), outputs)


def agent_network_size(agent_class: Any, config: Any, spaces: EnvSpaces) -> NetworkSize:
    """Return the size of an agent's network without allocating the network.

    Args:
        agent_class: A class whose method `build_learning_network` reads `config`, `spaces` and `dtype` only.
        config: The settings, with a field `init`.
        spaces: Shapes and types of observations and actions.
    """
    agent = agent_class.__new__(agent_class)  # without __init__, which would allocate the networks
    agent.config = replace(config, init="torch")
    agent.spaces = spaces
    agent.dtype = torch.float32
    return network_size(agent.build_learning_network)


def learning_needs(size: NetworkSize, *, copies: int, optimizer: str, advice: str) -> MemoryNeed:
    """Return the memory of an agent's networks: their weights, the gradient, and the numbers of the optimiser.

    Args:
        size: Size of one network.
        copies: Networks with these weights: 2 with a target network.
        optimizer: Name of the optimiser.
        advice: What makes the network smaller.
    """
    gradient = 1
    saved_copies = copies + MOMENTS[optimizer]
    return MemoryNeed(
        "the network with gradient and optimiser",
        size.weight_bytes * (saved_copies + gradient),
        advice,
        saved_bytes=size.weight_bytes * saved_copies,
    )


def batch_needs(
    spaces: EnvSpaces, size: NetworkSize, *, samples: int, stack: int, filters: int, stacks: int, advice: str
) -> MemoryNeed:
    """Return a lower estimate of the memory of a batch: observations, and outputs of all layers with their gradient.

    Args:
        spaces: Shapes and types of observations and actions.
        size: Size of the network.
        samples: Samples in the batch.
        stack: Observations in a stack.
        filters: Filters of the first convolution, which has a stride of 4 for images and 1 for planes.
        stacks: Stacks for each sample: 2 with that of the next state.
        advice: What makes the batch smaller.
    """
    entries = stack * math.prod(spaces.obs_shape)
    outputs = size.outputs + entries  # images are converted to floats first
    if spaces.is_image:
        outputs += filters * math.prod(spaces.obs_shape[-2:]) // 16
    elif spaces.obs_kind == "planes":
        outputs += filters * math.prod(spaces.obs_shape[-2:])
    sample_bytes = stacks * entries * spaces.dtype.itemsize + ACTIVATION_COPIES * FLOAT_BYTES * outputs
    return MemoryNeed("a batch", samples * sample_bytes, advice)


def row_needs(spaces: EnvSpaces, size: NetworkSize, *, stack: int) -> MemoryNeed:
    """Return a lower estimate of the memory of the rows in flight, and of acting.

    In flight are the row that is played, the row that is learned, and the newest stacks.

    Args:
        spaces: Shapes and types of observations, and the number of environments.
        size: Size of the network.
        stack: Observations in a stack.
    """
    observations = stack + 2
    obs_bytes = observations * math.prod(spaces.obs_shape) * spaces.dtype.itemsize
    output_bytes = FLOAT_BYTES * size.outputs
    return MemoryNeed("the rows of the environments", spaces.num_envs * (obs_bytes + output_bytes), "lower num_envs")


class _TooLargeError(Exception):
    """A tensor has more than `MAX_BYTES` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.bytes = size


class _WithoutMemory(TorchFunctionMode):
    """Inside a `with` block, new tensors of layers lie on the meta device, and changes of such tensors do nothing.

    A `torch.device("meta")` block computes initial weights on the meta device. The first such computation imports
    PyTorch's compiler, which takes seconds.
    """

    FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.linspace})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace functions that create large tensors. Skip functions that change tensors in place."""
        kwargs = kwargs or {}
        if func in self.FACTORIES:
            return torch.empty(_shape(func, args, kwargs), dtype=kwargs.get("dtype"), device="meta")
        tensor = args[0] if args else kwargs.get("tensor")
        if isinstance(tensor, Tensor) and tensor.is_meta and _is_in_place(func):
            return tensor
        return func(*args, **kwargs)


def _shape(func: Any, args: Any, kwargs: Any) -> tuple[int, ...]:
    """Return the shape of the float32 tensor that a factory would create. Raise _TooLargeError if it is too large."""
    if func is torch.linspace:
        shape = (kwargs["steps"] if "steps" in kwargs else args[2],)
    else:
        size = args[0] if args else kwargs["size"]
        shape = tuple(args) if isinstance(size, int) else tuple(size)
    size_in_bytes = FLOAT_BYTES * math.prod(shape)
    if size_in_bytes > MAX_BYTES:
        raise _TooLargeError(size_in_bytes)
    return shape


def _is_in_place(func: Any) -> bool:
    """Return True if a function changes its first argument: `normal_`, or the operator *=."""
    name = getattr(func, "__name__", "")
    return name == "__imul__" or (name.endswith("_") and not name.startswith("_") and name != "requires_grad_")
