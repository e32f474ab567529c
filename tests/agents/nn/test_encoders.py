"""Tests of the encoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agents.configs.shared import NetworkConfig, Pixels
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, PackedLayout
from agents.nn.encoders import CodeEmbedding, FrameDifferenceEncoder, NatureCNN, PackedEncoder, PlanesCNN, build_encoder
from agents.nn.pixel_convolutions import DifferencesConv2d, FramesConv2d

ATARI = EnvSpaces((84, 84), torch.uint8, 6, 8)
VECTOR = EnvSpaces((4,), torch.float32, 2, 8)
CODES = EnvSpaces((3, 5, 4), torch.uint8, 2, 8, kind="planes")


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("pixels", ["frames", "differences"])
def test_first_convolution_equals_convolution_over_its_channels(pixels: Pixels, k: int):
    encoder = build_encoder(ATARI, NetworkConfig(frame_stack=k, pixels=pixels))
    assert isinstance(encoder, NatureCNN)
    first = encoder.conv[0]
    assert isinstance(first, nn.Conv2d)
    assert first.bias is not None
    obs = torch.randint(0, 256, (3, k, 84, 84), dtype=torch.uint8)
    channels = obs.double() / 255
    if pixels == "differences":
        newest = channels[:, -1:]
        centred = newest - (255 * newest.mean((2, 3), keepdim=True)).round() / 255
        differences = [10 * (channels[:, i + 1 : i + 2] - channels[:, i : i + 1]) for i in range(k - 1)]
        channels = torch.cat([*differences, centred], 1)
    expected = nn.functional.conv2d(channels, first.weight.double(), first.bias.double(), 4)
    assert torch.allclose(first(obs).double(), expected, atol=1e-5)


@pytest.mark.parametrize("filters", [4, 32])
def test_data_efficient_encoder_is_two_convolutions_and_a_hidden_layer(filters: int):
    """84 pixels become 16 of kernel 5 and stride 5, and 16 become 3. The oracle sums over patches by hand."""
    config = NetworkConfig(frame_stack=4, encoder="data_efficient", pixels="frames", filters=filters, hidden=7)
    encoder = build_encoder(ATARI, config)
    assert isinstance(encoder, NatureCNN)
    obs = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    first, second = (layer for layer in encoder.conv if isinstance(layer, nn.Conv2d))
    features = obs.double() / 255
    for layer, side in ((first, 16), (second, 3)):
        assert layer.bias is not None
        patches = features[:, :, : 5 * side, : 5 * side].unflatten(3, (side, 5)).unflatten(2, (side, 5))
        sums = torch.einsum("bcyixj,ocij->boyx", patches, layer.weight.double())
        features = (sums + layer.bias.double()[:, None, None]).relu()
    assert features.shape == (2, 2 * filters, 3, 3)
    hidden = next(layer for layer in encoder.hidden if isinstance(layer, nn.Linear))
    expected = (features.flatten(1) @ hidden.weight.double().T + hidden.bias.double()).relu()
    assert torch.allclose(encoder(obs).double(), expected, atol=1e-5)


@pytest.mark.parametrize("spaces", [VECTOR, CODES], ids=["vector", "planes"])
def test_data_efficient_encoder_is_for_images_only(spaces: EnvSpaces):
    with pytest.raises(ConfigError, match="encoder is data_efficient; it is for images only"):
        build_encoder(spaces, NetworkConfig(encoder="data_efficient"))


def test_frame_difference_can_be_negative():
    """The difference of two uint8 frames must not wrap around."""
    encoder = FrameDifferenceEncoder(4, 3)
    obs = torch.tensor([[[[1, 0], [1, 1]], [[0, 1], [1, 0]]]], dtype=torch.uint8)
    expected = encoder.hidden(torch.tensor([[-1.0, 1.0, 0.0, -1.0]])).relu()
    assert torch.equal(encoder(obs), expected)


@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_encoder_without_last_layer_has_one_layer_less(spaces: EnvSpaces):
    config = NetworkConfig(hidden=16, frame_stack=4)
    encoder = build_encoder(spaces, config, include_last=False)
    assert encoder.features == (7 * 7 * 64 if spaces.is_image else 16)
    num_linear = sum(isinstance(layer, nn.Linear) for layer in encoder.modules())
    assert num_linear == (0 if spaces.is_image else 1)


@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_hidden_replaces_the_setting(spaces: EnvSpaces):
    assert build_encoder(spaces, NetworkConfig(hidden=16)).features == 16
    assert build_encoder(spaces, NetworkConfig(hidden=16), hidden=32).features == 32


def test_vectors_are_encoded_in_float32():
    encoder = build_encoder(VECTOR, NetworkConfig(hidden=8), dtype=torch.bfloat16)
    assert encoder(torch.randn(5, 1, 4)).dtype == torch.float32


def test_images_are_encoded_in_the_given_dtype():
    encoder = build_encoder(ATARI, NetworkConfig(hidden=8), dtype=torch.bfloat16)
    obs = torch.randint(0, 256, (2, 1, 84, 84), dtype=torch.uint8)
    assert encoder(obs).dtype == torch.bfloat16


# --- Planes -----------------------------------------------------------------------------------------------------------


def naive_convolution(planes: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return a convolution of 3x3 with padding, [F, H, W], of planes [C, H, W]."""
    _, height, width = planes.shape
    result = np.zeros((len(weight), height, width))
    for f in range(len(weight)):
        for y in range(height):
            for x in range(width):
                total = bias[f]
                for dy in range(3):
                    for dx in range(3):
                        row, column = y + dy - 1, x + dx - 1
                        if 0 <= row < height and 0 <= column < width:
                            total += planes[:, row, column] @ weight[f, :, dy, dx]
                result[f, y, x] = total
    return result


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("k", [1, 2])
def test_planes_are_encoded_by_a_convolution_over_all_planes_of_the_stack(k: int, dtype: torch.dtype):
    spaces = EnvSpaces((3, 5, 4), dtype, 2, 8, kind="planes")
    encoder = build_encoder(spaces, NetworkConfig(frame_stack=k, filters=6, hidden=7))
    assert isinstance(encoder, PlanesCNN)
    convolution = encoder.conv[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    nn.init.normal_(convolution.bias)
    obs = torch.randint(0, 11, (2, k, 3, 5, 4)).to(dtype)
    weight, bias = convolution.weight.detach().double().numpy(), convolution.bias.detach().double().numpy()
    for i in range(2):
        planes = np.concatenate(list(obs[i].double().numpy()))  # [k * C, H, W], the oldest observation first
        expected = np.maximum(naive_convolution(planes, weight, bias), 0).ravel()
        np.testing.assert_allclose(encoder.conv(obs.float().flatten(1, 2))[i].detach(), expected, rtol=1e-4, atol=1e-4)
    linear = encoder.hidden[0]
    assert isinstance(linear, nn.Linear)
    features = encoder.conv(obs.float().flatten(1, 2))
    torch.testing.assert_close(encoder(obs), linear(features).relu())
    assert (encoder.features, encoder(obs).dtype) == (7, torch.float32)


def test_features_of_planes_without_the_last_layer_are_those_of_the_convolution():
    encoder = build_encoder(CODES, NetworkConfig(filters=6, hidden=7), include_last=False)
    assert encoder.features == 6 * 5 * 4
    assert encoder(torch.zeros(2, 1, 3, 5, 4, dtype=torch.uint8)).shape == (2, 6 * 5 * 4)


def test_embedded_codes_equal_a_convolution_over_one_hot_codes():
    embedding = CodeEmbedding(3)
    codes = torch.randint(0, 256, (2, 4, 3, 5, 6), dtype=torch.uint8)
    one_hot = nn.functional.one_hot(codes.long(), 256)  # [B, k, C, H, W, 256]
    one_hot = one_hot.permute(0, 1, 2, 5, 3, 4).flatten(2, 3).flatten(0, 1)  # [B * k, C * 256, H, W]
    weight = embedding.vectors.weight.T[:, :, None, None]  # [16, C * 256, 1, 1]
    expected = nn.functional.conv2d(one_hot.float(), weight).unflatten(0, (2, 4))
    torch.testing.assert_close(embedding(codes), expected, rtol=1e-4, atol=1e-5)


def test_planes_with_embedded_codes_are_the_convolution_of_the_embedding():
    encoder = build_encoder(CODES, NetworkConfig(frame_stack=2, filters=6, hidden=7, codes="embed"))
    assert isinstance(encoder, PlanesCNN)
    assert encoder.embedding is not None
    obs = torch.randint(0, 11, (3, 2, 3, 5, 4), dtype=torch.uint8)
    embedded = torch.cat([encoder.embedding(obs)[:, 0], encoder.embedding(obs)[:, 1]], 1)  # [B, 32, H, W]
    convolution, linear = encoder.conv[0], encoder.hidden[0]
    assert isinstance(convolution, nn.Conv2d)
    expected = nn.functional.conv2d(embedded, convolution.weight, convolution.bias, padding=1).relu().flatten(1)
    torch.testing.assert_close(encoder(obs), linear(expected).relu())


@pytest.mark.parametrize(
    "spaces",
    [ATARI, VECTOR, EnvSpaces((3, 5, 4), torch.float32, 2, 8, kind="planes")],
    ids=["image", "vector", "planes"],
)
def test_only_whole_numbers_on_a_grid_can_be_embedded(spaces: EnvSpaces):
    with pytest.raises(ConfigError, match="codes is embed; this needs planes of whole numbers from 0 to 255"):
        build_encoder(spaces, NetworkConfig(codes="embed"))


# --- Colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "colors"), [(1, 3), (4, 3), (2, 4), (3, 1)])
def test_differences_are_taken_in_each_colour_alone(k: int, colors: int):
    layer = DifferencesConv2d(k, 5, 8, 4, torch.float32, colors=colors)
    obs = torch.randint(0, 256, (2, k, colors, 36, 40), dtype=torch.uint8)
    frames = obs.double() / 255
    channels = [10 * (frames[:, i + 1] - frames[:, i]) for i in range(k - 1)]  # each [B, C, H, W]
    newest = frames[:, -1].clone()
    for i in range(2):
        for c in range(colors):
            newest[i, c] -= (255 * newest[i, c].mean()).round() / 255
    expected = nn.functional.conv2d(
        torch.cat([*channels, newest], 1),
        layer.weight.double(),
        layer.bias.double() if layer.bias is not None else None,
        4,
    )
    torch.testing.assert_close(layer(obs).double(), expected, rtol=1e-4, atol=1e-4)


def test_frames_with_colours_are_the_channels_of_the_convolution():
    layer = FramesConv2d(2, 5, 8, 4, torch.float32, colors=3)
    obs = torch.randint(0, 256, (2, 2, 3, 36, 36), dtype=torch.uint8)
    frames = torch.cat([obs[:, 0], obs[:, 1]], 1).float() / 255
    torch.testing.assert_close(
        layer(obs), nn.functional.conv2d(frames, layer.weight, layer.bias, 4), rtol=1e-4, atol=1e-4
    )


def test_one_colour_equals_a_grey_image():
    grey = build_encoder(ATARI, NetworkConfig(frame_stack=2, filters=4, hidden=8))
    colour = build_encoder(
        EnvSpaces((1, 84, 84), torch.uint8, 6, 8, kind="image"), NetworkConfig(frame_stack=2, filters=4, hidden=8)
    )
    colour.load_state_dict(grey.state_dict())
    obs = torch.randint(0, 256, (2, 2, 84, 84), dtype=torch.uint8)
    torch.testing.assert_close(colour(obs[:, :, None]), grey(obs))


# --- Packed observations ----------------------------------------------------------------------------------------------


def packed_spaces(layout: PackedLayout) -> EnvSpaces:
    """Return the spaces of packed observations."""
    spatial_bytes = layout.num_spatial * layout.spatial_dtype.itemsize
    size = 4 * layout.vector + spatial_bytes + (layout.num_masked + 7) // 8
    num_bytes = (size + 3) // 4 * 4
    return EnvSpaces((num_bytes,), torch.uint8, layout.num_masked or 2, 8, kind="packed", packed=layout)


def pack(vectors: np.ndarray, spatial: np.ndarray, num_bytes: int) -> torch.Tensor:
    """Return the bytes uint8[B, k, num_bytes] of vectors float32[B, k, D] and images or planes [B, k, C, H, W]."""
    result = np.full((*vectors.shape[:2], num_bytes), 255, np.uint8)
    for i, j in np.ndindex(*vectors.shape[:2]):
        row = vectors[i, j].tobytes() + spatial[i, j].tobytes()
        result[i, j, : len(row)] = np.frombuffer(row, np.uint8)
    return torch.from_numpy(result)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    "layout",
    [
        PackedLayout(4, (3, 5, 4), "planes", torch.uint8, 0),
        PackedLayout(4, (3, 5, 4), "planes", torch.float32, 9),
        PackedLayout(2, (1, 36, 40), "image", torch.uint8, 3),
        PackedLayout(2, (3, 36, 36), "image", torch.uint8, 0),
    ],
)
def test_packed_encoder_joins_the_features_of_its_parts(layout: PackedLayout, k: int):
    spaces = packed_spaces(layout)
    config = NetworkConfig(frame_stack=k, filters=4, hidden=8)
    encoder = build_encoder(spaces, config)
    assert isinstance(encoder, PackedEncoder)
    assert encoder.vector is not None
    assert encoder.spatial is not None
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2, k, layout.vector)).astype(np.float32)
    dtype = np.uint8 if layout.spatial_dtype == torch.uint8 else np.float32
    spatial = rng.integers(0, 256, (2, k, *layout.spatial)).astype(dtype)
    obs = pack(vectors, spatial, spaces.obs_shape[0])
    of_vectors = encoder.vector(torch.from_numpy(vectors))
    of_spatial = encoder.spatial(torch.from_numpy(spatial))
    assert of_vectors.shape == (2, 8)
    linear = encoder.hidden[0]
    expected = linear(torch.cat([of_vectors, of_spatial], 1)).relu()
    torch.testing.assert_close(encoder(obs), expected)
    assert (encoder.features, encoder(obs).shape) == (8, (2, 8))
    without_last = build_encoder(spaces, config, include_last=False)
    assert without_last(obs).shape == (2, without_last.features)
    assert without_last.features == 8 + of_spatial.shape[1]


@pytest.mark.parametrize(
    ("layout", "alone"),
    [
        (PackedLayout(vector=4, num_masked=2), VECTOR),
        (PackedLayout(0, (3, 5, 4), "planes", torch.uint8, 2), CODES),
        (
            PackedLayout(0, (1, 36, 36), "image", torch.uint8, 2),
            EnvSpaces((1, 36, 36), torch.uint8, 2, 8, kind="image"),
        ),
    ],
)
def test_packed_encoder_of_one_part_equals_the_encoder_of_this_part(layout: PackedLayout, alone: EnvSpaces):
    spaces = packed_spaces(layout)
    config = NetworkConfig(frame_stack=2, filters=4, hidden=8)
    packed, single = build_encoder(spaces, config), build_encoder(alone, config)
    names = [*packed.state_dict()]
    assert [name.split(".", 1)[1] for name in names] == [*single.state_dict()]
    packed.load_state_dict(dict(zip(names, single.state_dict().values(), strict=True)))
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(3, 2, layout.vector)).astype(np.float32)
    spatial = rng.integers(0, 256, (3, 2, *layout.spatial) if layout.spatial else (3, 2, 0)).astype(np.uint8)
    obs = pack(vectors, spatial, spaces.obs_shape[0])
    expected = single(torch.from_numpy(vectors if layout.vector else spatial))
    torch.testing.assert_close(packed(obs), expected)
    assert packed.features == single.features
