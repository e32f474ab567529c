"""Pack the parts of an observation into bytes, and read action masks from them (`envs.spec.PackedObservation`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.spec import PackedObservation


def pack(
    layout: PackedObservation,
    vectors: Sequence[NDArray[Any]],
    spatial: NDArray[Any] | None,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.uint8]:
    """Return the bytes of an observation.

    Args:
        layout: Where the parts lie.
        vectors: The vectors, float32.
        spatial: The image or planes [C, H, W], or None if there are none.
        mask: bool[num_masked], or None without a mask.
    """
    parts = [np.ascontiguousarray(vector, np.float32).ravel().view(np.uint8) for vector in vectors]
    if spatial is not None:
        parts.append(np.ascontiguousarray(spatial, layout.spatial_dtype).ravel().view(np.uint8))
    if mask is not None:
        parts.append(np.packbits(mask, bitorder="little"))
    packed = np.zeros(layout.num_bytes, np.uint8)
    joined = np.concatenate(parts)
    packed[: len(joined)] = joined
    return packed


def pack_masks(layout: PackedObservation, obs: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return observations uint8[N, num_bytes] with the action masks bool[N, num_masked] in place of their own."""
    mask_bytes = np.packbits(masks, axis=1, bitorder="little")
    changed = obs.copy()
    changed[:, layout.mask_start : layout.mask_start + mask_bytes.shape[1]] = mask_bytes
    return changed


def unpack_masks(layout: PackedObservation, obs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the masks bool[N, num_masked] of observations uint8[N, num_bytes]."""
    mask_bytes = obs[:, layout.mask_start : layout.mask_start + -(-layout.num_masked // 8)]
    return np.unpackbits(mask_bytes, axis=1, count=layout.num_masked, bitorder="little").astype(np.bool_)
