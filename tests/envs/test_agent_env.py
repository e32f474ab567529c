"""Tests of the environment as agents see it: actions with several parts, action masks, and what is checked."""

import itertools
import json
import random
from collections import Counter
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_envs import EPISODE, Plain

from envs.agent_env import action_parts, check_actions, to_box, to_combination
from envs.errors import EnvError, EnvFault
from envs.gymnasium_envs import DISCRETE_STATE_MAX_STEPS
from envs.make import adapt, make_stream, resolve
from envs.options import EnvOptions
from envs.spec import EnvSpec
from envs.stream import Stream


@pytest.fixture
def register():
    """Return a function that registers an environment as Test-v0, until the end of the test."""

    def register_env(make: Any, **arguments: Any) -> str:
        gymnasium.register("Test-v0", make, **arguments)
        return "Test-v0"

    yield register_env
    gymnasium.registry.pop("Test-v0", None)


def play(stream: Stream, actions: list[int]) -> list[Any]:
    """Return the rows of a stream of one environment after a reset and these actions. The stream is closed."""
    rows = [stream.reset(1)]
    try:
        for action in actions:
            stream.send(np.array([action]))
            rows.append(stream.recv())
        return rows
    finally:
        stream.close()


# --- Actions with several parts ---------------------------------------------------------------------------------------


class Recorder(Plain):
    """Records the actions that it receives. Episodes have no end."""

    received: list[Any]

    def step(self, action: Any) -> Any:
        """Record the action."""
        assert self.action_space.contains(action), action
        self.received.append(action)
        return self.obs(), 0.0, False, False, {}


def combinations_of(space: Any) -> list[Any]:
    """Return all actions of a space as nested lists, the last part fastest."""
    if isinstance(space, MultiBinary):
        ranges = [range(2)] * int(np.prod(space.shape))
    else:
        starts = np.ravel(space.start).tolist()
        ranges = [range(low, low + n) for low, n in zip(starts, np.ravel(space.nvec).tolist(), strict=True)]
    return [np.reshape(parts, space.shape).tolist() for parts in itertools.product(*ranges)]


@pytest.mark.parametrize(
    "space",
    [
        MultiDiscrete([3]),
        MultiDiscrete([2, 3, 4]),
        MultiDiscrete([2, 3], start=[5, -7]),
        MultiDiscrete(np.array([[2, 3], [1, 2]]), start=np.array([[0, 1], [-1, 3]])),
        MultiDiscrete([1, 1]),
        MultiBinary(3),
        MultiBinary((2, 2)),
    ],
    ids=str,
)
def test_environment_receives_every_combination_once(space, register):
    class Env(Recorder):
        action_space = space
        received: list[Any] = []  # noqa: RUF012  # filled after the trial before a run

    env_spec = resolve(register(Env))
    expected = combinations_of(space)
    assert env_spec.num_actions == len(expected)
    assert env_spec.action_parts == action_parts(space)
    assert len(env_spec.actions) == sum(env_spec.action_parts)
    Env.received.clear()
    stream = make_stream(env_spec, 1, vectorization="sync")
    assert stream.num_actions == len(expected)
    play(stream, list(range(len(expected))))
    assert [action.tolist() for action in Env.received] == expected
    assert all(action.dtype == space.dtype for action in Env.received)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 10**9))
def test_number_of_a_combination_counts_the_last_part_fastest(nvec, number):
    space = MultiDiscrete(nvec)
    number %= int(np.prod(nvec))
    assert to_combination(space, number).tolist() == [int(i) for i in np.unravel_index(number, nvec)]
    assert space.contains(to_combination(space, number))


@pytest.mark.parametrize("space", [MultiBinary(62), MultiDiscrete([1] * 100), MultiDiscrete([2] * 62 + [1] * 40)])
def test_largest_and_smallest_combination_of_many_parts(space):
    check_actions("X-v0", space)
    sizes = action_parts(space)
    last = int(np.prod([int(n) for n in sizes], dtype=object)) - 1
    assert to_combination(space, 0).tolist() == [0] * len(sizes)
    assert to_combination(space, last).tolist() == [n - 1 for n in sizes]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Discrete(100_001), "X-v0 has 100,001 actions; agents take at most 100,000"),
        (Discrete(10**12), "X-v0 has 1,000,000,000,000 actions; agents take at most 100,000"),
        (MultiDiscrete([10**12, 2]), "X-v0 has 1,000,000,000,002 actions; agents take at most 100,000"),
        (MultiBinary(63), r"X-v0 has 9e\+18 combinations of actions; agents take at most 2\^62"),
        (MultiDiscrete([1000] * 30), r"X-v0 has 1e\+90 combinations of actions"),
        (Tuple((Discrete(2), Discrete(2))), "agents need a Discrete, MultiDiscrete, MultiBinary or Box one"),
        (Box(0, 5, (2,), np.int64), "X-v0 has a Box of actions of type int64; it must be float32 or float64"),
        (Box(0.0, np.inf, (2,)), r"X-v0: entry 0 of an action is in \[0, inf\]; agents need finite bounds"),
        (
            Box(np.array([0, 1], np.float32), np.array([1, 1], np.float32)),
            r"X-v0: entry 1 of an action is in \[1, 1\]; agents need",
        ),
        (Box(-1.0, 1.0, (0,)), "X-v0 has actions with 0 entries; agents take from 1 to 100,000"),
    ],
)
def test_actions_beyond_the_limits_are_refused(space, message):
    with pytest.raises(EnvError, match=message):
        check_actions("X-v0", space)


def test_largest_number_of_discrete_actions_is_accepted(register):
    class Env(Plain):
        action_space = Discrete(100_000, start=7)

    assert resolve(register(Env)).num_actions == 100_000


def test_actions_with_several_parts_have_names_by_part(register):
    class Env(Plain):
        action_space = MultiDiscrete([2, 3])

        def reward(self, action: Any) -> float:
            return 0.0

    env_spec = resolve(register(Env))
    assert env_spec.actions == ("0.0", "0.1", "1.0", "1.1", "1.2")
    assert "6 actions (2 x 3)" in str(env_spec)
    with pytest.raises(EnvError, match="actions cannot be chosen, because Test-v0 has actions of several parts"):
        adapt(env_spec, actions="0.0")


# --- Continuous actions -----------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.floats(-100, 100, width=32), st.floats(0.0625, 100, width=32), st.floats(-3, 3, width=32))
def test_continuous_actions_are_clipped_and_mapped_to_the_bounds(low, size, action):
    high = float(np.float32(low + size))
    space = Box(np.float32(low), np.float32(high), (1,))
    clipped = min(max(action, -1.0), 1.0)
    expected = low + (high - low) * (clipped + 1) / 2
    got = to_box(space, np.array([action], np.float32))
    assert got.dtype == np.float32
    assert float(got[0]) == pytest.approx(expected, rel=1e-5, abs=1e-5 * size)
    assert space.contains(got)


@pytest.mark.parametrize(("action", "share"), [(-3, -1), (-1, -1), (-0.5, -0.5), (0, 0), (1, 1)])
def test_bounds_may_be_the_largest_numbers_of_their_type(action, share):
    largest = np.finfo(np.float64).max
    space = Box(-largest, largest, (1,), np.float64)
    got = float(to_box(space, np.array([action], np.float32))[0])
    assert got == pytest.approx(share * largest, rel=1e-12)


def test_environment_receives_continuous_actions_in_its_own_shape_and_type(register):
    received: list[Any] = []

    class Env(Plain):
        action_space = Box(np.array([[0.0, -2.0], [1.0, 5.0]]), np.array([[1.0, 2.0], [3.0, 6.0]]), dtype=np.float64)

        def reward(self, action: Any) -> float:
            assert self.action_space.contains(action), action
            received.append(action)
            return 0.0

    env_spec = resolve(register(Env))
    assert env_spec.action_bounds == ((0.0, 1.0), (-2.0, 2.0), (1.0, 3.0), (5.0, 6.0))
    assert env_spec.num_actions == 0
    assert "continuous actions float32[4] (different ranges)" in str(env_spec)
    assert EnvSpec.from_dict(json.loads(json.dumps(env_spec.to_dict()))) == env_spec
    stream = make_stream(env_spec, 1)
    received.clear()
    stream.reset(1)
    stream.send(np.array([[-1, 0, 1, 9]], np.float32))
    stream.recv()
    stream.close()
    assert received[0].tolist() == [[0.0, 0.0], [3.0, 6.0]]
    with pytest.raises(EnvError, match="actions cannot be chosen, because Test-v0 has continuous actions"):
        adapt(env_spec, actions="0")


# --- Action masks -----------------------------------------------------------------------------------------------------

NUM_ACTIONS = 5


class Masked(Plain):
    """In step t, the actions t mod 5 and (t + 2) mod 5 are legal. An illegal action raises.

    The mask is in the info, in a method or in a Dict observation, as `source` says.
    """

    source = "info"
    action_space: Any = Discrete(NUM_ACTIONS)
    mask_type: Any = np.int8

    def __init__(self) -> None:
        super().__init__()
        if self.source == "observation":
            mask = Box(0, 1, (NUM_ACTIONS,), np.int8)
            self.observation_space = Dict(board=Box(-1, 1, (2,), np.float32), action_mask=mask)
        if self.source == "method":
            self.action_masks = self.mask

    def mask(self) -> Any:
        """Return the mask of the present step. In the last step of an episode no action is legal."""
        mask = np.zeros(NUM_ACTIONS, self.mask_type)
        if self.step_in_episode < EPISODE:
            mask[[self.step_in_episode % 5, (self.step_in_episode + 2) % 5]] = 1
        return mask

    def info(self) -> dict[str, Any]:
        """Return the mask if it belongs to the info."""
        return {"action_mask": self.mask()} if self.source == "info" else {}

    def obs(self) -> Any:
        """Return the step, and the mask if it belongs to the observation."""
        board = np.full(2, self.step_in_episode / 10, np.float32)
        return {"board": board, "action_mask": self.mask()} if self.source == "observation" else board

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        obs, _ = super().reset(seed=seed)
        return obs, self.info()

    def step(self, action: Any) -> Any:
        """Take a legal action."""
        if not self.mask()[self.index(action)]:
            raise ValueError(f"action {action} is illegal")
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, reward, terminated, truncated, self.info()

    def index(self, action: Any) -> int:
        """Return the index of an action in the mask."""
        return int(action) - int(self.action_space.start)


def masked_env(**attributes: Any) -> type[Masked]:
    """Return the class with other attributes."""
    return type("MaskedTest", (Masked,), attributes)


SOURCES = ["info", "method", "observation"]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("source", SOURCES)
def test_legal_actions_are_those_of_the_environment(source, vectorization, register):
    """The trial before a run takes legal actions too: the environment raises for others."""
    env_spec = resolve(register(masked_env(source=source)))
    assert env_spec.mask_source == source
    assert env_spec.packed is not None
    assert (env_spec.packed.vector, env_spec.packed.num_masked) == (2, NUM_ACTIONS)
    assert "action masks" in env_spec.transformations
    assert EnvSpec.from_dict(env_spec.to_dict()) == env_spec
    stream = make_stream(env_spec, 2, vectorization=vectorization)
    row = stream.reset(1)
    steps = np.zeros(2, int)
    for t in range(14):
        legal = stream.legal_actions(row)
        assert legal is not None
        for i in range(2):
            expected = {(steps[i]) % 5, (steps[i] + 2) % 5} if steps[i] < EPISODE else set(range(NUM_ACTIONS))
            assert set(np.flatnonzero(legal[i])) == expected
        assert row.is_last.tolist() == [bool(step == EPISODE) for step in steps]
        np.testing.assert_allclose(row.obs[:, :8].view(np.float32)[:, 0], steps / 10, rtol=1e-6)
        stream.send(np.array([np.flatnonzero(legal[0])[t % 2], np.flatnonzero(legal[1])[0]]))
        steps = np.where(steps == EPISODE, 0, steps + 1)
        row = stream.recv()
    stream.close()


@pytest.mark.parametrize("mask_type", [bool, np.int8, np.float32, np.uint8, np.int64])
def test_numbers_of_a_mask_may_have_any_type(mask_type, register):
    env_spec = resolve(register(masked_env(mask_type=mask_type)))
    stream = make_stream(env_spec, 1)
    (row,) = play(stream, [])
    legal = stream.legal_actions(row)
    assert legal is not None
    assert legal.tolist() == [[True, False, True, False, False]]


def test_mask_belongs_to_actions_that_start_at_another_number(register):
    env_spec = resolve(register(masked_env(action_space=Discrete(NUM_ACTIONS, start=10))))
    stream = make_stream(env_spec, 1)
    rows = play(stream, [2, 1, 4, 0, 1])
    assert rows[-1].is_last.all()


def test_mask_as_a_list_is_accepted(register):
    env_spec = resolve(register(masked_env(info=lambda self: {"action_mask": self.mask().tolist()})))
    assert env_spec.mask_source == "info"


def test_masks_reach_the_agent_through_wrappers_of_the_person(register):
    """A method is found behind a wrapper, and the time limit of Gymnasium."""
    env_id = register(masked_env(source="method"), max_episode_steps=3)
    options = EnvOptions.from_dict({"wrappers": [{"name": "gymnasium.wrappers:RecordEpisodeStatistics"}]})
    env_spec = resolve(env_id, options=options)
    assert env_spec.mask_source == "method"
    rows = play(make_stream(env_spec, 1), [0, 1, 2, 0])
    assert [bool(row.is_last[0]) for row in rows] == [False, False, False, True, False]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("source", ["info", "method"])
def test_mask_may_be_missing_at_the_end_of_an_episode(source, vectorization, register):
    class NoLastMask(masked_env(source=source)):
        def mask(self) -> Any:
            return super().mask() if self.step_in_episode < EPISODE else None

        def info(self) -> dict[str, Any]:
            return super().info() if self.step_in_episode < EPISODE else {}

        def step(self, action: Any) -> Any:
            assert self.mask()[action]
            obs, reward, terminated, truncated, _ = Plain.step(self, action)
            return obs, reward, terminated, truncated, self.info()

    stream = make_stream(resolve(register(NoLastMask)), 1, vectorization=vectorization)
    row = stream.reset(1)
    num_legal = []
    for _ in range(7):
        legal = stream.legal_actions(row)
        assert legal is not None
        num_legal.append(int(legal.sum()))
        stream.send(legal.argmax(1))
        row = stream.recv()
    stream.close()
    assert num_legal == [2, 2, 2, 2, 2, NUM_ACTIONS, 2]


def test_masks_hold_in_the_last_row_before_a_cut(register):
    """The environment does not know of the cut. Its step with the action of this row is thrown away, but must work."""
    stream = make_stream(resolve(register(masked_env())), 1)
    stream.max_steps = 3
    row = stream.reset(1)
    for _ in range(12):
        legal = stream.legal_actions(row)
        assert legal is not None
        assert legal.sum() == 2
        stream.send(legal.argmax(1))
        row = stream.recv()
    assert [(episode.length, episode.is_cut) for episode in stream.pop_episodes()] == [(3, True)] * 3
    stream.close()


def test_environment_without_masks_has_no_legal_actions():
    stream = make_stream(resolve("CartPole-v1"), 1)
    (row,) = play(stream, [])
    assert stream.legal_actions(row) is None


@pytest.mark.parametrize("source", SOURCES)
def test_masks_can_be_ignored(source, register):
    class Tolerant(masked_env(source=source)):
        def step(self, action: Any) -> Any:
            obs, reward, terminated, truncated, _ = Plain.step(self, action)
            return obs, reward, terminated, truncated, self.info()

    env_spec = resolve(register(Tolerant), options=EnvOptions(action_masks=False))
    assert env_spec.mask_source == ""
    assert env_spec.packed is None
    # The mask is an ordinary part of a Dict observation then.
    assert env_spec.frame == ((7,) if source == "observation" else (2,))
    stream = make_stream(env_spec, 1)
    rows = play(stream, [4])
    assert stream.legal_actions(rows[0]) is None


def test_actions_of_an_environment_with_masks_cannot_be_chosen(register):
    env_spec = resolve(register(masked_env()))
    with pytest.raises(EnvError, match=r"Test-v0 masks its actions \(--no-action-masks ignores the masks\)"):
        adapt(env_spec, actions="0,1")
    with pytest.raises(EnvError, match="mask_velocity is for"):
        adapt(env_spec, mask_velocity=True)


def test_masks_of_actions_with_several_parts_are_refused(register):
    class Env(masked_env()):
        action_space = MultiDiscrete([NUM_ACTIONS, 2])

    with pytest.raises(EnvError, match=r"Test-v0 has masks for actions of MultiDiscrete.*--no-action-masks ignores"):
        resolve(register(Env))


def _raise(*_: Any) -> Any:
    raise KeyError("no board")


WRONG_MASKS: dict[str, tuple[Any, str]] = {
    "missing": (lambda mask: None, "Test-v0 sent no mask; action masks must hold one number for each of 5 actions"),
    "short": (lambda mask: mask[:4], r"a mask of shape \(4,\) and type int8; .* for each of 5 actions"),
    "two axes": (lambda mask: mask[None], r"a mask of shape \(1, 5\)"),
    "text": (lambda mask: "01000", r"a mask of shape \(\) and type <U5"),
    "ragged": (lambda mask: [1, [2]], "a mask that is no array; action masks must hold"),
    "nothing legal": (lambda mask: mask * 0, "Test-v0 has no legal action in its action mask, although the episode"),
    "raises": (_raise, r"Test-v0 fails in .*: KeyError: 'no board'.* \(.*test_agent_env.py:\d+\)"),
}


def wrong_later(source: str, change: Any) -> type[Masked]:
    """Return an environment whose mask is changed from step 60 on, after the trial before a run."""

    class Wrong(masked_env(source=source)):
        def mask(self) -> Any:
            mask = super().mask()
            return change(mask) if self.goes_wrong() else mask

        def step(self, action: Any) -> Any:
            obs, reward, terminated, truncated, _ = Plain.step(self, action)
            info = self.info()
            if info.get("action_mask", 0) is None:
                del info["action_mask"]
            return obs, reward, terminated, truncated, info

    return Wrong


@pytest.mark.parametrize("source", ["info", "method"])
@pytest.mark.parametrize("name", WRONG_MASKS)
def test_wrong_mask_is_a_fault_in_one_line(name, source, register):
    change, message = WRONG_MASKS[name]
    stream = make_stream(resolve(register(wrong_later(source, change))), 1, vectorization="sync")
    with pytest.raises(EnvFault, match=message) as error:
        play(stream, [0] * 100)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (WRONG_MASKS["nothing legal"][0], "has no legal action in its action mask"),
        (lambda mask: mask[:4], r"shape \(4,\)"),
        (lambda mask: None, r"Test-v0"),
    ],
)
def test_wrong_mask_in_an_observation_is_a_fault_in_one_line(change, message, register):
    stream = make_stream(resolve(register(wrong_later("observation", change))), 1, vectorization="sync")
    with pytest.raises(EnvFault, match=message) as error:
        play(stream, [0] * 100)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in WRONG_MASKS if name != "missing"])
def test_mask_that_is_wrong_from_the_start_is_refused(name, register):
    change, message = WRONG_MASKS[name]

    class Wrong(masked_env(source="method")):
        def mask(self) -> Any:
            return change(super().mask())

    with pytest.raises(EnvError, match=message):
        resolve(register(Wrong))


# --- Parts of observations are checked --------------------------------------------------------------------------------

PARTS = Dict(
    board=Box(0, 9, (3, 3), np.uint8),
    state=Discrete(4),
    states=MultiDiscrete([2, 3], start=[1, 0]),
    bits=MultiBinary(2),
    pair=Tuple((Box(-1, 1, (2,), np.float32), Discrete(2))),
)
CHANGES: dict[str, tuple[Any, str]] = {
    "no mapping": (lambda obs: 3, "returned the observation 3, which has no part 'board'"),
    "missing part": (lambda obs: {"state": 1}, "the observation {'state': 1}, which has no part 'board'"),
    "shape": (lambda obs: {**obs, "board": np.zeros((3, 4), np.uint8)}, r"'board' of shape \(3, 4\); .* \(3, 3\)"),
    "type": (lambda obs: {**obs, "board": np.full((3, 3), 300)}, "'board' of type int64 with values that uint8"),
    "state": (lambda obs: {**obs, "state": 4}, r"'state' 4, which is not in Discrete\(4\)"),
    "negative state": (lambda obs: {**obs, "state": -1}, "'state' -1, which is not in Discrete"),
    "states": (lambda obs: {**obs, "states": np.array([0, 0])}, r"'states' array\(\[0, 0\]\), which is not in Multi"),
    "half a state": (lambda obs: {**obs, "states": np.array([1.5, 0])}, "'states' array.*, which is not in Multi"),
    "bits": (lambda obs: {**obs, "bits": np.array([0, 2], np.int8)}, "'bits' .*, which is not in MultiBinary"),
    "short tuple": (lambda obs: {**obs, "pair": (obs["pair"][0],)}, "which has no part 'pair/1'"),
    "in tuple": (lambda obs: {**obs, "pair": (np.zeros(3), 1)}, r"'pair/0' of shape \(3,\)"),
    "text": (lambda obs: {**obs, "board": "x"}, r"'board' of shape \(\)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_part_that_does_not_fit_into_its_space_is_a_fault_in_one_line(name, register):
    change, message = CHANGES[name]

    class Wrong(Plain):
        observation_space = PARTS

        def obs(self) -> Any:
            obs = self.observation_space.sample()
            return change(obs) if self.goes_wrong() else obs

    stream = make_stream(resolve(register(Wrong)), 1, vectorization="sync")
    with pytest.raises(EnvFault, match=message) as error:
        play(stream, [0] * 100)
    assert "\n" not in str(error.value)
    assert "test_agent_env.py" in str(error.value)


@pytest.mark.parametrize("space", [MultiDiscrete([2, 3]), MultiBinary(2), MultiDiscrete(np.array([[2], [3]]))])
def test_states_outside_of_their_space_are_a_fault(space, register):
    class Wrong(Plain):
        observation_space = space

        def obs(self) -> Any:
            return np.array([1, 3]) if self.goes_wrong() else self.observation_space.sample()

    stream = make_stream(resolve(register(Wrong)), 1, vectorization="sync")
    with pytest.raises(EnvFault, match=r"returned the observation array\(\[1, 3\]\), which is not in Multi") as error:
        play(stream, [0] * 100)
    assert "\n" not in str(error.value)


def test_lists_are_accepted_as_arrays_of_a_part(register):
    """Environments return Python lists and numbers where their space has arrays."""

    class Listed(Plain):
        observation_space = PARTS

        def obs(self) -> Any:
            return {
                "board": [[1, 2, 3]] * 3,
                "state": 3,
                "states": [2, 1],
                "bits": [True, False],
                "pair": [[0.5, 0.5], 1],
                "extra": None,
            }

    stream = make_stream(resolve(register(Listed)), 1)
    (row,) = play(stream, [])
    vector = row.obs[0, : 4 * (4 + 4 + 5 + 2 + 2)].view(np.float32)
    assert sorted(Counter(vector.tolist()).items()) == [(0.0, 17 - 8), (0.5, 2), (1.0, 6)]


def test_part_that_is_not_used_is_not_checked(register):
    """An environment with an unsupported part may send anything there."""

    class Env(Plain):
        observation_space = Dict(a=Box(-1, 1, (2,), np.float32), text=gymnasium.spaces.Text(3))

        def obs(self) -> Any:
            return {"a": np.zeros(2, np.float32), "text": 17}

    env_spec = resolve(register(Env), options=EnvOptions(obs_key="a"))
    assert env_spec.frame == (2,)


# --- Time limit -------------------------------------------------------------------------------------------------------


class Endless(Plain):
    """Has no end."""

    def step(self, action: Any) -> Any:
        """Take a step."""
        return self.obs(), 1.0, False, False, {}


@pytest.mark.parametrize(
    ("space", "limit", "expected"),
    [
        (Discrete(3), None, DISCRETE_STATE_MAX_STEPS),
        (MultiDiscrete([2, 2]), None, DISCRETE_STATE_MAX_STEPS),
        (Dict(a=Discrete(2), b=MultiBinary(2)), None, DISCRETE_STATE_MAX_STEPS),
        (Discrete(3), 1500, 1500),
        (Dict(a=Discrete(2), b=Box(-1, 1, (1,))), None, None),
        (Box(-1, 1, (2,)), None, None),
    ],
    ids=str,
)
def test_episodes_with_discrete_states_have_a_limit(space, limit, expected, register):
    class Env(Endless):
        observation_space = space

        def obs(self) -> Any:
            space.seed(1)
            return space.sample()

    stream = make_stream(resolve(register(Env, max_episode_steps=limit)), 1)
    rows = play(stream, [0] * 1600)
    ends = [t for t, row in enumerate(rows) if row.is_last[0]]
    assert ends[:1] == ([expected] if expected else [])
    assert all(rows[t].truncated[0] and not rows[t].terminated[0] for t in ends)


def test_random_legal_play_of_tic_tac_toe_fills_the_board(register):
    """The mask of each row is that of the same row: every illegal move raises."""

    class TicTacToe(gymnasium.Env):
        observation_space = Box(0, 1, (3, 3), np.int8)
        action_space = Discrete(9)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            super().reset(seed=seed)
            self.board = np.zeros((3, 3), np.int8)
            return self.board, {"action_mask": self.board.ravel() == 0}

        def step(self, action: Any) -> Any:
            assert self.board.flat[action] == 0
            self.board.flat[action] = 1
            return self.board, 0.0, bool(self.board.all()), False, {"action_mask": self.board.ravel() == 0}

    stream = make_stream(resolve(register(TicTacToe)), 3)
    row = stream.reset(1)
    rng = random.Random(1)
    for _ in range(100):
        legal = stream.legal_actions(row)
        assert legal is not None
        stream.send(np.array([rng.choice(np.flatnonzero(mask).tolist()) for mask in legal]))
        row = stream.recv()
    episodes = stream.pop_episodes()
    stream.close()
    assert len(episodes) == 30
    assert {episode.length for episode in episodes} == {9}
