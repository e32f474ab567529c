"""CUDA graphs: what a GPU does for a function is recorded once, and launched as a whole from then on.

A gradient step of a small network is a few hundred kernels of some microseconds each, and a GPU waits for Python to launch them
one after the other. A record of them is launched by one call (torch.cuda.CUDAGraph).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

MOST_RECORDS = 8  # of a function: each keeps memory of its own, as much as the function takes
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


class CudaGraphFunction:
    """A function of tensors, called like the function itself.

    After `WARM_UP` calls it is recorded, for each kind of arguments (shapes, formats, with gradients or without) by itself, and
    run from the record; kinds that come when there are `MOST_RECORDS` already run as they are. So it must launch the same
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
        self.stream: torch.cuda.Stream | None = None  # where it warms up

    def __call__(self, *arguments: Any) -> Any:
        kind = torch.is_grad_enabled(), repr(mapped(lambda x: (tuple(x.shape), x.dtype), arguments))
        self.calls[kind] = calls = self.calls.get(kind, 0) + 1
        if calls <= WARM_UP or (kind not in self.records and len(self.records) == MOST_RECORDS):
            return mapped(torch.clone, self._warmed_up(arguments))
        if kind not in self.records:
            self.arguments[kind] = kept = mapped(torch.clone, arguments)
            self.records[kind] = self.record(lambda: self.function(*kept))
        mapped(lambda kept, given: kept.copy_(given), self.arguments[kind], arguments)
        self.records[kind].replay()
        return mapped(torch.clone, self.records[kind].results)

    def _warmed_up(self, arguments: tuple[Any, ...]) -> Any:
        """The function itself; on a GPU on a stream of its own, for what is recorded may have no ties to the default one."""
        on_gpu: list[bool] = []
        mapped(lambda x: on_gpu.append(x.is_cuda), arguments)
        if not any(on_gpu):
            return self.function(*arguments)
        here, self.stream = torch.cuda.current_stream(), self.stream or torch.cuda.Stream()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            results = self.function(*arguments)
        here.wait_stream(self.stream)
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
