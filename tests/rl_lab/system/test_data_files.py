"""Tests of reading YAML and JSON files that are damaged, hostile or not files at all."""

import os
import threading
from pathlib import Path

import pytest

from rl_lab.system.data_files import (
    MAX_YAML_BYTES,
    DataFileError,
    MissingFileError,
    parse_json,
    path_exists,
    read_json,
    read_text,
    read_yaml,
)

ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n" for below, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: [1", "is not valid YAML"),
        ("lr: 1\ngamma: 0.5\nlr: 2\n", "c.yaml, line 3: the key 'lr' is given twice, first in line 1"),
        ("presets:\n  mine:\n    lr: 1\n    lr: 1\n", "line 4: the key 'lr' is given twice, first in line 3"),
        ("lr: 1\n'lr': 2\n", "line 2: the key 'lr' is given twice"),
        ("a: {lr: 1, lr: 2}", "line 1: the key 'lr' is given twice"),
        ("[" * 5000, "its values are nested too deeply"),
        ("a: " * 3 + "1", "is not valid YAML"),
        (ALIAS_BOMB, "it has more than 100,000 values"),
        ("a: &a [*a]", "an alias contains itself"),
        ("a: &a {b: *a}", "an alias contains itself"),
        ("a: 2026-13-45", "month must be in 1..12"),
        ("a: !!int ''", "is not valid YAML"),
        ("a: !!bool maybe", "is not valid YAML"),
        ("a: !!timestamp now", "is not valid YAML"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("a: " + "1" * 5000, "is not valid YAML"),
        ('group: "a\\0b"', "a text holds a NUL character"),
        ('group: "\\ud800"', "half of a surrogate pair"),
        ("a: \x07", "special characters are not allowed"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("#" * (MAX_YAML_BYTES + 1), "it has more than 131,072 bytes"),
    ],
)
def test_read_yaml_raises_in_one_line_for_bad_content(text: str, message: str, tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(DataFileError) as error:
        read_yaml(path)
    assert message in str(error.value)
    assert "c.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_read_yaml_accepts_aliases_and_merge_keys(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("base: &base {lr: 1, gamma: 2}\nmore: &more {<<: *base, lr: 3}\nlast: {<<: *more, gamma: 4}\n")
    content = read_yaml(path)
    assert content["more"] == {"lr": 3, "gamma": 2}
    assert content["last"] == {"lr": 3, "gamma": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("", "is damaged"),
        ("[" * 100_000, "its values are nested too deeply"),
        ('{"a": ' * 100_000, "its values are nested too deeply"),
        ("1" * 5000, "is damaged"),
        ('{"name": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\u0000": 1}', "a NUL character"),
    ],
)
def test_read_json_raises_in_one_line_for_bad_content(text: str, message: str, tmp_path: Path):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(DataFileError) as error:
        read_json(path)
    assert message in str(error.value)
    assert "s.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_parse_json_accepts_escaped_characters():
    assert parse_json('"\\ud83d\\ude00 \\u00e9"') == "\U0001f600 \xe9"


def test_read_text_raises_in_one_line_for_what_is_not_a_file(tmp_path: Path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    not_text = tmp_path / "not text"
    not_text.write_bytes(b"\xff\xfe")
    for path, message in [
        (tmp_path, "it is a folder"),
        (loop, "Too many levels of symbolic links"),
        (pipe, "it is not a file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\0b", "null byte"),
        (not_text, "can't decode byte 0xff"),
    ]:
        with pytest.raises(DataFileError) as error:
            read_text(path)
        assert message in str(error.value)
        assert not isinstance(error.value, MissingFileError)
        assert str(error.value).isprintable()
    for missing in (tmp_path / "none", not_text / "below a file"):
        with pytest.raises(MissingFileError):
            read_text(missing)


def test_read_text_reads_a_pipe_if_allowed(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("lr: 1\n",))
    writer.start()
    assert read_yaml(pipe, allow_pipe=True) == {"lr": 1}
    writer.join()


def test_read_text_of_an_endless_device_ends():
    with pytest.raises(DataFileError, match="has more than 1,000 bytes"):
        read_text(Path("/dev/zero"), max_bytes=1000, allow_pipe=True)


def test_path_exists_tells_a_missing_path_from_one_that_cannot_be_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert path_exists(loop)
    assert not path_exists(tmp_path / "none")
    assert not path_exists(tmp_path / "a\0b")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(DataFileError, match="cannot be read: Permission denied"):
        path_exists(tmp_path)
