"""Tests of tile coding."""

from __future__ import annotations

import numpy as np

from agents.core.tile_coding import TileCoding


def test_each_tiling_has_one_active_tile():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    active = coding(random_points())
    assert active.shape == (500, 4)
    assert (active // (coding.num_tiles // 4) == np.arange(4)).all()


def test_active_tile_follows_from_shifted_position():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    points = random_points()
    bounds = ((0, 1 / 3), (-2, 4 / 3))  # lowest value, width of a tile
    for point, tiles in zip(points, coding(points), strict=True):
        for k, tile in enumerate(tiles):
            position = []
            for d, (low, width) in enumerate(bounds):
                shift = k * (2 * d + 1) % 4 / 4
                position.append((point[d] - low) / width + shift)
            assert tile == k * 16 + int(position[0]) + 4 * int(position[1])


def test_bounds_are_covered():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    corners = coding(np.array([[1.0, 2.0], [0.0, -2.0]]))
    assert corners.max() < coding.num_tiles


def test_vectors_beyond_the_bounds_have_the_tiles_of_the_nearest_corner():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    beyond = coding(np.array([[7.0, 9.0], [-7.0, -9.0], [7.0, -9.0]]))
    corners = coding(np.array([[1.0, 2.0], [0.0, -2.0], [1.0, -2.0]]))
    np.testing.assert_array_equal(beyond, corners)


def test_near_vectors_share_tiles_and_distant_vectors_do_not():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    near = coding(np.array([[0.5, 0.0], [0.51, 0.01]]))
    distant = coding(np.array([[0.5, 0.0], [0.9, 1.9]]))
    assert (near[0] == near[1]).sum() >= 3
    assert (distant[0] == distant[1]).sum() == 0


def test_constant_entries_do_not_change_the_tiles():
    coding = TileCoding(((0.0, 1.0),), tilings=4, tiles=3)
    with_constant = TileCoding(((0.0, 1.0), (5.0, 5.0)), tilings=4, tiles=3)
    points = np.linspace(0, 1, 50)[:, None]
    pairs = np.concatenate([points, np.full((50, 1), 5.0)], axis=1)
    same = (coding(points)[:, None] == coding(points)[None]).all(2)
    same_with_constant = (with_constant(pairs)[:, None] == with_constant(pairs)[None]).all(2)
    np.testing.assert_array_equal(same, same_with_constant)


def test_observations_of_several_axes_are_read_as_vectors():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    points = random_points()
    np.testing.assert_array_equal(coding(points.reshape(-1, 2, 1)), coding(points))


def random_points() -> np.ndarray:
    """Return 500 points within the bounds of the tests, float64[500, 2]."""
    rng = np.random.default_rng(0)
    return rng.random((500, 2)) * [1, 4] - [0, 2]
