"""Running mean and variance of samples that arrive in batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Mean and variance of all samples so far, as buffers of a network.

    Before the first sample the mean is 0 and the variance 1. The buffers change in place, so CUDA graphs may read them.

    The buffers are float64. After 1e8 samples, a batch of 8 moves the mean by less than 1e-7 of the distance between
    both means, and float32 would round such a step to 0. On mps, which has no float64, the buffers are float32.

    Args:
        shape: Shape of a sample. The moments of its entries are independent of each other.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, samples: Tensor, counted: Tensor | None = None) -> None:
        """Add a batch of samples, without waiting for a GPU.

        With s the share of the batch in all samples, d the difference of both means, and v and v' the variances of the
        earlier samples and of the batch (Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing
        sample variances", in the form of shares):

            mean <- mean + s d
            variance <- (1 - s) v + s v' + s (1 - s) d^2

        Args:
            samples: The samples [B, *shape].
            counted: bool[B], False for samples to leave out. None counts all samples.
        """
        samples = samples.to(self.mean.dtype)
        if counted is None:
            counted = torch.ones(len(samples), dtype=torch.bool, device=samples.device)
        weight = counted.to(samples.dtype).view(-1, *[1] * (samples.dim() - 1))
        batch_count = weight.sum()
        divisor = batch_count.clamp(min=1)
        batch_mean = (samples * weight).sum(0) / divisor
        batch_variance = ((samples - batch_mean).square() * weight).sum(0) / divisor
        self.count += batch_count
        share = batch_count / self.count.clamp(min=1)
        difference = batch_mean - self.mean
        self.mean.lerp_(batch_mean, share)
        self.variance.lerp_(batch_variance, share)
        self.variance += share * (1 - share) * difference.square()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RunningMoments:
        """Move or convert the buffers, as `Module.to` requests. Convert to float32 first on the way to mps."""
        if fn(torch.empty(0)).device.type == "mps":
            for name, buffer in self._buffers.items():
                assert buffer is not None
                self._buffers[name] = buffer.float()
        return super()._apply(fn, recurse)
