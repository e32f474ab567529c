"""Tests of the conversion between nested state and flat names."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.memory.ring import Ring
from rl_lab import checkpoint

KEYS = st.sampled_from(["a", "b", "c", "0"])
JSON_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
LEAVES = JSON_LEAVES | st.integers().map(lambda number: Ring({}, number))
STATES = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda child: st.lists(child, max_size=3) | st.dictionaries(KEYS, child, max_size=3)),
    max_size=4,
)


def test_flatten_joins_keys_with_slashes():
    tree = {"a": {"b": 1, "c": {"d": "x"}}, "e": None}
    assert checkpoint.flatten(tree) == {"a/b": 1, "a/c/d": "x", "e": None}


def test_flatten_numbers_lists_and_tuples_that_hold_tensors():
    first, second = torch.ones(2), torch.zeros(3)
    flat = checkpoint.flatten({"carry": (first, second), "records": [[first], [second]]})
    assert list(flat) == ["carry/[0]", "carry/[1]", "records/[0]/[0]", "records/[1]/[0]"]
    assert flat["carry/[1]"] is second
    assert flat["records/[0]/[0]"] is first


def test_flatten_numbers_lists_that_hold_rings_or_dicts():
    ring = Ring({}, 0)
    assert checkpoint.flatten({"a": [ring], "b": [{"c": 1}, 2]}) == {"a/[0]": ring, "b/[0]/c": 1, "b/[1]": 2}


def test_flatten_keeps_lists_of_json_values_and_empty_containers():
    tree = {"plain": [1, [2, "x"], None], "empty list": [], "empty dict": {}, "nested": [[], []]}
    assert checkpoint.flatten(tree) == tree


def test_flatten_converts_keys_to_text():
    assert checkpoint.flatten({"optimizer": {0: {"step": 1}}}) == {"optimizer/0/step": 1}


def test_unflatten_returns_lists_for_tuples():
    tensor = torch.ones(2)
    assert checkpoint.unflatten(checkpoint.flatten({"carry": (tensor,), "none": ()})) == {"carry": [tensor], "none": ()}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STATES)
def test_unflatten_inverts_flatten(tree: dict[str, Any]):
    assert checkpoint.unflatten(checkpoint.flatten(tree)) == tree


def test_unflatten_orders_more_than_ten_entries_by_number():
    tree = {"a": [Ring({}, number) for number in range(12)]}
    flat = checkpoint.flatten(tree)
    assert checkpoint.unflatten({name: flat[name] for name in sorted(flat)}) == tree


@pytest.mark.parametrize(
    "names",
    [
        ["a/[1]"],
        ["a/[0]", "a/[2]"],
        ["a/[0]", "a/b"],
        ["a/[999999999]"],
        ["a/[00]"],
    ],
)
def test_unflatten_raises_if_keys_of_a_list_are_not_all_indices(names: list[str]):
    with pytest.raises(ValueError, match=r"a is a list, but its \d keys are not \[0\] to"):
        checkpoint.unflatten(dict.fromkeys(names, 1))


@pytest.mark.parametrize("value", [1, {}, [], None])
def test_unflatten_raises_if_a_name_is_below_a_value(value: Any):
    with pytest.raises(ValueError, match="a/b is below a name that holds a value"):
        checkpoint.unflatten({"a": value, "a/b": 2})


def test_unflatten_leaves_an_empty_dict_unchanged():
    empty: dict[str, Any] = {}
    with pytest.raises(ValueError, match="a/b/c is below"):
        checkpoint.unflatten({"a/b": empty, "a/b/c": 1})
    assert empty == {}


@pytest.mark.parametrize("flat", [{"a/b": 2, "a": 1}, {"c/a/b/d": 2, "c/a": {}}, {"a/[0]": 2, "a": [1]}])
def test_unflatten_raises_if_a_value_has_a_name_that_other_names_are_below(flat: dict[str, Any]):
    with pytest.raises(ValueError, match="a holds a value, but other names are below it"):
        checkpoint.unflatten(flat)
