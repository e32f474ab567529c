"""Random augmentation of the images in a batch, as regularisation of an agent that learns from little data.

Both augmentations change the sampled copies of observations in an update. What the agent sees when it acts, and what
the replay memory stores, stays as it is.

- Random shift: pad an image by `shift` pixels on each side, repeating the pixels at its edge, and crop it to its size
  at a random place (Kostrikov et al. 2020, "Image augmentation is all you need", called DrQ, with 4 pixels).
- Intensity: multiply an image by 1 + intensity * clip(x, -2, 2), where x is standard normal (Kostrikov et al. 2020, and
  Schwarzer et al. 2021, "Data-efficient reinforcement learning with self-predictive representations", with 0.05).

All images of a stack share their random numbers, so that movements within the stack stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.configs.shared import ReplayConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.nn.pixel_convolutions import to_channels_last

MAX_DEVIATION = 2.0
"""Largest absolute value of the normal noise of the intensity."""


class Augmentation:
    """Augments stacks of images with new random numbers in every call.

    Args:
        shift: Largest shift in pixels, in each direction. 0 disables shifts.
        intensity: Scale of the noise on the brightness. 0 disables this noise.
        generator: Generator of the random numbers, on the device of the images.
    """

    def __init__(self, shift: int, intensity: float, generator: torch.Generator) -> None:
        self.shift = shift
        self.intensity = intensity
        self.generator = generator

    def __call__(self, images: Tensor) -> Tensor:
        """Return augmented copies of images [B, ..., H, W]. Images with the same index in B are changed alike.

        Returns:
            Images of the same shape: uint8 without noise on the brightness, float32 with it.
        """
        batch_size = len(images)
        device = images.device
        if self.shift:
            corner = torch.randint(2 * self.shift + 1, (2, batch_size), generator=self.generator, device=device)
            images = crop_padded(images, corner, self.shift)
        if self.intensity:
            noise = torch.randn(batch_size, generator=self.generator, device=device)
            images = change_intensity(images, noise, self.intensity)
        return images


def build_augmentation(config: ReplayConfig, spaces: EnvSpaces, generator: torch.Generator) -> Augmentation | None:
    """Return the augmentation of the sampled observations, or None if the settings disable it.

    Raises:
        ConfigError: The settings enable an augmentation, and the observations are not images.
    """
    if not config.augment_shift and not config.augment_intensity:
        return None
    if not spaces.is_image:
        name = "augment_shift" if config.augment_shift else "augment_intensity"
        raise ConfigError(f"{name} is {getattr(config, name):g}; it is for image observations only, so leave it out")
    return Augmentation(config.augment_shift, config.augment_intensity, generator)


def crop_padded(images: Tensor, corner: Tensor, padding: int) -> Tensor:
    """Pad images by the pixels at their edges, and crop them to their size.

    Args:
        images: [B, ..., H, W].
        corner: Row and column of the upper left corner of the crop in each padded image, int64[2, B], each from 0 to
            2 * padding. The corner (padding, padding) gives the image itself.
        padding: Pixels added on each side.

    Returns:
        The crops, of the shape and dtype of `images`.
    """
    height, width = images.shape[-2:]
    padded = _padded(_flat_stacks(images), padding)
    # On a CPU, copies of slices take half of the time of an index. On a GPU, they would wait for the corners.
    crop = _crop_by_slices if images.device.type == "cpu" else crop_by_index
    return crop(padded, corner, height, width).view(images.shape)


def crop_by_index(padded: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """Return crops [B, M, height, width] of images [B, M, H, W] with the upper left corners int64[2, B]."""
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B, M, row, column, height, width], a view
    index = torch.arange(len(padded), device=padded.device)
    row, column = corner
    return windows[index, :, row, column]


def _crop_by_slices(padded: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """Return the result of `crop_by_index`."""
    crops = []
    for images, row, column in zip(padded, *corner.tolist(), strict=True):
        crops.append(images[:, row : row + height, column : column + width])
    return torch.stack(crops)


def change_intensity(images: Tensor, noise: Tensor, scale: float) -> Tensor:
    """Return the images [B, ..., H, W] times 1 + scale * clip(noise, -2, 2), float32. The noise is float32[B].

    Products above 255 are kept. The result is in the memory format in which convolutions compute fastest.
    """
    factor = 1 + scale * noise.clamp(-MAX_DEVIATION, MAX_DEVIATION)
    # A product of uint8 and float32 takes five times as long as the conversion and a product in place.
    product = to_channels_last(_flat_stacks(images)).float().mul_(factor[:, None, None, None])
    return product.unflatten(1, images.shape[1:-2])


def _flat_stacks(images: Tensor) -> Tensor:
    """Return images [B, ..., H, W] as [B, M, H, W] with the M images of each stack."""
    return images.reshape(len(images), -1, *images.shape[-2:])


def _padded(images: Tensor, padding: int) -> Tensor:
    """Return images [B, M, H, W] with `padding` copies of the pixels at each edge, [B, M, H + 2 padding, ...].

    torch.nn.functional.pad has no such padding of uint8.
    """
    batch_size, num_images, height, width = images.shape
    padded = images.new_empty(batch_size, num_images, height + 2 * padding, width + 2 * padding)
    inner_rows = padded[:, :, padding : padding + height]
    inner_rows[..., padding : padding + width] = images
    inner_rows[..., :padding] = images[..., :1]
    inner_rows[..., padding + width :] = images[..., -1:]
    padded[:, :, :padding] = padded[:, :, padding : padding + 1]
    padded[:, :, padding + height :] = padded[:, :, padding + height - 1 : padding + height]
    return padded
