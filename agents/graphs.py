"""CUDA graphs: what a GPU does for a function is recorded once, and launched as a whole from then on.

A gradient step of a small network is a few hundred kernels of some microseconds each, and a GPU waits for Python to launch them
one after the other. A record of them is launched by one call (torch.cuda.CUDAGraph).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

WARM_UP = 3  # calls that run as they are, in which libraries choose their algorithms and an optimiser makes its moments


class Record(Protocol):
    """Kernels that can be launched again, and the tensors that they write their results to."""

    results: Any

    def replay(self) -> None: ...


class CudaRecord:
    """What `function()` launches on the current CUDA device, recorded and not carried out."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.results = function()

    def replay(self) -> None:
        self.graph.replay()


class Recorded:
    """A function of tensors, called like the function itself.

    After `WARM_UP` calls it is recorded, for each set of shapes by itself, and run from the record. So it must launch the same
    kernels at every call, with numbers that live in tensors: what Python computes, a size, a flag, a learning rate that is a
    float, stays as it was recorded. What it changes must be changed in place. Arguments and results are tensors, or tuples and
    dictionaries of them; results are copies that are nobody else's.
    """

    def __init__(
        self, function: Callable[..., Any], record: Callable[[Callable[[], Any]], Record] = CudaRecord
    ) -> None:
        self.function, self.record = function, record
        self.calls: dict[Any, int] = {}
        self.arguments: dict[Any, Any] = {}
        self.records: dict[Any, Record] = {}

    def __call__(self, *arguments: Any) -> Any:
        shapes = repr(mapped(lambda x: tuple(x.shape), arguments))
        self.calls[shapes] = calls = self.calls.get(shapes, 0) + 1
        if calls <= WARM_UP:
            return self._beside(arguments)
        if calls == WARM_UP + 1:
            self.arguments[shapes] = kept = mapped(torch.clone, arguments)
            self.records[shapes] = self.record(lambda: self.function(*kept))
        mapped(lambda kept, given: kept.copy_(given), self.arguments[shapes], arguments)
        self.records[shapes].replay()
        return mapped(torch.clone, self.records[shapes].results)

    def _beside(self, arguments: tuple[Any, ...]) -> Any:
        """The function itself, on a stream of its own: what is recorded later may have no ties to the default one."""
        if not torch.cuda.is_available():
            return self.function(*arguments)
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            results = self.function(*arguments)
        here.wait_stream(beside)
        mapped(lambda x: x.record_stream(here), results)
        return results


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of each tensor of a tree of tuples and dictionaries, with those at the same place of other trees."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, dict):
        return {key: mapped(function, x, *(other[key] for other in others)) for key, x in tree.items()}
    parts = [mapped(function, *parts) for parts in zip(tree, *others, strict=True)]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
