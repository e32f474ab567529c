"""Convert nested state to values under flat names, which safetensors and JSON files hold, and back.

For example:

    nested    {"agent": {"steps": 3, "records": [tensor_a, tensor_b], "shape": [84, 84]}}
    flat      {"agent/steps": 3, "agent/records/[0]": tensor_a, "agent/records/[1]": tensor_b, "agent/shape": [84, 84]}

A part of a name in square brackets is an index into a list. A list of plain values, here "shape", stays one value.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from agents.memory.ring import Ring

StateTree = dict[str, Any]
"""Nested state: dicts, lists and tuples whose leaves are tensors, `Ring`s and JSON values."""

INDEX = re.compile(r"\[(\d+)\]")


def flatten(tree: StateTree) -> dict[str, Any]:
    """Return the leaves of nested state under flat names.

    A list or tuple is flattened too if it holds a tensor, a `Ring` or a dict, directly or in lists inside it. Every
    other list or tuple is a leaf: JSON can hold plain values, but writes a tuple as a list. Empty dicts and empty lists
    are leaves.

    Args:
        tree: Nested state. Keys are converted to text. They must not contain "/", nor look like an index such as "[0]".

    Returns:
        The leaves by flat name, in the order of the tree.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        _flatten_value(str(key), value, flat)
    return flat


def unflatten(flat: dict[str, Any]) -> StateTree:
    """Return the nested state that `flatten` was given, with text keys, and with lists in place of flattened tuples.

    Raises:
        ValueError: A name holds a value and is also the beginning of another name, such as "a" and "a/b". Or the keys
            of a list are not all the indices from 0 on.
    """
    tree: StateTree = {}
    values: set[int] = set()  # ids of values of `flat` that are dicts; they hold a value, not names
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict) or id(node) in values:
                raise ValueError(f"{name} is below a name that holds a value")
        if leaf in node:
            raise ValueError(f"{name} holds a value, but other names are below it")
        node[leaf] = value
        if isinstance(value, dict):
            values.add(id(value))
    return {key: _dicts_to_lists(value, key) for key, value in tree.items()}


def _flatten_value(name: str, value: Any, flat: dict[str, Any]) -> None:
    """Add the leaves of a value to `flat`, under `name` or under names that begin with `name` and a slash."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _flatten_value(f"{name}/{key}", item, flat)
    elif isinstance(value, list | tuple) and _contains_tensor_ring_or_dict(value):
        for index, item in enumerate(value):
            _flatten_value(f"{name}/[{index}]", item, flat)
    else:
        flat[name] = value


def _contains_tensor_ring_or_dict(items: list[Any] | tuple[Any, ...]) -> bool:
    """Return True if an item is a tensor, a `Ring` or a dict, or a list that contains one of these at any depth."""
    for item in items:
        if isinstance(item, Tensor | Ring | dict):
            return True
        if isinstance(item, list | tuple) and _contains_tensor_ring_or_dict(item):
            return True
    return False


def _dicts_to_lists(node: Any, name: str) -> Any:
    """Return the node with each dict whose keys are indices, at any depth, replaced by a list.

    Raises:
        ValueError: A dict has an index among its keys, but its keys are not all the indices from 0 on.
    """
    if not isinstance(node, dict):
        return node
    children = {key: _dicts_to_lists(value, f"{name}/{key}") for key, value in node.items()}
    matches = [INDEX.fullmatch(key) for key in children]
    if not any(matches):
        return children
    if {f"[{index}]" for index in range(len(children))} != children.keys():
        raise ValueError(f"{name} is a list, but its {len(children)} keys are not [0] to [{len(children) - 1}]")
    return [children[f"[{index}]"] for index in range(len(children))]
