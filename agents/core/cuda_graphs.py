"""CUDA graphs: capture the kernels of a function once, then launch them with one call.

A gradient step of a small network launches a few hundred kernels of some microseconds each, and the GPU waits for
Python between them. A captured graph (torch.cuda.CUDAGraph) launches all of them at once.

An agent calls `capture_methods` with the names of the methods to capture. Each method becomes a `CudaGraphFunction`,
which has three phases: the first calls run eagerly (warm-up), the next call captures the kernels and replays them, and
all later calls only replay them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

WARM_UP_CALLS = 3
"""Eager calls before the capture. In these calls, libraries choose algorithms and the optimiser allocates its state."""
MAX_GRAPHS = 8
"""Largest number of graphs of one function. Each graph keeps as much memory as one call allocates."""

TensorTree = Any
"""A tensor, or a tuple, list or dict of tensor trees."""


class Graph(Protocol):
    """Captured kernels, and the tensors that hold their results."""

    results: TensorTree

    def replay(self) -> None:
        """Launch the kernels again. They read and write the same memory as in the capture."""
        ...


Capture = Callable[[Callable[[], TensorTree]], Graph]
"""A function that calls another function, without arguments, and captures the kernels of this call."""


class CapturedGraph:
    """The kernels that a call of `function` launches on the current CUDA device. The capture does not execute them."""

    def __init__(self, function: Callable[[], TensorTree]) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.results = function()

    def replay(self) -> None:
        """Launch the kernels."""
        self.graph.replay()


class CudaGraphFunction:
    """A function of tensors that is captured after `WARM_UP_CALLS` calls and replayed from then on.

    Each signature (shapes and dtypes of the arguments, gradients enabled or not) has a graph of its own. Signatures
    beyond the first `MAX_GRAPHS` always run eagerly.

    The function must launch the same kernels in every call with one signature. A number that Python computes, such as a
    size, a flag or a learning rate of type float, keeps the value that it had in the capture. So a number that changes
    must be a tensor that is changed in place. Arguments and results are tensor trees. The results are copies, which
    later calls do not change.

    Args:
        function: Function to capture.
        capture: Class or function that captures a call. Tests on a CPU pass a substitute for `CapturedGraph`.
    """

    def __init__(self, function: Callable[..., TensorTree], capture: Capture = CapturedGraph) -> None:
        self.function = function
        self.capture = capture
        self.calls: dict[Any, int] = {}  # number of calls, by signature
        self.arguments: dict[Any, TensorTree] = {}  # tensors that each graph reads, by signature
        self.graphs: dict[Any, Graph] = {}  # by signature
        self.warm_up_stream: torch.cuda.Stream | None = None

    def __call__(self, *arguments: TensorTree) -> TensorTree:
        """Return the results of the function."""
        signature = _signature(arguments)
        self.calls[signature] = self.calls.get(signature, 0) + 1
        captured = signature in self.graphs
        if not captured and (self.calls[signature] <= WARM_UP_CALLS or len(self.graphs) == MAX_GRAPHS):
            return map_tensors(torch.clone, self._run_eagerly(arguments))
        if not captured:
            self._capture(signature, arguments)
        # A graph reads its arguments from fixed addresses, so the new arguments are copied there.
        map_tensors(lambda static, new: static.copy_(new), self.arguments[signature], arguments)
        graph = self.graphs[signature]
        graph.replay()
        return map_tensors(torch.clone, graph.results)

    def _capture(self, signature: Any, arguments: TensorTree) -> None:
        """Capture a call with copies of the arguments. `__call__` later writes its arguments into these copies."""
        static = map_tensors(torch.clone, arguments)
        self.arguments[signature] = static
        self.graphs[signature] = self.capture(lambda: self.function(*static))

    def _run_eagerly(self, arguments: tuple[TensorTree, ...]) -> TensorTree:
        """Call the function without a graph. If an argument is on a CUDA device, call the function in a side stream.

        PyTorch's instructions for CUDA graphs require the warm-up to run in a side stream.
        """
        if not any(tensor.is_cuda for tensor in tensor_leaves(arguments)):
            return self.function(*arguments)
        current = torch.cuda.current_stream()
        if self.warm_up_stream is None:
            self.warm_up_stream = torch.cuda.Stream()
        self.warm_up_stream.wait_stream(current)
        with torch.cuda.stream(self.warm_up_stream):
            results = self.function(*arguments)
        current.wait_stream(self.warm_up_stream)
        # The allocator may reuse the memory of a result only after the current stream has finished with the result.
        for tensor in tensor_leaves(results):
            tensor.record_stream(current)
        return results


Wrapper = Callable[[Callable[..., TensorTree]], Callable[..., TensorTree]]
"""A function that returns the captured version of a function, such as the class `CudaGraphFunction`."""


def capture_methods(instance: object, *names: str, wrapper: Wrapper = CudaGraphFunction) -> None:
    """Replace methods of one object by captured versions.

    The captured versions are attributes of the instance, which hide the methods of its class. A second call replaces
    the captured versions by new ones, which have no graphs yet. This is necessary when tensors that the graphs read
    have moved to other addresses, for example after a state was loaded.

    Args:
        instance: Object to change.
        names: Names of the methods.
        wrapper: Returns the captured version of a bound method.
    """
    for name in names:
        method = getattr(type(instance), name)  # from the class, because the instance may have a captured version
        setattr(instance, name, wrapper(method.__get__(instance)))


def map_tensors(function: Callable[..., Any], tree: TensorTree, *others: TensorTree) -> TensorTree:
    """Apply a function to each tensor of a tree, together with the tensors at the same place in the other trees.

    Args:
        function: Function with one argument for each tree.
        tree: The first tree.
        *others: Trees of the same structure.

    Returns:
        The tree of the results. Lists become tuples.
    """
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, dict):
        result = {}
        for key, branch in tree.items():
            other_branches = [other[key] for other in others]
            result[key] = map_tensors(function, branch, *other_branches)
        return result
    branches = [map_tensors(function, *parts) for parts in zip(tree, *others, strict=True)]
    if hasattr(tree, "_fields"):  # a NamedTuple
        return type(tree)(*branches)
    return tuple(branches)


def tensor_leaves(tree: TensorTree) -> list[Tensor]:
    """Return the tensors of a tree, in the order in which the tree contains them."""
    if isinstance(tree, Tensor):
        return [tree]
    branches = tree.values() if isinstance(tree, dict) else tree
    return [tensor for branch in branches for tensor in tensor_leaves(branch)]


def _signature(arguments: TensorTree) -> tuple[bool, str]:
    """Return the key of a graph: whether gradients are enabled, and the shapes and dtypes of the arguments."""
    shapes = map_tensors(lambda tensor: (tuple(tensor.shape), tensor.dtype), arguments)
    return torch.is_grad_enabled(), repr(shapes)
