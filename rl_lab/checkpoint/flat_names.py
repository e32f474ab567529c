"""Conversion between nested state and flat names, which safetensors and JSON files hold.

    {"agent": {"steps": 3, "records": [tensor_a, tensor_b]}}
    {"agent/steps": 3, "agent/records/[0]": tensor_a, "agent/records/[1]": tensor_b}

A part of a name in square brackets is an index into a list.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from agents.memory.ring import Ring

StateTree = dict[str, Any]
"""Nested state: dicts and lists whose leaves are tensors, `Ring`s and JSON values."""

INDEX = re.compile(r"\[(\d+)\]")


def flatten(tree: StateTree) -> dict[str, Any]:
    """Return the leaves of nested state under flat names.

    A list or tuple that holds a tensor, a `Ring` or a dict, at any depth of lists, is flattened too. Every other list
    is a leaf, which JSON can hold. Empty dicts and empty lists are leaves.

    Args:
        tree: Nested state. Keys are converted to text; they must not contain "/" or look like an index, "[0]".
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        _flatten_value(str(key), value, flat)
    return flat


def unflatten(flat: dict[str, Any]) -> StateTree:
    """Return the nested state that `flatten` was given, with text keys, and with lists in place of tuples.

    Raises:
        ValueError: The names contradict each other, or an index of a list is missing.
    """
    tree: StateTree = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"{name} is below a name that holds a value")
        node[leaf] = value
    return {key: _dicts_to_lists(value, key) for key, value in tree.items()}


def _flatten_value(name: str, value: Any, flat: dict[str, Any]) -> None:
    """Add the leaves of a value to `flat`."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _flatten_value(f"{name}/{key}", item, flat)
    elif isinstance(value, list | tuple) and _is_not_json(value):
        for index, item in enumerate(value):
            _flatten_value(f"{name}/[{index}]", item, flat)
    else:
        flat[name] = value


def _is_not_json(value: Any) -> bool:
    """Return True for a tensor, a `Ring`, a dict, and for a list that contains one of these at any depth of lists."""
    if isinstance(value, list | tuple):
        return any(_is_not_json(item) for item in value)
    return isinstance(value, Tensor | Ring | dict)


def _dicts_to_lists(node: Any, name: str) -> Any:
    """Return the node with each dict of indices, at any depth, replaced by a list."""
    if not isinstance(node, dict):
        return node
    children = {key: _dicts_to_lists(value, f"{name}/{key}") for key, value in node.items()}
    matches = [INDEX.fullmatch(key) for key in children]
    if not any(matches):
        return children
    if {f"[{index}]" for index in range(len(children))} != children.keys():
        raise ValueError(f"{name} is a list with missing indices")
    return [children[f"[{index}]"] for index in range(len(children))]
