"""Tests of augmented images: each augmentation beside a naive loop, and where agents use augmented images."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from image_rows import play, random_images, trained
from loops import CPU
from torch import Tensor

from agents.configs.dqn import DQNConfig, DRQNConfig, RainbowConfig
from agents.configs.sac import SACConfig
from agents.configs.td3 import TD3Config
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, PackedLayout
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.nn.augmentation import Augmentation, change_intensity, crop_by_index, crop_padded
from agents.rainbow import Rainbow
from agents.sac import SAC
from agents.td3 import TD3

SIDE = 36
IMAGES = EnvSpaces((SIDE, SIDE), torch.uint8, 3, 2)
CONTINUOUS = EnvSpaces((SIDE, SIDE), torch.uint8, 0, 2, action_dim=2)
SMALL: dict[str, Any] = {
    "frame_stack": 2,
    "hidden": 8,
    "filters": 2,
    "batch_size": 8,
    "replay_ratio": 4,
    "learning_starts": 20,
    "replay_size": 200,
    "n_step": 2,
    "augment_shift": 3,
    "augment_intensity": 0.05,
}
SHIFTED: dict[str, Any] = {**SMALL, "augment_intensity": 0.0}
AGENTS = [
    pytest.param(DQN, DQNConfig(**SMALL), IMAGES, id="dqn"),
    pytest.param(Rainbow, RainbowConfig(**SMALL), IMAGES, id="rainbow"),
    pytest.param(DRQN, DRQNConfig(**SMALL, unroll=3), IMAGES, id="drqn"),
    pytest.param(SAC, SACConfig(**SMALL), CONTINUOUS, id="sac"),
    pytest.param(TD3, TD3Config(**SMALL), CONTINUOUS, id="td3"),
]


def naive_crop(image: np.ndarray, row: int, column: int, padding: int) -> np.ndarray:
    """Return a crop of one image [H, W], pixel by pixel."""
    height, width = image.shape
    crop = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            source_y = min(max(y + row - padding, 0), height - 1)
            source_x = min(max(x + column - padding, 0), width - 1)
            crop[y, x] = image[source_y, source_x]
    return crop


# --- The augmentations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 2, 6, 9), (7, 2, 3, 6, 5), (7, 6, 6)])
@pytest.mark.parametrize("padding", [1, 4, 8])
def test_crops_equal_those_of_a_naive_loop(shape: tuple[int, ...], padding: int):
    images = random_images(*shape)
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 2 * padding + 1, (2, 7))
    corner[:, 0] = 0
    corner[:, 1] = 2 * padding
    corner[:, 2] = (0, 2 * padding)
    corner[:, 3] = padding
    crops = crop_padded(images, torch.from_numpy(corner), padding)
    assert crops.dtype == torch.uint8
    assert crops.shape == images.shape
    height, width = shape[-2:]
    for i in range(7):
        for image, crop in zip(images[i].reshape(-1, height, width), crops[i].reshape(-1, height, width), strict=True):
            assert np.array_equal(
                crop.numpy(), naive_crop(image.numpy(), int(corner[0, i]), int(corner[1, i]), padding)
            )
    assert torch.equal(crops[3], images[3])


def test_an_index_gives_the_crops_of_a_gpu():
    images = random_images(6, 3, 9, 11)
    corner = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (2, 6)))
    crops = crop_by_index(images, corner, 6, 8)
    for i, (row, column) in enumerate(corner.T.tolist()):
        assert torch.equal(crops[i], images[i, :, row : row + 6, column : column + 8])


def test_crops_of_a_view_with_another_memory_order_are_the_same():
    images = random_images(4, 5, 2, 6, 6).transpose(0, 1)
    corner = torch.tensor([[0, 1, 2, 3, 4], [4, 3, 1, 1, 0]])
    assert torch.equal(crop_padded(images, corner, 2), crop_padded(images.contiguous(), corner, 2))


def test_intensity_is_the_formula_of_the_paper_with_clipped_noise():
    images = random_images(5, 2, 4, 4)
    noise = [0.0, 1.0, -1.5, 3.0, -100.0]
    result = change_intensity(images, torch.tensor(noise), 0.05)
    assert result.dtype == torch.float32
    for i, factor in enumerate([1.0, 1.05, 0.925, 1.1, 0.9]):
        np.testing.assert_allclose(result[i].numpy(), factor * images[i].numpy().astype(float), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 6, 6), (3, 2, 3, 6, 6), (3, 1, 6, 6)])
def test_intensity_of_stacks_and_colours_does_not_change_the_images_given(shape: tuple[int, ...]):
    images = random_images(*shape)
    before = images.clone()
    result = change_intensity(images, torch.tensor([1.0, 0.0, -1.0]), 0.5)
    assert result.shape == shape
    assert torch.equal(images, before)
    factors = np.array([1.5, 1.0, 0.5]).reshape(3, *[1] * (len(shape) - 1))
    np.testing.assert_allclose(result.numpy(), images.numpy() * factors, rtol=1e-6)


@pytest.mark.parametrize("pixels", ["frames", "differences"])
@pytest.mark.parametrize("shape", [(36, 36), (3, 36, 36)])
def test_networks_read_float_images_as_they_are_and_leave_them_unchanged(pixels: Any, shape: tuple[int, ...]):
    """The whole numbers of an image in float32 give the outputs of the image in uint8."""
    spaces = EnvSpaces(shape, torch.uint8, 3, 1, kind="image")
    agent = DQN(DQNConfig(frame_stack=2, hidden=8, filters=2, pixels=pixels), spaces, seed=0, device=CPU)
    images = random_images(4, 2, *shape)
    floats = change_intensity(images, torch.zeros(4), 0.05)
    before = floats.clone()
    with torch.no_grad():
        torch.testing.assert_close(agent.network.eval()(floats), agent.network(images), rtol=1e-4, atol=1e-5)
    assert torch.equal(floats, before)


def test_all_corners_are_drawn_equally_often():
    """Each image is one bright pixel, whose place tells the corner."""
    num_images = 25 * 400
    images = torch.zeros(num_images, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 1
    shifted = Augmentation(2, 0.0, torch.Generator().manual_seed(0))(images)
    places = shifted.flatten(1).argmax(1).numpy()
    rows, columns = places // 9, places % 9
    counts = np.histogram2d(rows, columns, bins=[np.arange(2, 8), np.arange(2, 8)])[0]
    assert counts.sum() == num_images
    assert ((counts - 400) ** 2 / 400).sum() < 60  # chi-square with 24 degrees of freedom


def test_noise_of_the_intensity_is_normal_and_the_same_for_a_stack():
    images = torch.full((20_000, 2, 1, 1), 100, dtype=torch.uint8)
    factors = Augmentation(0, 0.05, torch.Generator().manual_seed(0))(images).flatten(1) / 100
    assert torch.equal(factors[:, 0], factors[:, 1])
    noise = (factors[:, 0].numpy() - 1) / 0.05
    assert noise.mean() == pytest.approx(0, abs=0.03)
    clipped = np.clip(np.random.default_rng(0).normal(size=100_000), -2, 2)
    assert np.quantile(noise, [0.01, 0.2, 0.5, 0.9, 0.99]) == pytest.approx(
        np.quantile(clipped, [0.01, 0.2, 0.5, 0.9, 0.99]), abs=0.05
    )


# --- Agents -----------------------------------------------------------------------------------------------------------


def crop_number(original: Tensor, image: Tensor, padding: int) -> int:
    """Return which crop of the stack `original` [k, H, W] the stack `image` is. Raises if it is none."""
    padded = np.pad(original.numpy(), [(0, 0), (padding, padding), (padding, padding)], mode="edge")
    side = 2 * padding + 1
    corners = [divmod(number, side) for number in range(side * side)]
    crops = [padded[:, row : row + SIDE, column : column + SIDE] for row, column in corners]
    numbers = [number for number, crop in enumerate(crops) if np.array_equal(crop, image.numpy())]
    (number,) = numbers
    return number


def test_batches_have_other_crops_of_the_stored_states_and_next_states():
    config = DQNConfig(**SHIFTED)
    agent, _ = trained(DQN, config, IMAGES, rows=30)
    stored = agent.replay.storage["frame"].clone()
    batch = agent.sample()
    original = agent.replay.transitions(batch.cell)
    obs_numbers = [crop_number(*pair, 3) for pair in zip(original.obs, batch.obs, strict=True)]
    next_numbers = [crop_number(*pair, 3) for pair in zip(original.next_obs, batch.next_obs, strict=True)]
    assert len(set(obs_numbers)) > 3
    assert obs_numbers != next_numbers
    assert torch.equal(agent.replay.storage["frame"], stored)
    second = agent.sample()
    assert not torch.equal(second.obs, batch.obs)


def test_images_of_a_sequence_have_the_same_crop():
    agent, _ = trained(DRQN, DRQNConfig(**SHIFTED, unroll=3), IMAGES, rows=30)
    batch = agent.sample()
    original = agent.sampler.at(batch.cell)
    numbers = []
    for i in range(batch.obs.shape[1]):
        of_sequence = {crop_number(original.obs[t, i], batch.obs[t, i], 3) for t in range(len(batch.obs))}
        assert len(of_sequence) == 1
        numbers += of_sequence
    assert len(set(numbers)) > 2


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize(("cls", "config", "spaces"), AGENTS)
def test_acting_and_its_outputs_never_see_augmented_images(cls: Any, config: Any, spaces: EnvSpaces, explore: bool):
    agent, carry = trained(cls, config, spaces, rows=30)
    assert agent.updates > 0
    plain = copy.deepcopy(agent)
    plain.augmentation = None
    for number in range(30, 40):
        obs = random_images(spaces.num_envs, *spaces.obs_shape, seed=number)
        is_first = torch.zeros(spaces.num_envs, dtype=torch.bool)
        output, _ = agent.policy_output(obs, is_first, carry)
        plain_output, _ = plain.policy_output(obs, is_first, carry)
        assert torch.equal(output.scores, plain_output.scores)
        action, next_carry = agent.act(obs, is_first, carry, explore=explore)
        plain_action, _ = plain.act(obs, is_first, carry, explore=explore)
        assert torch.equal(action, plain_action)
        carry = next_carry
    assert torch.equal(agent.generator.get_state(), plain.generator.get_state())


@pytest.mark.parametrize(("cls", "config", "spaces"), AGENTS)
def test_restored_agent_continues_bit_for_bit(cls: Any, config: Any, spaces: EnvSpaces):
    agent, carry = trained(cls, config, spaces, rows=26)
    restored = cls(config, spaces, seed=9, device=CPU)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    updates = agent.updates
    play([agent, restored], spaces, [carry, copy.deepcopy(carry)], range(26, 34))
    assert agent.updates == restored.updates > updates
    for name, tensor in agent.network.state_dict().items():
        assert torch.equal(tensor, restored.network.state_dict()[name]), name


@pytest.mark.parametrize(("cls", "config", "spaces"), AGENTS)
def test_augmentation_changes_what_is_learned(cls: Any, config: Any, spaces: EnvSpaces):
    agent, _ = trained(cls, config, spaces, rows=26)
    values = vars(config) | {"augment_shift": 0, "augment_intensity": 0.0}
    plain, _ = trained(cls, type(config)(**values), spaces, rows=26)
    assert agent.updates == plain.updates > 0
    weights = zip(agent.network.parameters(), plain.network.parameters(), strict=True)
    assert not all(torch.equal(ours, theirs) for ours, theirs in weights)


@pytest.mark.parametrize(
    "spaces",
    [
        EnvSpaces((3,), torch.float32, 2, 1),
        EnvSpaces((4, 10, 10), torch.float32, 2, 1, kind="planes"),
        EnvSpaces((64,), torch.uint8, 2, 1, kind="packed", packed=PackedLayout(vector=15, num_masked=2)),
    ],
)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment_shift": 4}, "augment_shift is 4; it is for image observations only, so leave it out"),
        ({"augment_intensity": 0.05}, "augment_intensity is 0.05; it is for image observations only, so leave it out"),
    ],
)
def test_observations_that_are_no_images_are_refused(spaces: EnvSpaces, settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        DQN(DQNConfig(**settings), spaces, seed=0, device=CPU)
    assert str(error.value) == message
