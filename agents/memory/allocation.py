"""Allocation of large tensors that fill up slowly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def allocate_zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor of zeros whose memory, on a CPU, is taken from the system only when it is written to.

    `torch.zeros` writes the zeros itself and so takes the whole memory at once. `numpy.zeros` requests zeroed pages
    from the operating system, which provides each page at the first write.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
    return torch.from_numpy(np.zeros(shape, numpy_dtype))
