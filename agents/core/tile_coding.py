"""Tile coding: binary features of a bounded vector (Sutton and Barto 2018, section 9.5.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class TileCoding:
    """Several tilings over the space of vectors, each shifted against the others.

    A tiling divides the space into tiles of equal size. A vector activates one tile of each tiling, so that
    neighbouring vectors share most of their active tiles. Tiling k is shifted along entry d by a fraction
    k (2 d + 1) mod tilings / tilings of a tile's width. These displacements (1, 3, 5, ...) are those that Sutton and
    Barto recommend.

    Args:
        bounds: (low, high) of each entry of a vector, D entries.
        tilings: Number of tilings.
        tiles: Tiles of a tiling along each entry.
    """

    def __init__(self, bounds: tuple[tuple[float, float], ...], tilings: int, tiles: int) -> None:
        low, high = np.array(bounds, np.float64).T
        self.low = low
        self.tile_width = np.where(high > low, (high - low) / tiles, 1.0)  # an entry may be constant
        displacement = np.arange(tilings)[:, None] * (2 * np.arange(len(bounds)) + 1)
        self.shift = displacement % tilings / tilings  # [tilings, D], in widths of a tile
        self.tiles_per_entry = tiles + 1  # a shifted tiling needs one more tile to cover the bounds
        self.num_tiles = self.count_tiles(len(bounds), tilings, tiles)
        self.first_tile = np.arange(tilings) * (self.num_tiles // tilings)  # index of the first tile of each tiling

    @staticmethod
    def count_tiles(entries: int, tilings: int, tiles: int) -> int:
        """Return the number of tiles over vectors of so many entries, in all tilings together."""
        return tilings * (tiles + 1) ** entries

    def __call__(self, obs: NDArray[Any]) -> NDArray[np.int64]:
        """Return the indices of the active tiles, i64[N, tilings], of observations with D entries each, [N, ...]."""
        position = (obs.reshape(len(obs), -1) - self.low) / self.tile_width
        tile = np.floor(position[:, None] + self.shift).astype(np.int64)  # [N, tilings, D]
        tile = tile.clip(0, self.tiles_per_entry - 1)
        return self.first_tile + tile @ self.tiles_per_entry ** np.arange(tile.shape[2])
