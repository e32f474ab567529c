"""Arrange images in a grid, and write captions above images."""

from __future__ import annotations

import math

import numpy as np

from rl_lab.watch.images import BACKGROUND, RgbImage, draw_text

GAP = 4  # pixels between two tiles
CAPTION_HEIGHT = 18  # pixels


def image_grid(tiles: list[RgbImage], *, zoom: int, columns: int | None = None, gap: int = GAP) -> RgbImage:
    """Return an image that holds the tiles, row by row.

    Args:
        tiles: Images of one size.
        zoom: Size of each pixel of a tile, in pixels of the grid.
        columns: Tiles in a row. None is as many columns as rows, approximately.
        gap: Pixels between two tiles, and around the grid.
    """
    if columns is None:
        columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    tile_height, tile_width = tiles[0].shape[:2]
    row_height = zoom * tile_height + gap
    column_width = zoom * tile_width + gap
    grid = np.full((rows * row_height + gap, columns * column_width + gap, 3), BACKGROUND, np.uint8)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        y = gap + row * row_height
        x = gap + column * column_width
        zoomed = tile.repeat(zoom, axis=0).repeat(zoom, axis=1)
        grid[y : y + zoom * tile_height, x : x + zoom * tile_width] = zoomed
    return grid


def add_caption(image: RgbImage, text: str) -> RgbImage:
    """Return the image with a line of text above it."""
    height, width = image.shape[:2]
    captioned = np.full((height + CAPTION_HEIGHT, width, 3), BACKGROUND, np.uint8)
    captioned[CAPTION_HEIGHT:] = image
    draw_text(captioned, text, (3, 13), size=0.4)
    return captioned
