"""The first convolution of an image encoder, over frames or over differences of frames.

Both layers convert stacks of k frames, uint8[B, k, H, W] or uint8[B, k, C, H, W], oldest frame first, to the dtype that
the encoder computes in. `preprocess` is public, so that the online and the target network can share the preprocessed
images of a batch. The C channels of a colour image are treated alike. C is 1 for grey images.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class PreprocessedImages(NamedTuple):
    """Stacks of images in the form that the first convolution computes with.

    The type, not the dtype, tells `forward` that the pixels are preprocessed: a bare tensor is a stack of observations,
    which may be float32 too.
    """

    pixels: Tensor
    """[B, k * C, H, W]: whole numbers from 0 to 255 (`FramesConv2d`) or from -255 to 255 (`DifferencesConv2d`), in the
    encoder's dtype and in the memory format channels_last. With augmented intensities, they are not whole numbers."""


class FramesConv2d(nn.Conv2d):
    """The first convolution over a stack of k frames, each divided by 255 (Mnih et al. 2015).

    The weights are divided in place of the pixels. The result is equal up to rounding, and the pixels stay whole
    numbers from 0 to 255, which bfloat16 represents exactly.

    Args:
        stack: Frames k in a stack.
        filters: Output channels.
        kernel: Height and width of a filter.
        stride: Pixels between two positions of a filter.
        dtype: Dtype to compute in, torch.float32 or torch.bfloat16.
        colors: Channels C of a frame.
    """

    def __init__(
        self, stack: int, filters: int, kernel: int, stride: int, dtype: torch.dtype, *, colors: int = 1
    ) -> None:
        super().__init__(stack * colors, filters, kernel, stride)
        self.compute_dtype = dtype
        self.stack = stack
        self.colors = colors

    def scaled_weight(self) -> Tensor:
        """Return the weights of the frames, f32[filters, k * C, kernel, kernel], for pixels from 0 to 255."""
        return self.weight / 255

    def preprocess(self, obs: Tensor) -> PreprocessedImages:
        """Return the pixels of uint8[B, k, H, W] or uint8[B, k, C, H, W] in the dtype of the encoder."""
        if obs.dim() == 5:
            obs = obs.flatten(1, 2)
        return PreprocessedImages(to_channels_last(obs).to(self.compute_dtype))

    def forward(self, input: Tensor | PreprocessedImages) -> Tensor:
        """Return feature maps [B, filters, H', W'] of stacks of frames (`preprocess`), or of preprocessed images."""
        images = input if isinstance(input, PreprocessedImages) else self.preprocess(input)
        dtype = images.pixels.dtype
        assert self.bias is not None
        return self._conv_forward(images.pixels, self.scaled_weight().to(dtype), self.bias.to(dtype))


class DifferencesConv2d(FramesConv2d):
    """The first convolution over k - 1 differences of successive frames, and the newest frame minus its mean.

    The k input channels hold the same information as the k frames, except for the mean brightness of the newest frame.
    But the channels are centred, nearly uncorrelated and, with the differences multiplied by `CONTRAST`, of similar
    variance. So gradient descent does not first have to learn to cancel the static background (LeCun et al. 1998,
    "Efficient BackProp", section 4.3).

    The layer computes no differences of images. For a frame x, the next frame x' and a weight w of their difference,

        w (x' - x) = w x' - w x

    so w is added to the weight of x' and subtracted from that of x. The convolution takes no longer than one over
    frames. The mean of the newest frame, rounded to a whole number, is subtracted from all frames, which leaves the
    differences unchanged. So the pixels are whole numbers from -255 to 255, which bfloat16 represents exactly.
    """

    CONTRAST = 10.0  # In six games (random play), pixels varied 7 to 21 times as much as their differences.

    def __init__(
        self, stack: int, filters: int, kernel: int, stride: int, dtype: torch.dtype, *, colors: int = 1
    ) -> None:
        super().__init__(stack, filters, kernel, stride, dtype, colors=colors)
        # Row i holds the coefficients of input channel i as a sum over the frames. For i < k - 1, this channel is
        # CONTRAST * (frame i + 1 - frame i) / 255. The last channel is the newest frame / 255.
        difference_rows = self.CONTRAST * (torch.eye(stack).roll(1, 1) - torch.eye(stack))[:-1]  # [k - 1, k]
        newest_row = torch.eye(stack)[-1:]  # [1, k]
        channels_from_frames = torch.cat([difference_rows, newest_row]) / 255
        if colors > 1:  # each colour has input channels of its own
            channels_from_frames = torch.kron(channels_from_frames, torch.eye(colors))
        # [k * C channels, k * C frames]
        self.channels_from_frames = nn.Buffer(channels_from_frames, persistent=False)

    def scaled_weight(self) -> Tensor:
        """Return the weights of the frames, f32[filters, k * C, kernel, kernel], for the pixels of `preprocess`."""
        by_channel = self.weight.permute(0, 2, 3, 1)  # [filters, kernel, kernel, k * C channels]
        by_frame = by_channel @ self.channels_from_frames  # [filters, kernel, kernel, k * C frames]
        return by_frame.permute(0, 3, 1, 2)

    def preprocess(self, obs: Tensor) -> PreprocessedImages:
        """Return the pixels minus the mean of each newest frame (of each of its colours), in the encoder's dtype."""
        pixels = super().preprocess(obs).pixels
        newest = obs[:, -1:] if obs.dim() == 4 else obs[:, -1]  # [B, C, H, W]
        mean = newest.float().mean((2, 3), keepdim=True).round()  # [B, C, 1, 1]
        if self.colors > 1:
            mean = mean.repeat(1, self.stack, 1, 1)
        if obs.dtype == torch.uint8:
            return PreprocessedImages(pixels.sub_(mean.to(self.compute_dtype)))
        return PreprocessedImages(pixels - mean.to(self.compute_dtype))  # the pixels may be those of `obs`


def to_channels_last(frames: Tensor) -> Tensor:
    """Return the frames [B, k, H, W] with the shape unchanged, but with the memory order [B, H, W, k].

    Frames in this order are returned themselves.

    `contiguous(memory_format=torch.channels_last)` gives the same tensor, but takes twice as long on a CPU.
    """
    if frames.is_contiguous(memory_format=torch.channels_last):
        return frames
    return torch.stack(frames.unbind(1), -1).permute(0, 3, 1, 2)
