"""Read YAML and JSON files that a person, another user or another program may have written or damaged.

Every file of a run and every file of settings is read here. A file that cannot be used is a `DataFileError`, whose
message is one line with the path and the reason.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from rl_lab.errors import LabError

MAX_BYTES = 2**30
"""Largest file that is read. A line of metrics.jsonl has about 700 bytes."""

MAX_YAML_BYTES = 2**17
"""Largest YAML file that is read. PyYAML takes up to half a minute for a megabyte."""

MAX_YAML_VALUES = 100_000
"""Most values of a YAML file, if each alias counts as often as the values that it stands for."""

MISSING = (errno.ENOENT, errno.ENOTDIR)
"""Error numbers of a path that does not exist."""

# What PyYAML raises besides YAMLError, for example for !!int "" or for the date 2026-13-45.
CONSTRUCTION_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

MERGE_TAG = "tag:yaml.org,2002:merge"


class DataFileError(LabError):
    """A file cannot be read, or its content is not valid."""


class MissingFileError(DataFileError):
    """A file does not exist."""


def path_exists(path: Path) -> bool:
    """Return True if something has this path, which may be a file, a folder or a broken link.

    `Path.exists` raises an exception for some paths, and returns False for a loop of symbolic links.

    Raises:
        DataFileError: The path cannot be looked up, for example because its folder belongs to another user.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in MISSING:
            return False
        raise DataFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:  # a NUL character, which no name holds
        return False
    return True


def read_text(path: Path, *, max_bytes: int = MAX_BYTES, allow_pipe: bool = False) -> str:
    """Return the content of a text file.

    Args:
        path: The file.
        max_bytes: Largest size.
        allow_pipe: Accept pipes and devices too, such as /dev/stdin. They can be read once. The default accepts regular
            files only: to open a named pipe would mean to wait for a writer.

    Raises:
        MissingFileError: The file does not exist.
        DataFileError: The file cannot be read, is too large, or is not UTF-8 text.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not (allow_pipe and not stat.S_ISDIR(mode)):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a file"
            raise DataFileError(f"{path} cannot be read: it is {kind}")
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        error_class = MissingFileError if error.errno in MISSING else DataFileError
        raise error_class(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL character in the path
        raise DataFileError(f"{str(path)!r} cannot be read: {error}") from error
    if len(content) > max_bytes:
        raise DataFileError(f"{path} cannot be read: it has more than {max_bytes:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataFileError(f"{path} cannot be read: {error}") from error


def read_json(path: Path) -> Any:
    """Return the value in a JSON file. Raises DataFileError as `read_text`, or if the content is not valid JSON."""
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise DataFileError(f"{path} is damaged: {error}") from error


def parse_json(text: str) -> Any:
    """Return the value in a JSON text. Raises ValueError with a message of one line."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    # Only an escape can be the source of such a character, because the text is UTF-8 without control characters.
    if "\\u" in text and _has_bad_character(value):
        raise ValueError("a text holds a NUL character or half of a surrogate pair")
    return value


def read_yaml(path: Path, *, allow_pipe: bool = False) -> Any:
    """Return the value in a YAML file.

    Args:
        path: The file.
        allow_pipe: As for `read_text`.

    Raises:
        DataFileError: As `read_text`, or the content is not valid YAML, gives a key twice, or grows too large by its
            aliases.
    """
    text = read_text(path, max_bytes=MAX_YAML_BYTES, allow_pipe=allow_pipe)
    try:
        value = _construct(text, path)
    except yaml.YAMLError as error:
        raise DataFileError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except CONSTRUCTION_ERRORS as error:
        reason = " ".join(str(error).split())
        if isinstance(error, RecursionError):
            reason = "its values are nested too deeply"
        raise DataFileError(f"{path} is not valid YAML: {reason}") from error
    if "\\" in text and _has_bad_character(value):
        raise DataFileError(f"{path} is not valid YAML: a text holds a NUL character or half of a surrogate pair")
    return value


def _construct(text: str, path: Path) -> Any:
    """Return the value in a YAML text. The nodes are checked before values are made of them."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_keys(node, path)
        if _count_values(node, {}) > MAX_YAML_VALUES:
            raise DataFileError(f"{path} is not valid YAML: it has more than {MAX_YAML_VALUES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_keys(root: yaml.Node, path: Path) -> None:
    """Raise DataFileError if a mapping has a key twice. PyYAML would silently use the last one."""
    waiting = [root]
    checked: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in checked:
            continue
        checked.add(id(node))
        waiting += _children(node)
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[tuple[str, str], int] = {}  # tag and text of a key -> line
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE_TAG:
                continue
            line = key.start_mark.line + 1
            name = (key.tag, key.value)
            if name in lines:
                raise DataFileError(
                    f"{path}, line {line}: the key {key.value!r} is given twice, first in line {lines[name]}"
                )
            lines[name] = line


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return the number of values below a node, with aliases replaced by what they stand for.

    Args:
        node: The node.
        counts: The results for other nodes, by the id of the node. 0 for a node that is being counted.

    Raises:
        ValueError: An alias stands for a value that contains the alias.
    """
    if id(node) in counts:
        if counts[id(node)] == 0:
            raise ValueError("an alias contains itself")
        return counts[id(node)]
    counts[id(node)] = 0
    total = 1
    for child in _children(node):
        total += _count_values(child, counts)
    counts[id(node)] = total
    return total


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Return the items of a list, or the keys and values of a mapping."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _has_bad_character(value: Any) -> bool:
    """Return True if a text in a value, at any depth, holds a NUL character or half of a surrogate pair.

    Such a text cannot be printed or be part of a path.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str) and re.search("[\0\ud800-\udfff]", item):
            return True
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list | tuple | set):
            waiting += item
    return False
