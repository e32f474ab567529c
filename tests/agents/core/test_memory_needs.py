"""Tests of the memory that agents need, computed before anything is allocated."""

import dataclasses
import time
import tracemalloc
import typing
from typing import Any

import pytest
import torch

from agents.configs.dqn import DQNConfig
from agents.configs.shared import OptimizerName
from agents.configs.tabular import SarsaLambdaConfig, TabularConfig
from agents.core.memory_needs import MemoryNeed, network_size
from agents.core.types import EnvSpaces
from agents.double_dqn import DoubleDQN
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.dueling_dqn import DuelingDQN
from agents.ppo import PPO
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow
from agents.reinforce import Reinforce
from agents.sac import SAC
from agents.tabular import TabularSarsa, TabularSarsaLambda
from agents.td3 import TD3

CPU = torch.device("cpu")
IMAGES = EnvSpaces((84, 84), torch.uint8, 6, 8)
VECTORS = EnvSpaces((4,), torch.float32, 2, 8)
CONTINUOUS = EnvSpaces((4,), torch.float32, 0, 8, action_dim=3)
AGENTS: list[Any] = [DQN, DoubleDQN, DuelingDQN, Rainbow, QRDQN, DRQN, Reinforce, PPO, SAC, TD3]


def fitting(spaces: EnvSpaces, agent_class: Any) -> EnvSpaces:
    """Return the spaces, with continuous actions if the agent needs them."""
    if agent_class.abilities.discrete_actions:
        return spaces
    return dataclasses.replace(spaces, num_actions=0, action_dim=3)


def tensor_bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def needs_of(agent_class: Any, spaces: EnvSpaces, **settings: Any) -> dict[str, MemoryNeed]:
    """Return the needs of an agent by part."""
    config = dataclasses.replace(agent_class.config_class(), **settings)
    return {need.part: need for need in agent_class.memory_needs(config, spaces)}


@pytest.mark.parametrize("spaces", [IMAGES, VECTORS], ids=["images", "vectors"])
@pytest.mark.parametrize("agent_class", AGENTS)
@pytest.mark.parametrize("settings", [{}, {"norm": "batch"}, {"pixels": "frames", "frame_stack": 3, "filters": 5}])
def test_network_size_is_that_of_the_network(agent_class: Any, spaces: EnvSpaces, settings: dict[str, Any]):
    spaces = fitting(spaces, agent_class)
    if agent_class.__name__ in ("DRQN", "Reinforce", "PPO", "SAC", "TD3"):
        settings = {name: value for name, value in settings.items() if name != "norm"}
    config = dataclasses.replace(agent_class.config_class(), hidden=12, **settings)
    agent = agent_class(config, spaces, seed=0, device=CPU)
    assert agent_class.network_size(config, spaces).weight_bytes == tensor_bytes(agent.network)


@pytest.mark.parametrize("agent_class", AGENTS)
def test_network_size_includes_the_statistics_of_observations_and_returns(agent_class: Any):
    config = dataclasses.replace(agent_class.config_class(), hidden=12, normalize_obs=True, normalize_reward=True)
    spaces = fitting(VECTORS, agent_class)
    agent = agent_class(config, spaces, seed=0, device=CPU)
    assert agent_class.network_size(config, spaces).weight_bytes == tensor_bytes(agent.network)


@pytest.mark.parametrize("optimizer", typing.get_args(OptimizerName))
def test_the_needs_of_the_network_are_those_of_weights_gradient_and_optimiser(optimizer: str):
    config = dataclasses.replace(DQNConfig(hidden=12), optimizer=optimizer)
    agent = DQN(config, VECTORS, seed=0, device=CPU)
    for param in agent.online_network.parameters():
        param.grad = torch.zeros_like(param)
    agent.optimizer.step()
    moments = 0
    for state in agent.optimizer.state.values():
        moments += sum(tensor.nbytes for tensor in state.values() if isinstance(tensor, torch.Tensor) and tensor.dim())
    weights = tensor_bytes(agent.network)
    need = {need.part: need for need in DQN.memory_needs(config, VECTORS)}["the network with gradient and optimiser"]
    assert need.bytes == 3 * weights + moments
    assert need.saved_bytes == 2 * weights + moments


@pytest.mark.parametrize("hidden", [10**6, 10**9, 10**12, 10**30])
@pytest.mark.parametrize("spaces", [IMAGES, VECTORS], ids=["images", "vectors"])
@pytest.mark.parametrize("agent_class", AGENTS)
def test_the_size_of_a_huge_network_is_computed_at_once_without_memory(
    agent_class: Any, spaces: EnvSpaces, hidden: int
):
    spaces = fitting(spaces, agent_class)
    start = time.perf_counter()
    tracemalloc.start()
    try:
        size = agent_class.network_size(dataclasses.replace(agent_class.config_class(), hidden=hidden), spaces)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size.weight_bytes > 4 * hidden
    assert peak < 10**7
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("agent_class", "spaces", "settings", "part", "advice"),
    [
        (DQN, VECTORS, {"hidden": 10**9}, "the network with gradient and optimiser", "lower hidden"),
        (DQN, IMAGES, {"filters": 10**9}, "the network with gradient and optimiser", "lower hidden, filters"),
        (DQN, VECTORS, {"replay_size": 10**15}, "the replay", "lower replay_size"),
        (DQN, IMAGES, {"batch_size": 10**9}, "a batch", "lower batch_size"),
        (DQN, IMAGES, {"frame_stack": 16, "batch_size": 10**8}, "a batch", "lower batch_size"),
        (DRQN, VECTORS, {"unroll": 10**9}, "a batch", "lower batch_size, unroll or burn_in"),
        (QRDQN, VECTORS, {"num_quantiles": 10**5}, "a batch", "lower batch_size or num_quantiles"),
        (SAC, CONTINUOUS, {"hidden": 10**9}, "the network with gradient and optimiser", "lower hidden"),
        (TD3, CONTINUOUS, {"batch_size": 10**9}, "a batch", "lower batch_size"),
        (Rainbow, VECTORS, {"atoms": 10**9}, "the network with gradient and optimiser", "lower hidden, atoms"),
        (PPO, IMAGES, {"batch_size": 10**9, "minibatch_size": 10}, "the rollout", "lower batch_size"),
        (
            PPO,
            VECTORS,
            {"batch_size": 10**9, "minibatch_size": 10**9, "hidden": 512},
            "a batch",
            "lower minibatch_size or batch_size",
        ),
        (Reinforce, VECTORS, {"batch_size": 10**9, "hidden": 512}, "a batch", "lower batch_size"),
    ],
)
def test_the_largest_need_names_the_setting(
    agent_class: Any, spaces: EnvSpaces, settings: dict[str, Any], part: str, advice: str
):
    needs = needs_of(agent_class, spaces, **settings)
    largest = max(needs.values(), key=lambda need: need.bytes)
    assert largest.part == part
    assert largest.advice.startswith(advice)
    assert largest.bytes > 10**10


@pytest.mark.parametrize(
    ("spaces", "part"),
    [
        (dataclasses.replace(VECTORS, num_actions=10**9), "the network with gradient and optimiser"),
        (dataclasses.replace(VECTORS, obs_shape=(10**6,)), "the replay"),
        (dataclasses.replace(VECTORS, obs_shape=(10**9,), one_hot=True), "the replay"),
        (dataclasses.replace(VECTORS, num_envs=10**9), "the rows of the environments"),
    ],
)
def test_huge_spaces_are_counted(spaces: EnvSpaces, part: str):
    needs = needs_of(DQN, spaces, replay_size=100_000 + spaces.num_envs)
    assert needs[part].bytes > 10**10


@pytest.mark.parametrize(
    ("spaces", "positions"),
    [
        (EnvSpaces((84, 84), torch.uint8, 6, 8), 21 * 21),  # the first convolution has a stride of 4
        (EnvSpaces((4, 10, 10), torch.uint8, 6, 8, kind="planes"), 10 * 10),
    ],
    ids=["image", "planes"],
)
def test_a_batch_holds_the_outputs_of_the_first_convolution(spaces: EnvSpaces, positions: int):
    """They count three times, before and after ReLU and as a gradient: 4 bytes for each sample, filter and position."""
    few = needs_of(DQN, spaces, filters=8)["a batch"].bytes
    many = needs_of(DQN, spaces, filters=108)["a batch"].bytes
    assert many - few == 3 * 4 * 32 * 100 * positions


@pytest.mark.parametrize("stack", [1, 4])
def test_the_rows_in_flight_are_two_rows_and_a_stack_of_each_environment(stack: int):
    """Observations are so large that the outputs of the network, which are counted too, are negligible."""
    spaces = dataclasses.replace(VECTORS, obs_shape=(10**6,))
    need = needs_of(DQN, spaces, frame_stack=stack, hidden=4)["the rows of the environments"]
    assert need.bytes == pytest.approx(8 * (stack + 2) * 4e6, rel=1e-4)


def test_the_needs_of_a_table_are_its_bytes():
    one_hot = EnvSpaces((10**9,), torch.float32, 4, 8, one_hot=True)
    (need,) = TabularSarsa.memory_needs(TabularConfig(), one_hot)
    assert (need.part, need.bytes) == ("the table of Q(s, a)", 8 * 4 * 10**9)
    assert need.advice == "choose an agent with a network, such as dqn"
    (need,) = TabularSarsaLambda.memory_needs(SarsaLambdaConfig(), one_hot)
    assert need.bytes == 8 * 4 * 10**9 * (1 + 2 * 8)
    assert need.advice.startswith("lower num_envs, or choose")


def test_a_network_that_cannot_be_built_is_not_counted():
    def build() -> torch.nn.Module:
        raise RuntimeError("negative dimension")

    assert network_size(build) == (0, 0)
