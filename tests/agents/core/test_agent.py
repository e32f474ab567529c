"""Schedules, the ranges of settings, and that no agent waits for its device."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError, Count, Fraction, Positive, Range, check_fields
from agents.core.stopwatch import Stopwatch
from agents.core.types import EnvSpaces, StepResult
from agents.double_dqn import DoubleDQN
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.dueling_dqn import DuelingDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.rainbow import Rainbow
from agents.reinforce import Reinforce


@dataclass
class Settings:
    lr: Positive = 1e-3
    gamma: Fraction = 0.99
    n: Count = 1
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    name: str = "x"
    share: Annotated[float | None, Range(0, 1)] = None


def test_linear_schedule():
    assert [linear_schedule(1.0, 0.0, 4, t) for t in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert linear_schedule(1.0, 0.1, 0, 0) == 0.1
    assert [linear_schedule(1.0, 0.0, 6, t, hold=2) for t in (0, 1, 2, 3, 5, 6, 9)] == [
        1.0,
        1.0,
        1.0,
        0.75,
        0.25,
        0.0,
        0.0,
    ]
    assert [linear_schedule(1.0, 0.1, 2, t, hold=4) for t in (0, 3, 4)] == [1.0, 1.0, 0.1], "a hold beyond the end"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"lr": 0}, "lr is 0; it must be greater than 0"),
        ({"lr": "fast"}, "lr is 'fast'; it must be a finite number"),
        ({"lr": float("nan")}, "lr is nan; it must be a finite number"),
        ({"lr": True}, "lr is True; it must be a finite number"),
        ({"gamma": 1.5}, "gamma is 1.5; it must be from 0 to 1"),
        ({"n": 0}, "n is 0; it must be at least 1"),
        ({"n": 1.5}, "n is 1.5; it must be a whole number"),
        ({"n": True}, "n is True; it must be a whole number"),
        ({"kind": "c"}, "kind is 'c'; it must be one of a, b"),
        ({"flag": "yes"}, "flag is 'yes'; it must be true or false"),
        ({"name": 3}, "name is 3; it must be a text"),
        ({"share": 2.0}, "share is 2.0; it must be from 0 to 1"),
        ({"share": "x"}, "share is 'x'; it must be a finite number"),
    ],
)
def test_bad_settings_are_named(bad, message):
    with pytest.raises(ConfigError) as error:
        check_fields(Settings(**bad))
    assert str(error.value) == message


def test_good_settings_pass():
    check_fields(Settings())
    check_fields(Settings(lr=1, gamma=0, n=10**9, kind="b"))


def test_stopwatch_adds_up():
    seconds = Stopwatch()
    for _ in range(2):
        with seconds("a"):
            pass
    assert list(seconds) == ["a"]
    assert 0 < seconds["a"] < 1


class HostGenerator(torch.Generator):
    """A generator that says it draws on any device."""

    def __new__(cls, device=None):
        return super().__new__(cls)


class NothingMoves(TorchDispatchMode):
    """Fails at every operation that brings numbers from one device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        seen = {x.device.type for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor) and x.dim()}
        assert len(seen) < 2, f"{func} moves numbers between {seen}"
        return result


REPLAYS = {"learning_starts": 32, "replay_size": 240, "replay_ratio": 1.0, "frame_stack": 4, "priority_alpha": 0.5}
SEQUENCES = REPLAYS | {"frame_stack": 1, "unroll": 4, "replay_ratio": 4.0}


@pytest.mark.parametrize("place", ["meta", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (DQN, REPLAYS | {"n_step": 3}),
        (DQN, REPLAYS | {"priority_alpha": 0.0, "target_tau": 0.01}),
        (DQN, REPLAYS | {"optimizer": "centered_rmsprop", "norm": "batch", "pixels": "frames"}),
        (DoubleDQN, REPLAYS),
        (DuelingDQN, REPLAYS),
        (DuelingDoubleDQN, REPLAYS),
        (ExpectedSarsa, REPLAYS),
        (Rainbow, REPLAYS),
        (DRQN, SEQUENCES),
        (DRQN, SEQUENCES | {"priority_alpha": 0.0, "core": "gru", "start_state": "stored"}),
        (Reinforce, {"batch_size": 64, "minibatch_size": 32, "frame_stack": 4}),
        (Reinforce, {"batch_size": 64, "minibatch_size": 0, "frame_stack": 2, "convolutions": False, "epochs": 2}),
    ],
)
def test_no_agent_waits_for_its_device(cls, settings, dtype, place, monkeypatch):
    """On the meta device, which computes shapes and no numbers: who asks for a number, or for as many as it decides, fails.

    (adam's fused kernel is not made for that device.) On a GPU torch itself tells.
    """
    device, n = torch.device(place), 8
    settings = {"hidden": 16, "filters": 8} | settings
    if place == "meta":
        monkeypatch.setattr(torch, "Generator", HostGenerator)
        settings = {"optimizer": "rmsprop"} | settings
    config = cls.config_class(**settings)
    agent = cls(config, EnvSpaces((84, 84), torch.uint8, 6, n), seed=1, device=device, dtype=dtype)
    carry = agent.initial_carry(n)

    obs, reward = torch.zeros((n, 84, 84), dtype=torch.uint8, device=device), torch.zeros(n, device=device)
    no = torch.zeros(n, dtype=torch.bool, device=device)

    def steps(count, carry):
        for _ in range(count):
            action, carry = agent.act(obs, no, carry, explore=True)
            metrics.update(agent.observe(StepResult(obs, no, no, action, reward, no, no, num_active=n)) or {})
        return carry

    metrics = {}
    carry = steps(15, carry)  # everything is allocated
    if place == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        with NothingMoves():
            steps(40, carry)
    finally:
        if place == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert agent.updates > 3
    assert {x.device.type for x in metrics.values()} == {place}
