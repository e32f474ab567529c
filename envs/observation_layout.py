"""From an environment's observation space to the array that agents receive, decided by the meaning of the observations.

An observation is one array, or a Dict or Tuple of several. Each array has one of three meanings:

    image     a picture: two sides of at least 36 pixels, and up to 35 channels. Its numbers are of type uint8 with the
              bounds 0 and 255, or floating-point numbers with the bounds 0 and 1, or 0 and 255.
    planes    maps over a grid, such as one-hot boards or codes of objects: any other array with two or three axes, of
              which at least two are longer than 1
    vector    all other arrays, and discrete states, which become one-hot

`EnvOptions.obs_kind` overrules the decision. Agents receive images uint8[H, W] or uint8[C, H, W], planes uint8[C, H, W]
or float32[C, H, W], and vectors float32. The vectors of one observation are joined. An image (or planes) with vectors
beside it, and every observation with an action mask, is packed into bytes: see `envs.spec.PackedObservation`.

Every change of an observation is described in words (`ObservationLayout.transformations`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from numpy.typing import NDArray

from envs.errors import EnvError, EnvFault
from envs.options import DEFAULT_OPTIONS, MIN_IMAGE_SIDE, EnvOptions, ImageColors, parse_crop
from envs.packing import pack
from envs.spec import PackedObservation

UNBOUNDED = 1e18
"""A bound of this size or more counts as none."""

MAX_STATES = 1_000_000
"""Most entries of one-hot vectors: discrete states become one-hot."""

GREY_WEIGHTS = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in a grey level (ITU-R BT.709, rounded as in Gymnasium's GrayscaleObservation)."""

SPACES = "a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"

Bounds = tuple[tuple[float, float], ...]
Meaning = Literal["image", "planes", "vector"]
Array = NDArray[Any]
PartPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Part:
    """One array of an observation, and how it is converted."""

    path: PartPath  # keys of Dicts and indices of Tuples; empty if the observation has one array only
    meaning: Meaning
    shape: tuple[int, ...]  # after conversion
    dtype: Literal["uint8", "float32"]  # after conversion
    convert: Callable[[Any], Array] | None  # from the environment's array; None if nothing but the type changes
    changes: tuple[str, ...] = ()  # what `convert` changes, in words
    state_sizes: tuple[int, ...] = ()  # sizes of one-hot groups, if the array consists of discrete states
    bounds: Bounds | None = None  # (low, high) of each entry of a bounded vector

    @property
    def name(self) -> str:
        """Return the path as text: "goal/position"."""
        return name_of(self.path)

    def array_of(self, obs: Any) -> Array:
        """Return the converted array of this part of an observation."""
        for key in self.path:
            obs = obs[key]
        if self.convert is None and isinstance(obs, np.ndarray) and obs.dtype == self.dtype:
            return obs
        with np.errstate(over="ignore"):  # a number that is too large for float32 becomes inf, which the stream reports
            return np.asarray(obs, self.dtype) if self.convert is None else self.convert(obs)


@dataclass(frozen=True)
class ObservationLayout:
    """The array that agents receive, and how it is made from an observation of the environment."""

    parts: tuple[Part, ...]  # vectors first, then images or planes
    num_masked: int  # actions in the action mask; 0 without a mask

    @property
    def kind(self) -> Literal["image", "planes", "vector", "packed"]:
        """Return the meaning of the array that agents receive."""
        if self.packed is not None:
            return "packed"
        return self.parts[-1].meaning

    @cached_property
    def packed(self) -> PackedObservation | None:
        """Return where the parts lie in packed observations, or None if there is nothing to pack."""
        vectors, spatial = self.vectors, self.spatial
        if not self.num_masked and not (vectors and spatial):
            return None
        return PackedObservation(
            vector=sum(math.prod(part.shape) for part in vectors),
            spatial=_channels_first(_joined_shape(spatial)) if spatial else (),
            spatial_kind="image" if spatial and spatial[0].meaning == "image" else "planes",
            spatial_dtype=spatial[0].dtype if spatial else "uint8",
            num_masked=self.num_masked,
        )

    @cached_property
    def vectors(self) -> tuple[Part, ...]:
        """Return the parts that are vectors."""
        return tuple(part for part in self.parts if part.meaning == "vector")

    @cached_property
    def spatial(self) -> tuple[Part, ...]:
        """Return the parts that are images or planes. All of them have the same height, width and type."""
        return tuple(part for part in self.parts if part.meaning != "vector")

    @property
    def frame(self) -> tuple[int, ...]:
        """Return the shape of the array that agents receive."""
        packed = self.packed
        if packed is not None:
            return (packed.num_bytes,)
        if self.spatial:
            return _joined_shape(self.spatial)
        if len(self.parts) == 1:
            return self.parts[0].shape
        return (sum(math.prod(part.shape) for part in self.parts),)

    @property
    def dtype(self) -> Literal["uint8", "float32"]:
        """Return the type of the array that agents receive."""
        return "uint8" if self.packed is not None else self.parts[-1].dtype

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Return the sizes of all one-hot groups, or () if the observation is more than discrete states."""
        if not all(part.state_sizes for part in self.parts):
            return ()
        return tuple(size for part in self.parts for size in part.state_sizes)

    @property
    def bounds(self) -> Bounds | None:
        """Return (low, high) of each entry of the vectors, or None if an entry has no bounds."""
        bounds: list[tuple[float, float]] = []
        for part in self.vectors:
            if part.bounds is None:
                return None
            bounds += part.bounds
        return tuple(bounds) or None

    @property
    def transformations(self) -> tuple[str, ...]:
        """Return in words how observations are changed before agents receive them."""
        texts = []
        for part in self.parts:
            texts += [f"{part.name}: {change}" if part.name else change for change in part.changes]
        if self.num_masked:
            texts.append("action masks")
        return tuple(texts)

    def convert(self, obs: Any, mask: NDArray[np.bool_] | None = None) -> Array:
        """Return the array that agents receive.

        Args:
            obs: Observation of the environment.
            mask: bool[A], True for each legal action; only with `num_masked`.
        """
        packed = self.packed
        if packed is None and len(self.parts) == 1:
            return self.parts[0].array_of(obs)
        vectors = [part.array_of(obs) for part in self.vectors]
        spatial = [part.array_of(obs) for part in self.spatial]
        if packed is not None:
            joined = np.concatenate([_three_axes(array) for array in spatial]) if spatial else None
            return pack(packed, vectors, joined, mask)
        if spatial:
            return np.concatenate([_three_axes(array) for array in spatial])
        return np.concatenate([array.ravel() for array in vectors])


def observation_layout(
    name: str, space: gymnasium.Space[Any], options: EnvOptions, num_masked: int = 0
) -> ObservationLayout:
    """Return the layout of the observations of a space.

    Args:
        name: Name of the environment, for messages.
        space: Observation space of the environment.
        options: Options of the environment.
        num_masked: Actions in the action mask; 0 without a mask.

    Raises:
        EnvError: The space is not supported, or an option does not fit.
    """
    arrays = _select(name, space, options.obs_key)
    if not arrays:
        raise EnvError(f"{name} has the observation space {_space_text(space)}, which is empty")
    num_states = sum(sum(_state_sizes(array_space)) for array_space in arrays.values())
    if num_states > MAX_STATES:
        raise EnvError(
            f"{name} has {num_states:,} states; agents receive them as one-hot vectors, of at most {MAX_STATES:,}"
        )
    parts = [_part(name, path, array_space, options) for path, array_space in arrays.items()]
    spatial = [part for part in parts if part.meaning != "vector"]
    vectors = [part for part in parts if part.meaning == "vector"]
    _check_options(name, parts, options)
    _check_spatial(name, spatial)
    return ObservationLayout((*vectors, *spatial), num_masked)


def _check_options(name: str, parts: Sequence[Part], options: EnvOptions) -> None:
    """Raise EnvError if an option concerns observations that the environment does not have."""
    if options.obs_kind not in ("auto", "vector") and all(part.state_sizes for part in parts):
        raise EnvError(f"obs_kind is {options.obs_kind}; the observations of {name} are discrete states")
    if any(part.meaning == "image" for part in parts):
        return
    for option in ("image", "image_size"):
        value = getattr(options, option)
        if value != getattr(DEFAULT_OPTIONS, option):
            raise EnvError(
                f"{option} is {value}; the observations of {name} are no images (--obs-kind image, or --view pixels)"
            )


def used_arrays(space: gymnasium.Space[Any], obs_key: str) -> dict[PartPath, gymnasium.Space[Any]]:
    """Return the spaces of all arrays in an observation that the option `obs_key` names, by path.

    Args:
        space: Observation space of an environment.
        obs_key: The option. Empty means all arrays.
    """
    arrays = _arrays_of(space)
    if not obs_key:
        return arrays
    prefixes = [key.strip() for key in obs_key.split(",")]
    return {path: child for path, child in arrays.items() if any(_is_within(path, prefix) for prefix in prefixes)}


def name_of(path: PartPath) -> str:
    """Return a path as text: "goal/position"."""
    return "/".join(map(str, path))


def convert_image(
    image: Array, channel_axis: int | None, *, colors: ImageColors, size: int, scale: float = 1.0
) -> NDArray[np.uint8]:
    """Return a picture as uint8[size, size], or uint8[C, size, size] if it keeps several channels.

    Args:
        image: Picture with two or three axes.
        channel_axis: The axis of the channels, or None for a picture without channels.
        colors: "grey" converts three channels to one.
        size: Height and width of the result.
        scale: Factor that turns numbers that are not of type uint8 into 0 .. 255.
    """
    if image.dtype != np.uint8 or scale != 1:
        image = np.clip(np.rint(image * scale), 0, 255).astype(np.uint8)
    if channel_axis is not None:
        image = np.moveaxis(image, channel_axis, -1)
        if image.shape[2] == 1:
            image = image[:, :, 0]
        elif image.shape[2] == 3 and colors == "grey":
            image = _to_grey(image)
    if image.shape[:2] != (size, size):
        image = _resize(np.ascontiguousarray(image), size)
    if image.ndim == 3:
        image = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    return image


def _to_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the grey levels [H, W] of a picture [H, W, 3], equal to those of Gymnasium's GrayscaleObservation.

    The sum is computed in its order, but eight times as fast, because the axis of the colours is not the innermost.
    """
    red, green, blue = GREY_WEIGHTS
    grey = image[:, :, 0] * red
    grey += image[:, :, 1] * green
    grey += image[:, :, 2] * blue
    return grey.astype(np.uint8)


def _resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a picture [H, W] or [H, W, C] with other sides. Each pixel is the mean of the area that it covers."""
    if image.ndim == 2 or image.shape[2] <= 4:  # OpenCV resizes up to four channels at once
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    return np.stack([_resize(channel, size) for channel in np.moveaxis(image, -1, 0)], -1)


def _arrays_of(space: gymnasium.Space[Any], path: PartPath = ()) -> dict[PartPath, gymnasium.Space[Any]]:
    """Return the spaces of all arrays in an observation, by path."""
    children: dict[Any, gymnasium.Space[Any]]
    if isinstance(space, Dict):
        children = dict(space.spaces)
    elif isinstance(space, Tuple):
        children = dict(enumerate(space.spaces))
    else:
        return {path: space}
    arrays = {}
    for key, child in children.items():
        arrays |= _arrays_of(child, (*path, key))
    return arrays


def _select(name: str, space: gymnasium.Space[Any], obs_key: str) -> dict[PartPath, gymnasium.Space[Any]]:
    """Return the arrays that the option `obs_key` names, in the order of the space.

    Raises:
        EnvError: There is no such array, or an array is of an unsupported space.
    """
    arrays = _arrays_of(space)
    for prefix in [key.strip() for key in obs_key.split(",")] if obs_key else []:
        if not used_arrays(space, prefix):
            known = f"has the parts {', '.join(map(name_of, arrays))}" if () not in arrays else "has one part only"
            raise EnvError(f"obs_key is {prefix!r}; the observation of {name} {known}")
    selected = used_arrays(space, obs_key)
    supported = [path for path, child in selected.items() if _is_supported(child)]
    for path, child in selected.items():
        if path in supported:
            continue
        place = f" in {name_of(path)!r}" if path else ""
        advice = f"; leave it out with --obs-key {','.join(map(name_of, supported))}" if supported else ""
        raise EnvError(f"{name} has the observation space {_space_text(child)}{place}; agents need {SPACES}{advice}")
    return selected


def _is_within(path: PartPath, prefix: str) -> bool:
    """Return True if a path is called `prefix`, or lies below it."""
    return f"{name_of(path)}/".startswith(f"{prefix}/")


def _is_supported(space: gymnasium.Space[Any]) -> bool:
    """Return True if the array of a space can be given to agents."""
    return isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary)


def _part(name: str, path: PartPath, space: gymnasium.Space[Any], options: EnvOptions) -> Part:
    """Return how the array of a space is converted. Raises EnvError if an option does not fit."""
    if not isinstance(space, Box):
        start = np.ravel(getattr(space, "start", 0))  # a MultiBinary space has no start
        return _states_part(path, _state_sizes(space), start)
    if 0 in space.shape:
        raise EnvError(f"{name} has observations of shape {space.shape}, without entries")
    meaning: Any = options.obs_kind
    if meaning == "auto":
        meaning = _meaning(space)
    if meaning == "vector":
        flatten = options.obs_kind == "vector" and len(space.shape) != 1
        return _vector_part(path, space, flatten=flatten)
    if len(space.shape) not in (2, 3):
        if path:  # the option concerns the other arrays
            return _vector_part(path, space, flatten=False)
        raise EnvError(f"{name} has observations of shape {space.shape}; images and planes need two or three axes")
    if meaning == "image":
        return _image_part(name, path, space, options)
    return _planes_part(path, space)


def _state_sizes(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    """Return the number of states of each discrete state in an array, and () for a Box."""
    if isinstance(space, Discrete):
        return (int(space.n),)
    if isinstance(space, MultiDiscrete):
        return tuple(int(n) for n in space.nvec.flat)
    if isinstance(space, MultiBinary):
        return (2,) * math.prod(space.shape)
    return ()


def _states_part(path: PartPath, sizes: tuple[int, ...], start: NDArray[Any]) -> Part:
    """Return the part of discrete states: one one-hot group for each state."""
    offsets = np.cumsum((0, *sizes[:-1])) - start

    def one_hot(states: Any) -> Array:
        vector = np.zeros(sum(sizes), np.float32)
        vector[np.asarray(states, np.int64).ravel() + offsets] = 1
        return vector

    states = "states" if len(sizes) == 1 else f"states in {len(sizes)} groups"
    return Part(
        path,
        "vector",
        (sum(sizes),),
        "float32",
        one_hot,
        changes=(f"one-hot of {sum(sizes)} {states}",),
        state_sizes=sizes,
        bounds=((0.0, 1.0),) * sum(sizes),
    )


def _vector_part(path: PartPath, space: Box, *, flatten: bool) -> Part:
    """Return the part of a vector."""
    changes = [] if space.dtype == np.float32 else [f"{space.dtype} as float32"]
    shape = space.shape
    convert = None
    if flatten:
        changes.append(f"flattened from {_sides(shape)}")
        shape = (math.prod(shape),)
        convert = _to_flat_float32
    return Part(path, "vector", shape, "float32", convert, tuple(changes), bounds=vector_bounds(space))


def _image_part(name: str, path: PartPath, space: Box, options: EnvOptions) -> Part:
    """Return the part of an image. Raises EnvError if the values are not those of pixels."""
    scale = _pixel_scale(space)
    if scale is None:
        raise EnvError(f"{name} has observations that are no image: their bounds are not 0 and 255, or 0 and 1")
    shape = space.shape
    size = options.image_size
    channel_axis = _channel_axis(shape, MIN_IMAGE_SIDE) if len(shape) == 3 else None
    channels = shape[channel_axis] if channel_axis is not None else 1
    crop = parse_crop(options.crop)
    sides = [side for axis, side in enumerate(shape) if axis != channel_axis]
    if options.crop:
        cropped = [len(range(side)[part]) for side, part in zip(sides, crop, strict=True)]
        is_inside = all((part.stop or 0) <= side for side, part in zip(sides, crop, strict=True))
        if min(cropped) < 1 or not is_inside:
            raise EnvError(f"crop is {options.crop!r}; the picture has {_sides(sides)} pixels")
        sides = cropped
    is_grey = channels == 1 or (channels == 3 and options.image == "grey")

    def convert(image: Any) -> Array:
        array = np.asarray(image)
        _check_finite(name, array)
        if options.crop:  # of a rendered picture [H, W, 3]
            array = array[crop]
        return convert_image(array, channel_axis, colors=options.image, size=size, scale=scale)

    frame = (size, size) if is_grey else (channels, size, size)
    changes = _image_changes(space, scale, channels, is_grey=is_grey)
    if sides != [size, size]:
        changes.append(f"resized from {_sides(sides)}")
    return Part(path, "image", frame, "uint8", convert, tuple(changes))


def _image_changes(space: Box, scale: float, channels: int, *, is_grey: bool) -> list[str]:
    """Return in words how the numbers and the channels of an image change."""
    changes = []
    if space.dtype != np.uint8:
        changes.append(f"{space.dtype} as uint8")
    elif scale != 1:
        changes.append("0 and 1 as 0 and 255")
    if channels == 3:
        changes.append("grey from RGB" if is_grey else "RGB")
    elif channels > 1:
        changes.append(f"{channels} channels")
    return changes


def _check_finite(name: str, image: Array) -> None:
    """Raise EnvFault if an image holds a number that is not finite, which no pixel of type uint8 shows."""
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        wrong = image[~np.isfinite(image)][0]
        raise EnvFault(f"{name} sent an image that holds {wrong}")


def _planes_part(path: PartPath, space: Box) -> Part:
    """Return the part of planes."""
    shape = space.shape
    channel_axis = _channel_axis(shape, None) if len(shape) == 3 else None
    channels = 1 if channel_axis is None else shape[channel_axis]
    sides = [side for axis, side in enumerate(shape) if axis != channel_axis]
    dtype: Literal["uint8", "float32"] = "uint8" if _has_codes(space) else "float32"
    changes = [f"planes: {channels} of {_sides(sides)}"]
    if space.dtype not in (np.float32, np.uint8):
        changes.append(f"{space.dtype} as {dtype}")

    def convert(planes: Any) -> Array:
        array = np.asarray(planes, dtype)
        if channel_axis is None:
            return array[None]
        return np.ascontiguousarray(np.moveaxis(array, channel_axis, 0))

    return Part(path, "planes", (channels, *sides), dtype, convert, tuple(changes))


def _meaning(space: Box) -> Meaning:
    """Return the meaning of an array; see the docstring of this module."""
    shape = space.shape
    if len(shape) not in (2, 3) or sum(side > 1 for side in shape) < 2:
        return "vector"
    channel_axis = _channel_axis(shape, MIN_IMAGE_SIDE) if len(shape) == 3 else None
    sides = [side for axis, side in enumerate(shape) if axis != channel_axis]
    channels = shape[channel_axis] if channel_axis is not None else 1
    is_large = min(sides) >= MIN_IMAGE_SIDE and channels < MIN_IMAGE_SIDE
    has_pixels = space.dtype.kind == "f" or (space.dtype == np.uint8 and bool((space.high == 255).all()))
    if is_large and has_pixels and _pixel_scale(space) is not None:
        return "image"
    return "planes"


def _pixel_scale(space: Box) -> float | None:
    """Return the factor that turns the values of a space into 0 .. 255, or None if they are not those of pixels."""
    if not (space.low == 0).all():
        return None
    if (space.high == 1).all():
        return 255.0
    if (space.high == 255).all() or (space.dtype == np.uint8):
        return 1.0
    return None


def _has_codes(space: Box) -> bool:
    """Return True if all values of a space are whole numbers from 0 to 255."""
    is_whole = np.dtype(space.dtype).kind in "bui"
    return is_whole and bool(np.min(space.low) >= 0 and np.max(space.high) <= 255)


def _channel_axis(shape: Sequence[int], min_side: int | None) -> int:
    """Return which of three axes holds the channels: 0 or 2.

    If exactly two sides are equal, the third axis holds the channels, unless this is the middle one. Otherwise the
    shorter one of the first and the last axis does, or the last one if they are equal.

    Args:
        shape: The three sides.
        min_side: For images, the smallest side: if only one of the first and the last axis is shorter, it is this one.
    """
    first, middle, last = shape
    if min_side is not None and (first < min_side) != (last < min_side):
        return 0 if first < min_side else 2
    if first == middle != last:
        return 2
    if middle == last != first:
        return 0
    return 0 if first < last else 2


def _check_spatial(name: str, parts: list[Part]) -> None:
    """Raise EnvError if several images or planes cannot be joined into one array."""
    if len(parts) < 2:
        return
    forms = {(part.meaning, part.shape[-2:], part.dtype) for part in parts}
    if len(forms) > 1:
        names = ", ".join(part.name for part in parts)
        raise EnvError(f"{name} has images or planes of different forms: {names}; choose one with --obs-key")


def _joined_shape(parts: Sequence[Part]) -> tuple[int, ...]:
    """Return the shape of images or planes, joined along their channels."""
    if len(parts) == 1:
        return parts[0].shape
    channels = sum(_channels_first(part.shape)[0] for part in parts)
    return (channels, *parts[0].shape[-2:])


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape [C, H, W] of an array of shape [H, W] or [C, H, W]."""
    return (1, *shape) if len(shape) == 2 else shape


def _three_axes(array: Array) -> Array:
    """Return an array [C, H, W] of one of shape [H, W] or [C, H, W]."""
    return array[None] if array.ndim == 2 else array


def _to_flat_float32(array: Any) -> Array:
    return np.asarray(array, np.float32).ravel()


def vector_bounds(space: Box) -> Bounds | None:
    """Return (low, high) of each entry of a vector, or None if at least one entry is not bounded.

    Many environments declare the largest number of a type instead of infinity. This is no bound either.
    """
    bounds = np.array([space.low, space.high], np.float64)
    dtype = np.dtype(space.dtype)
    largest = np.inf
    if dtype.kind == "f":
        largest = float(np.finfo(dtype.name).max)
    elif dtype.itemsize >= 4:
        largest = float(np.iinfo(dtype.name).max)
    if not np.isfinite(bounds).all() or np.abs(bounds).max(initial=0) >= min(largest / 2, UNBOUNDED):
        return None
    return tuple(zip(space.low.flatten().tolist(), space.high.flatten().tolist(), strict=True))


def _sides(shape: Sequence[int]) -> str:
    """Return sides as text: 7 x 7 x 3."""
    return " x ".join(map(str, shape))


def _space_text(space: gymnasium.Space[Any]) -> str:
    """Return a space as text of at most 100 characters."""
    text = " ".join(str(space).split())
    if " at 0x" in text:  # the address of an object says nothing
        return type(space).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
