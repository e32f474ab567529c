"""Tests of the conversion of observations, against Gymnasium's wrappers and `flatten`, and naive numpy."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
from gymnasium.spaces.utils import flatten
from gymnasium.wrappers import GrayscaleObservation, ResizeObservation
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_envs import Plain

from agents.core.types import PackedLayout
from agents.nn.packed import legal_actions, mask_illegal, spatial_part, vector_part
from envs.errors import EnvError, EnvFault
from envs.gymnasium_envs import make_vector_env
from envs.make import adapt, make_stream, resolve
from envs.observation_layout import ObservationLayout, observation_layout
from envs.observations import ObservationConverter
from envs.options import EnvOptions, OptionError, parse_crop
from envs.packing import pack, unpack_masks
from envs.spec import EnvSpec, PackedObservation
from envs.stream import Stream

BOOL: Any = bool  # Gymnasium accepts this type, but its annotations do not
OLD_RUNS = Path(__file__).parents[1] / "data/old_runs"


def layout_of(space: gymnasium.Space[Any], num_masked: int = 0, **options: Any) -> ObservationLayout:
    """Return the layout of a space in an environment called X-v0."""
    return observation_layout("X-v0", space, EnvOptions(**options), num_masked)


def pixels(*shape: int) -> Box:
    """Return the space of an image of type uint8."""
    return Box(0, 255, shape, np.uint8)


def env_of(space: gymnasium.Space[Any], **attributes: Any) -> type[Plain]:
    """Return an environment whose observations are samples of a space."""

    def obs(self: Plain) -> Any:
        return self.observation_space.sample()

    return type("Sampled", (Plain,), {"observation_space": space, "obs": obs, **attributes})


def play(stream: Stream, rows: int) -> None:
    """Take action 0 in all environments."""
    for _ in range(rows):
        stream.send(np.zeros(stream.num_envs, np.int64))
        stream.recv()


@pytest.fixture
def register():
    """Return a function that registers an environment as Test-v0, until the end of the test."""
    ids = []

    def register_env(make: Any, env_id: str = "Test-v0") -> str:
        gymnasium.register(env_id, make)
        ids.append(env_id)
        return env_id

    yield register_env
    for env_id in ids:
        gymnasium.registry.pop(env_id, None)


# --- The meaning of an array ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "kind", "shape", "dtype"),
    [
        # Images: two sides of at least 36 pixels, up to 35 channels, and the bounds of pixels.
        (pixels(36, 36), "image", (84, 84), "uint8"),
        (pixels(96, 96, 3), "image", (84, 84), "uint8"),
        (pixels(3, 96, 96), "image", (84, 84), "uint8"),
        (pixels(40, 60, 1), "image", (84, 84), "uint8"),
        (pixels(1, 40, 60), "image", (84, 84), "uint8"),
        (pixels(40, 60, 4), "image", (4, 84, 84), "uint8"),
        (pixels(4, 40, 60), "image", (4, 84, 84), "uint8"),
        (pixels(40, 60, 2), "image", (2, 84, 84), "uint8"),
        (pixels(36, 40, 35), "image", (35, 84, 84), "uint8"),
        (Box(0, 1, (64, 64, 3), np.float32), "image", (84, 84), "uint8"),
        (Box(0, 1, (64, 64), np.float64), "image", (84, 84), "uint8"),
        (Box(0, 255, (64, 64, 3), np.float32), "image", (84, 84), "uint8"),
        # Planes: all other arrays with two or three axes, of which at least two are longer than 1.
        (pixels(35, 84), "planes", (1, 35, 84), "uint8"),
        (pixels(35, 84, 3), "planes", (3, 35, 84), "uint8"),
        (pixels(36, 40, 36), "planes", (36, 36, 40), "uint8"),
        (Box(0, 254, (84, 84), np.uint8), "planes", (1, 84, 84), "uint8"),
        (Box(1, 255, (84, 84), np.uint8), "planes", (1, 84, 84), "uint8"),
        (Box(-1, 1, (84, 84, 3), np.float32), "planes", (3, 84, 84), "float32"),
        (Box(0, 2, (84, 84), np.float32), "planes", (1, 84, 84), "float32"),
        (Box(-np.inf, np.inf, (84, 84), np.float32), "planes", (1, 84, 84), "float32"),
        (Box(0, 255, (84, 84), np.int64), "planes", (1, 84, 84), "uint8"),
        (Box(0, 256, (84, 84), np.int64), "planes", (1, 84, 84), "float32"),
        (Box(-1, 255, (84, 84), np.int16), "planes", (1, 84, 84), "float32"),
        (Box(0, 1, (10, 10, 4), BOOL), "planes", (4, 10, 10), "uint8"),
        (pixels(7, 7, 3), "planes", (3, 7, 7), "uint8"),
        (Box(0, 1, (8, 8, 111), BOOL), "planes", (111, 8, 8), "uint8"),
        (Box(0, 1, (111, 8, 8), BOOL), "planes", (111, 8, 8), "uint8"),
        (Box(0, 1, (10, 10, 10), np.float32), "planes", (10, 10, 10), "float32"),
        (Box(0, 1, (6, 7, 2), np.int8), "planes", (2, 6, 7), "uint8"),
        (Box(0, 1, (2, 6, 7), np.int8), "planes", (2, 6, 7), "uint8"),
        (Box(0, 1, (4, 3, 4), np.int8), "planes", (4, 4, 3), "uint8"),
        (Box(0, 1, (1, 5, 5), np.int8), "planes", (1, 5, 5), "uint8"),
        (Box(0, 1, (1, 5), np.int8), "vector", (1, 5), "float32"),
        # Vectors: everything else. Their shape is unchanged.
        (Box(-1, 1, (1, 1, 5), np.float32), "vector", (1, 1, 5), "float32"),
        (Box(-1, 1, (2, 2, 2, 2), np.float32), "vector", (2, 2, 2, 2), "float32"),
        (Box(-1, 1, (), np.float32), "vector", (), "float32"),
        (Box(-1, 1, (100,), np.float64), "vector", (100,), "float32"),
        (pixels(128), "vector", (128,), "float32"),
        (Discrete(5, start=-2), "vector", (5,), "float32"),
        (MultiDiscrete([2, 3]), "vector", (5,), "float32"),
        (MultiDiscrete(np.array([[2, 3], [4, 5]])), "vector", (14,), "float32"),
        (MultiBinary((2, 2)), "vector", (8,), "float32"),
    ],
)
def test_shape_type_and_bounds_decide_the_meaning(space, kind, shape, dtype):
    layout = layout_of(space)
    assert (layout.kind, layout.frame, layout.dtype) == (kind, shape, dtype)
    space.seed(1)
    converted = layout.convert(space.sample())
    assert (converted.shape, converted.dtype) == (shape, dtype)


@pytest.mark.parametrize(
    ("space", "obs_kind", "shape", "dtype"),
    [
        (pixels(96, 96, 3), "planes", (3, 96, 96), "uint8"),
        (pixels(96, 96, 3), "vector", (96 * 96 * 3,), "float32"),
        (Box(0, 1, (10, 10, 4), np.float32), "image", (4, 84, 84), "uint8"),
        (Box(0, 1, (7, 7), np.float32), "vector", (49,), "float32"),
        (Box(0, 1, (1, 5), np.float32), "planes", (1, 1, 5), "float32"),
        (Box(0, 1, (5,), np.float32), "vector", (5,), "float32"),
        (Discrete(3), "vector", (3,), "float32"),
    ],
)
def test_obs_kind_overrules_the_decision(space, obs_kind, shape, dtype):
    layout = layout_of(space, obs_kind=obs_kind)
    assert (layout.frame, layout.dtype) == (shape, dtype)
    space.seed(1)
    converted = layout.convert(space.sample())
    assert (converted.shape, converted.dtype) == (shape, dtype)


@pytest.mark.parametrize(
    ("space", "obs_kind", "message"),
    [
        (Box(-1, 1, (5,)), "image", r"X-v0 has observations of shape \(5,\); images and planes need two or three axes"),
        (Box(-1, 1, (2, 2, 2, 2)), "planes", "planes need two or three axes"),
        (Box(-1, 1, (40, 40)), "image", "no image: their bounds are not 0 and 255, or 0 and 1"),
    ],
)
def test_obs_kind_that_does_not_fit_is_an_error(space, obs_kind, message):
    with pytest.raises(EnvError, match=message):
        layout_of(space, obs_kind=obs_kind)


# --- Images -----------------------------------------------------------------------------------------------------------


class OneImage(gymnasium.Env):
    """Always observes one image."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.observation_space = pixels(*image.shape)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Return the image."""
        return self.image, {}


@pytest.mark.parametrize("size", [36, 84, 100])
@pytest.mark.parametrize("shape", [(96, 96, 3), (210, 160, 3), (84, 84, 3), (36, 50, 3)])
def test_colour_images_equal_those_of_gymnasiums_wrappers(shape, size):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    grey, _ = ResizeObservation(GrayscaleObservation(OneImage(image)), (size, size)).reset()
    rgb, _ = ResizeObservation(OneImage(image), (size, size)).reset()
    channels_first = np.moveaxis(image, 2, 0)
    for array in (image, channels_first):
        space = pixels(*array.shape)
        np.testing.assert_array_equal(layout_of(space, image_size=size).convert(array), grey)
        converted = layout_of(space, image_size=size, image="rgb").convert(array)
        np.testing.assert_array_equal(converted, np.moveaxis(rgb, 2, 0))


@pytest.mark.parametrize("channels", [2, 4, 5, 7])
def test_each_of_several_channels_is_resized_like_a_grey_image(channels):
    image = np.random.default_rng(0).integers(0, 256, (60, 50, channels), dtype=np.uint8)
    converted = layout_of(pixels(60, 50, channels)).convert(image)
    for i in range(channels):
        expected, _ = ResizeObservation(OneImage(image[:, :, i]), (84, 84)).reset()
        np.testing.assert_array_equal(converted[i], expected)


@pytest.mark.parametrize(
    ("high", "dtype", "values", "expected"),
    [
        (1, np.float32, [0, 1, 0.5, 0.002, -0.5, 1.7], [0, 255, 128, 1, 0, 255]),
        (1, np.float64, [0, 1, 0.25], [0, 255, 64]),
        (255, np.float32, [0, 255, 127.6, 300], [0, 255, 128, 255]),
    ],
)
def test_numbers_of_float_images_are_scaled_rounded_and_clipped(high, dtype, values, expected):
    layout = layout_of(Box(0, high, (84, 84), dtype))
    image = np.zeros((84, 84), dtype)
    image[0, : len(values)] = values
    assert layout.convert(image)[0, : len(expected)].tolist() == expected
    assert layout.transformations == (f"{np.dtype(dtype).name} as uint8",)


def test_nan_in_a_float_image_is_a_fault(register):
    class Broken(env_of(Box(0, 1, (40, 40), np.float32))):
        def obs(self) -> Any:
            return np.full((40, 40), np.nan if self.goes_wrong() else 0.5, np.float32)

    stream = make_stream(resolve(register(Broken)), 1, vectorization="sync")
    stream.reset(1)
    with pytest.raises(EnvFault, match="Test-v0.* image .* nan"):
        play(stream, 100)


@pytest.mark.parametrize(
    ("space", "options", "texts"),
    [
        (pixels(84, 84), {}, ()),
        (pixels(84, 84, 3), {}, ("grey from RGB",)),
        (pixels(3, 84, 84), {"image": "rgb"}, ("RGB",)),
        (pixels(210, 160, 3), {"image_size": 64}, ("grey from RGB", "resized from 210 x 160")),
        (pixels(84, 84, 4), {}, ("4 channels",)),
        (Box(0, 1, (6, 7, 2), np.int8), {}, ("planes: 2 of 6 x 7", "int8 as uint8")),
        (Dict(a=Discrete(3), b=Box(-1, 1, (2,), np.float64)), {}, ("a: one-hot of 3 states", "b: float64 as float32")),
        (Box(-1, 1, (2, 3), np.float32), {"obs_kind": "vector"}, ("flattened from 2 x 3",)),
    ],
)
def test_every_change_is_described(space, options, texts):
    assert layout_of(space, **options).transformations == texts


# --- Parts of Dict and Tuple observations -----------------------------------------------------------------------------

GOAL = Dict({"position": Box(-1, 1, (2,), np.float32), "kind": Discrete(3, start=5)})
PAIR = Tuple((Box(-1, 1, (1,), np.float64), Discrete(2)))
NESTED = Dict(
    {
        "goal": GOAL,
        "inventory": MultiDiscrete([2, 3], start=[4, -1]),
        "flags": MultiBinary((2, 1)),
        "pair": PAIR,
    }
)


def naive_vector(space: gymnasium.Space[Any], obs: Any) -> list[float]:
    """Return the joined vector of an observation, with Gymnasium's own one-hot vectors."""
    if isinstance(space, Dict):
        return [x for key, child in space.spaces.items() for x in naive_vector(child, obs[key])]
    if isinstance(space, Tuple):
        return [x for child, value in zip(space.spaces, obs, strict=True) for x in naive_vector(child, value)]
    if isinstance(space, MultiBinary):  # Gymnasium's `flatten` leaves bits as they are
        return [x for bit in np.ravel(obs) for x in ([0.0, 1.0] if bit else [1.0, 0.0])]
    return np.asarray(flatten(space, obs), np.float32).tolist()


leaf_spaces = st.one_of(
    st.builds(lambda n: Box(-1, 1, (n,), np.float32), st.integers(1, 3)),
    st.builds(lambda: Box(-5, 5, (), np.float64)),
    st.builds(lambda n, start: Discrete(n, start=start), st.integers(1, 4), st.integers(-3, 3)),
    st.builds(lambda n: MultiDiscrete(n, start=[2 * i - 1 for i in n]), st.lists(st.integers(1, 3), min_size=1)),
    st.builds(MultiBinary, st.integers(1, 3)),
)
nested_spaces = st.recursive(
    leaf_spaces,
    lambda children: st.one_of(
        st.builds(Dict, st.dictionaries(st.text("abc", min_size=1, max_size=2), children, min_size=1, max_size=3)),
        st.builds(Tuple, st.lists(children, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(nested_spaces, st.integers(0, 1000))
def test_parts_are_joined_in_the_order_of_the_space(space, seed):
    space.seed(seed)
    obs = space.sample()
    layout = layout_of(space)
    converted = layout.convert(obs)
    assert converted.ravel().tolist() == naive_vector(space, obs)
    assert converted.shape == layout.frame
    assert converted.dtype == np.float32


def test_discrete_states_alone_are_one_hot_groups():
    states = Dict(a=Discrete(3), b=MultiDiscrete([2, 4]), c=MultiBinary(2))
    assert layout_of(states).state_sizes == (3, 2, 4, 2, 2)
    assert layout_of(NESTED).state_sizes == ()
    assert layout_of(states).bounds == ((0, 1),) * 13


def test_joined_vector_is_bounded_if_all_parts_are():
    bounded = Dict(a=Box(np.array([-1, 0]), np.array([1, 5]), dtype=np.float64), b=Discrete(2))
    assert layout_of(bounded).bounds == ((-1, 1), (0, 5), (0, 1), (0, 1))
    assert layout_of(Dict(a=Box(0, np.inf, (1,)), b=Discrete(2))).bounds is None


@pytest.mark.parametrize(
    ("obs_key", "size"),
    [
        ("goal", 5),
        ("goal/position", 2),
        ("goal/kind,flags", 3 + 4),
        ("flags, goal/kind", 3 + 4),
        ("pair/0", 1),
        ("pair", 3),
        ("", 5 + 5 + 4 + 3),
    ],
)
def test_obs_key_selects_parts_in_the_order_of_the_space(obs_key, size):
    NESTED.seed(3)
    obs = NESTED.sample()
    layout = layout_of(NESTED, obs_key=obs_key)
    assert layout.frame == (size,)
    keys = [key.strip() for key in obs_key.split(",")]
    expected = []
    for path, value, space in [
        ("goal/kind", obs["goal"]["kind"], GOAL["kind"]),
        ("goal/position", obs["goal"]["position"], GOAL["position"]),
        ("inventory", obs["inventory"], NESTED["inventory"]),
        ("flags", obs["flags"], NESTED["flags"]),
        ("pair/0", obs["pair"][0], PAIR[0]),
        ("pair/1", obs["pair"][1], PAIR[1]),
    ]:
        if not obs_key or any(path == key or path.startswith(f"{key}/") for key in keys):
            expected.append((path, naive_vector(space, value)))
    order = [part.name for part in layout_of(NESTED).parts]
    expected.sort(key=lambda item: order.index(item[0]))
    assert layout.convert(obs).tolist() == [x for _, vector in expected for x in vector]


@pytest.mark.parametrize("obs_key", ["goals", "goal/pos", "goal/position/0", "goal,nothing", "0"])
def test_unknown_obs_key_lists_the_parts(obs_key):
    wrong = obs_key.split(",")[-1]
    with pytest.raises(
        EnvError, match=rf"obs_key is '{wrong}'; the observation of X-v0 has the parts .*pair/0, pair/1"
    ):
        layout_of(NESTED, obs_key=obs_key)


def test_obs_key_of_an_observation_with_one_part_is_an_error():
    with pytest.raises(EnvError, match="obs_key is 'a'; the observation of X-v0 has one part only"):
        layout_of(Box(-1, 1, (2,)), obs_key="a")


@pytest.mark.parametrize("unsupported", [Text(5), Sequence(Discrete(2)), Tuple((Text(3),))])
def test_message_about_an_unsupported_part_names_a_key_that_works(unsupported):
    space = Dict(image=pixels(7, 7, 3), direction=Discrete(4), mission=unsupported)
    with pytest.raises(EnvError, match=r"in 'mission.*'; agents need .*; leave it out with --obs-key (\S+)$") as error:
        layout_of(space)
    obs_key = str(error.value).rpartition(" ")[2]
    assert layout_of(space, obs_key=obs_key).packed is not None


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Text(3), r"observation space Text\(.*\); agents need a Box, Discrete"),
        (Dict(), "observation space Dict.*, which is empty"),
        (Dict(a=Dict(b=Text(3))), "in 'a/b'; agents need a Box.*of these$"),
        (Box(0, 1, (0, 3)), r"shape \(0, 3\), without entries"),
        (Discrete(10**12), "X-v0 has 1,000,000,000,000 states; .* at most 1,000,000"),
        (MultiDiscrete([10**12, 2]), "has 1,000,000,000,002 states"),
        (Dict(a=Discrete(600_000), b=Discrete(600_000)), "has 1,200,000 states"),
        (Dict(a=pixels(84, 84), b=pixels(7, 7, 3)), "images or planes of different forms: a, b; choose one with"),
        (Dict(a=pixels(7, 7), b=Box(0, 1, (7, 7))), "different forms: a, b"),
        (Dict(a=pixels(7, 7), b=pixels(7, 8)), "different forms: a, b"),
    ],
)
def test_unsupported_space_is_an_error_in_one_line(space, message):
    with pytest.raises(EnvError, match=message) as error:
        layout_of(space)
    assert "\n" not in str(error.value)


def test_images_of_equal_form_are_joined_along_their_channels():
    space = Dict(a=pixels(84, 84, 3), b=pixels(84, 84))
    space.seed(1)
    obs = space.sample()
    layout = layout_of(space, image="rgb")
    assert (layout.kind, layout.frame) == ("image", (4, 84, 84))
    expected = np.concatenate([np.moveaxis(obs["a"], 2, 0), obs["b"][None]])
    np.testing.assert_array_equal(layout.convert(obs), expected)


# --- Packed observations ----------------------------------------------------------------------------------------------


def agents_layout(packed: PackedObservation) -> PackedLayout:
    """Return the layout as agents know it."""
    return PackedLayout(
        packed.vector,
        packed.spatial,
        packed.spatial_kind,
        torch.uint8 if packed.spatial_dtype == "uint8" else torch.float32,
        packed.num_masked,
    )


shapes = st.one_of(st.just(()), st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))


@settings(max_examples=200, deadline=None)
@given(
    vector=st.integers(0, 9),
    spatial=shapes,
    dtype=st.sampled_from(["uint8", "float32"]),
    num_masked=st.integers(0, 40),
    num_stacked=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_agents_read_what_was_packed(vector, spatial, dtype, num_masked, num_stacked, seed):
    if not vector and not spatial and not num_masked:
        return
    packed = PackedObservation(vector, spatial, "planes", dtype, num_masked)
    layout = agents_layout(packed)
    assert packed.num_bytes % 4 == 0
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(2, num_stacked, vector)).astype(np.float32)
    planes = rng.integers(0, 256, (2, num_stacked, *spatial)).astype(dtype)
    masks = rng.random((2, num_stacked, num_masked)) < 0.5
    rows = []
    for i in range(2):
        for k in range(num_stacked):
            # The vector is given in two pieces, as two parts of a Dict would be.
            pieces = [vectors[i, k, : vector // 2], vectors[i, k, vector // 2 :]]
            planes_of_row = planes[i, k] if spatial else None
            mask_of_row = masks[i, k] if num_masked else None
            rows.append(pack(packed, pieces, planes_of_row, mask_of_row))
    numpy_obs = np.stack(rows)
    obs = torch.from_numpy(numpy_obs).unflatten(0, (2, num_stacked))
    assert obs.shape == (2, num_stacked, packed.num_bytes)
    if vector:
        np.testing.assert_array_equal(vector_part(obs, layout).numpy(), vectors)
    if spatial:
        np.testing.assert_array_equal(spatial_part(obs, layout).numpy(), planes)
    if num_masked:
        newest = masks[:, -1]
        expected = newest | ~newest.any(1, keepdims=True)
        np.testing.assert_array_equal(legal_actions(obs[:, -1], layout).numpy(), expected)
        np.testing.assert_array_equal(unpack_masks(packed, numpy_obs).reshape(masks.shape), masks)
        values = mask_illegal(torch.ones(2, num_masked), obs, layout)
        np.testing.assert_array_equal(values.numpy() == 1, expected)


@pytest.mark.parametrize("stored", ["sliced", "gathered", "transposed"])
def test_parts_are_read_from_tensors_that_are_views(stored):
    """Replay gathers rows, and a stack may be a view of a larger tensor."""
    packed = PackedObservation(3, (2, 3, 3), "planes", "float32", 5)
    vectors = np.arange(24, dtype=np.float32).reshape(8, 3)
    planes = np.random.default_rng(1).normal(size=(8, 2, 3, 3)).astype(np.float32)
    rows = [pack(packed, [vectors[i]], planes[i], np.arange(5) == i % 5) for i in range(8)]
    obs = torch.from_numpy(np.stack(rows))
    index = torch.tensor([5, 2])
    views = {
        "sliced": obs[3:5],
        "gathered": obs[index],
        "transposed": obs.view(4, 2, -1).transpose(0, 1)[1, :2],
    }
    positions = {"sliced": [3, 4], "gathered": [5, 2], "transposed": [1, 3]}[stored]
    layout = agents_layout(packed)
    np.testing.assert_array_equal(vector_part(views[stored], layout).numpy(), vectors[positions])
    np.testing.assert_array_equal(spatial_part(views[stored], layout).numpy(), planes[positions])
    assert legal_actions(views[stored], layout).int().argmax(1).tolist() == [i % 5 for i in positions]


@pytest.mark.parametrize(
    ("space", "num_masked", "vector", "spatial", "kind", "dtype"),
    [
        (Dict(image=pixels(7, 7, 3), direction=Discrete(4)), 0, 4, (3, 7, 7), "planes", "uint8"),
        (Dict(a=Box(0, 1, (5, 4), np.float32), v=Box(-1, 1, (2,))), 0, 2, (1, 5, 4), "planes", "float32"),
        (Dict(v=Box(-1, 1, (2,)), screen=pixels(60, 60, 3)), 3, 2, (1, 84, 84), "image", "uint8"),
        (Box(-1, 1, (4,), np.float32), 2, 4, (), "planes", "uint8"),
        (pixels(84, 84), 2, 0, (1, 84, 84), "image", "uint8"),
        (Box(0, 1, (3, 3, 2), np.int8), 9, 0, (2, 3, 3), "planes", "uint8"),
    ],
)
def test_layout_packs_each_part_at_its_place(space, num_masked, vector, spatial, kind, dtype):
    layout = layout_of(space, num_masked)
    packed = layout.packed
    assert packed is not None
    assert packed == PackedObservation(vector, spatial, kind, dtype, num_masked)
    assert (layout.kind, layout.dtype, layout.frame) == ("packed", "uint8", (packed.num_bytes,))
    space.seed(2)
    obs = space.sample()
    mask = np.arange(num_masked) % 2 == 0
    row = torch.from_numpy(layout.convert(obs, mask if num_masked else None))[None]
    parts = obs if isinstance(space, Dict) else {"only": obs}
    spaces = space.spaces if isinstance(space, Dict) else {"only": space}
    vectors = [naive_vector(spaces[name], value) for name, value in parts.items() if np.ndim(value) < 2]
    grids = [value for value in parts.values() if np.ndim(value) >= 2]
    assert vector_part(row, agents_layout(packed)).numpy().ravel().tolist() == list(itertools.chain(*vectors))
    if kind == "planes" and grids:
        grid = grids[0] if grids[0].ndim == 3 else grids[0][..., None]
        expected = np.moveaxis(grid, 2, 0)
        np.testing.assert_array_equal(spatial_part(row, agents_layout(packed))[0].numpy(), expected)


def test_vector_and_planes_without_a_mask_are_not_packed_alone():
    assert layout_of(pixels(7, 7, 3)).packed is None
    assert layout_of(Dict(a=Discrete(2), b=Box(-1, 1, (2,)))).packed is None


@pytest.mark.parametrize("part", ["vector", "planes"])
def test_nan_inside_a_packed_observation_is_a_fault(part, register):
    space = Dict(vector=Box(-1, 1, (3,), np.float32), planes=Box(0, 1, (4, 4), np.float32))

    class Broken(env_of(space)):
        def obs(self) -> Any:
            obs = self.observation_space.sample()
            if self.goes_wrong():
                obs[part].flat[-1] = np.nan
            return obs

    stream = make_stream(resolve(register(Broken)), 2)
    stream.reset(1)
    with pytest.raises(EnvFault, match=r"sent an observation that holds nan \(environment 0, row 71\)"):
        play(stream, 100)


def test_bytes_of_planes_and_masks_are_not_taken_for_numbers():
    """The bytes of a mask with many legal actions would be a NaN if they were read as float32."""
    packed = PackedObservation(1, (1, 2, 2), "planes", "uint8", 32)
    converter = ObservationConverter(Box(0, 255, (packed.num_bytes,), np.uint8), packed=packed)
    obs = pack(packed, [np.zeros(1)], np.full((1, 2, 2), 255, np.uint8), np.ones(32, BOOL))[None]
    assert converter.wrong_number(obs) is None
    obs = pack(packed, [np.array([-np.inf])], np.zeros((1, 2, 2), np.uint8), np.ones(32, BOOL))[None]
    assert converter.wrong_number(obs) == (0, -np.inf)


def test_flicker_keeps_the_mask():
    packed = PackedObservation(2, (1, 3, 3), "planes", "uint8", 11)
    mask = np.arange(11) % 3 == 0
    obs = np.stack([pack(packed, [np.ones(2)], np.full((1, 3, 3), 7, np.uint8), mask)] * 50)
    converter = ObservationConverter(Box(0, 255, (packed.num_bytes,), np.uint8), flicker=0.5, packed=packed)
    flickered = converter.apply_flicker(obs, seed=1, row=2)
    np.testing.assert_array_equal(unpack_masks(packed, flickered), np.stack([mask] * 50))
    seen = flickered[:, : packed.mask_start]
    is_blank = (seen == 0).all(1)
    assert 10 < is_blank.sum() < 40
    np.testing.assert_array_equal(seen[~is_blank], obs[~is_blank, : packed.mask_start])


# --- Specs ------------------------------------------------------------------------------------------------------------

SPACES = [
    Box(-1, 1, (2,), np.float32),
    Box(-np.inf, np.inf, (2,), np.float32),
    pixels(96, 96, 3),
    pixels(7, 7, 3),
    Discrete(5),
    MultiDiscrete([2, 3]),
    Dict(image=pixels(7, 7, 3), direction=Discrete(4)),
    Dict(screen=pixels(60, 60, 3), speed=Box(-1, 1, (1,))),
    NESTED,
]


@pytest.mark.parametrize("actions", [Discrete(3), MultiDiscrete([2, 3])])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spec_is_unchanged_after_writing_and_reading_json(space, actions, register):
    env_spec = resolve(register(env_of(space, action_space=actions, reward=lambda self, action: 1.0)))
    text = json.dumps(env_spec.to_dict())
    read = EnvSpec.from_dict(json.loads(text))
    for field in dataclasses.fields(EnvSpec):
        assert getattr(read, field.name) == getattr(env_spec, field.name), field.name
    assert json.dumps(read.to_dict()) == text
    assert str(read) == str(env_spec)
    hash(env_spec)


def test_spec_with_options_is_unchanged_after_writing_and_reading_json(register):
    class Sized(env_of(pixels(50, 50, 3))):
        def __init__(self, size: int) -> None:
            super().__init__()

    wrappers = ({"name": "gymnasium.wrappers:RecordEpisodeStatistics", "args": {"buffer_length": 7}},)
    options = EnvOptions.from_dict({"env_args": {"size": 3}, "wrappers": wrappers, "image": "rgb", "image_size": 64})
    env_spec = resolve(register(Sized), options=options)
    assert EnvSpec.from_dict(json.loads(json.dumps(env_spec.to_dict()))) == env_spec
    assert "size=3, wrapper gymnasium.wrappers:RecordEpisodeStatistics(buffer_length=7)" in str(env_spec)


def test_stream_sends_what_the_layout_converts(register):
    """The observations of the environments reach the stream unchanged, in both kinds of vector environments."""
    states = [{"image": np.full((7, 7, 3), i, np.uint8), "direction": np.int64(i % 4)} for i in range(6)]

    class Counting(env_of(Dict(image=pixels(7, 7, 3), direction=Discrete(4)))):
        def obs(self) -> Any:
            return states[self.step_in_episode]

    env_spec = resolve(register(Counting))
    expected = [layout_of(Counting.observation_space).convert(state) for state in states]
    for vectorization in ("sync", "async"):
        stream = make_stream(env_spec, 2, vectorization=vectorization)
        rows = [stream.reset(1)]
        for _ in range(5):
            stream.send(np.zeros(2, np.int64))
            rows.append(stream.recv())
        stream.close()
        for row, packed in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(row.obs, np.stack([packed, packed]))


@pytest.mark.parametrize(
    ("run", "name"),
    [(path.name, name) for path in sorted(OLD_RUNS.iterdir()) for name in ["env.json"] if (path / name).exists()],
)
def test_old_file_gives_the_spec_of_today(run, name):
    """The runs were made before the new fields existed."""
    data = json.loads((OLD_RUNS / run / name).read_text())
    assert "obs_kind" not in data
    read = EnvSpec.from_dict(data)
    today = resolve(data["id"] if data["backend"] == "gymnasium" else data["name"])
    changed = adapt(today, flicker=read.flicker, mask_velocity=bool(read.masked))
    assert read == changed


NEW_FIELDS = ("obs_kind", "packed", "state_sizes", "action_parts", "mask_source", "options")


@pytest.mark.parametrize("name", ["Pong", "Pong-v4", "CartPole-v1", "FrozenLake-v1"])
def test_file_without_the_new_fields_gives_the_same_spec(name):
    env_spec = resolve(name)
    data = json.loads(json.dumps(env_spec.to_dict()))
    old = {key: value for key, value in data.items() if key not in NEW_FIELDS}
    assert EnvSpec.from_dict(old) == env_spec


# --- Pixels -----------------------------------------------------------------------------------------------------------


class Drawn(Plain):
    """Shows the column of each pixel as red and its row as green. Blue is the step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode

    def render(self) -> Any:
        """Return a picture of 100 x 200 pixels."""
        rows, columns = np.mgrid[:100, :200]
        return np.stack([columns, rows, np.full_like(rows, self.step_in_episode)], -1).astype(np.uint8)


def test_crop_selects_rows_and_columns_of_the_rendered_picture(register):
    options = EnvOptions(pixels=True, crop="10:50,100:140", image="rgb", image_size=40)
    env_spec = resolve(register(Drawn), options=options)
    assert (env_spec.frame, env_spec.obs_kind, env_spec.view) == ((3, 40, 40), "image", "pixels")
    assert env_spec.transformations == ("rendered picture, part 10:50,100:140", "RGB")
    stream = make_stream(env_spec, 1, vectorization="sync")
    stream.reset(1)
    stream.send(np.zeros(1, np.int64))
    red, green, blue = stream.recv().obs[0]
    stream.close()
    np.testing.assert_array_equal(red, np.tile(np.arange(100, 140), (40, 1)))
    np.testing.assert_array_equal(green, np.tile(np.arange(10, 50)[:, None], (1, 40)))
    assert (blue == 1).all()


def test_whole_picture_is_used_without_a_crop(register):
    env_spec = resolve(register(Drawn), options=EnvOptions(pixels=True))
    assert env_spec.transformations == ("rendered picture", "grey from RGB", "resized from 100 x 200")
    assert env_spec.frame == (84, 84)


def test_cartpole_has_a_crop_of_its_own():
    env_spec = resolve("CartPole-v1", options=EnvOptions(pixels=True))
    assert "part 150:350,0:600" in str(env_spec)
    env = make_vector_env(env_spec, 1, "sync")
    obs, _ = env.reset(seed=1)
    env.close()
    assert obs.shape == (1, 84, 84)
    assert 0 < (obs < 255).mean() < 0.3  # the cart and the pole


@pytest.mark.parametrize("crop", ["200:300,0:10", "0:10,300:400", "50:40,0:10", "0:101,0:10", "0:10,0:201"])
def test_crop_outside_of_the_picture_is_an_error(crop, register):
    with pytest.raises(EnvError, match=rf"crop is '{crop}'; the picture has 100 x 200 pixels"):
        resolve(register(Drawn), options=EnvOptions(pixels=True, crop=crop))


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ("CartPole-v1", EnvOptions(image="rgb"), "image is rgb; the observations of CartPole-v1 are no images"),
        ("CartPole-v1", EnvOptions(image_size=64), "image_size is 64; the observations of CartPole-v1 are no images"),
        ("Taxi-v4", EnvOptions(obs_kind="planes"), "obs_kind is planes; the observations of Taxi-v4 are discrete"),
    ],
)
def test_option_without_effect_is_an_error(env, options, message):
    with pytest.raises(EnvError, match=message):
        resolve(env, options=options)


@pytest.mark.parametrize("env", ["Blackjack-v1", "Taxi-v4"])
def test_spec_says_if_the_lab_limits_the_steps_of_episodes(env):
    limit = gymnasium.spec(env).max_episode_steps
    assert ("episodes cut after 1,000 steps" in resolve(env).transformations) == (limit is None)


@pytest.mark.parametrize("text", ["10", "1:2", "1:2:3,0:4", "a:b,c:d", "1,2", "1:2,3:4,5:6"])
def test_malformed_crop_is_an_error(text):
    with pytest.raises(OptionError, match=r"it must be top:bottom,left:right in pixels"):
        parse_crop(text)


def test_crop_may_leave_out_ends():
    assert parse_crop(":50,10:") == (slice(0, 50), slice(10, None))
    assert parse_crop("") == (slice(None), slice(None))


def test_environment_without_pictures_cannot_be_used_as_pixels(register):
    with pytest.raises(EnvError, match="Test-v0 cannot be watched: it has no render mode 'rgb_array'"):
        resolve(register(Plain), options=EnvOptions(pixels=True))


def test_spec_of_an_old_run_on_planes_keeps_its_layers_for_vectors():
    old = {
        "name": "Codes-v0",
        "id": "odd_envs:Codes-v0",
        "family": "vector",
        "backend": "gymnasium",
        "protocol": "id",
        "frame": [7, 7, 3],
        "dtype": "float32",
        "actions": ["0", "1"],
    }
    env_spec = EnvSpec.from_dict(old)
    assert (env_spec.obs_kind, env_spec.frame) == ("vector", (147,))
    stream = make_stream(env_spec, 2, vectorization="sync")
    assert stream.reset(1).obs.shape == (2, 147)
    stream.close()


def test_picture_of_bits_that_is_declared_an_image_is_black_and_white():
    layout = layout_of(Box(0, 1, (84, 84), np.uint8), obs_kind="image")
    bits = np.eye(84, dtype=np.uint8)
    assert np.array_equal(layout.convert(bits), bits * 255)
    assert layout.transformations == ("0 and 1 as 0 and 255",)
