"""The file state.json of a checkpoint: plain values, the list of files, and a checksum of both."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_lab.checkpoint.tensor_files import FileRecord, force_to_disk
from rl_lab.errors import LabError
from rl_lab.system.data_files import MISSING, DataFileError, read_json

FORMAT = 2

NO_FILE = (*MISSING, errno.EISDIR, errno.ELOOP)
"""Error numbers of a path at which there is no file."""


class DamagedCheckpoint(LabError):
    """A checkpoint whose files are missing, incomplete or altered.

    `resume` removes such a checkpoint. A file that exists and cannot be opened is another `LabError`: the file may be
    intact, and belong to another user or lie on a disk that is not connected.
    """


@dataclass(frozen=True)
class StateFile:
    """Contents of a state.json."""

    values: dict[str, Any]  # JSON values by flat name
    files: dict[str, FileRecord]  # by file name; segments of rings begin with "rows/"
    format: int = FORMAT


def write_state_file(folder: Path, values: dict[str, Any], files: dict[str, FileRecord]) -> None:
    """Write state.json into a folder, and force it to disk."""
    content = {"format": FORMAT, "state": values, "files": files}
    text = json.dumps({**content, "checksum": _checksum(content)}, indent=1)
    path = folder / "state.json"
    path.write_text(text + "\n")
    force_to_disk(path)


def read_state_file(folder: Path) -> StateFile:
    """Read and verify the state.json of a checkpoint.

    Raises:
        DamagedCheckpoint: The file is missing or was altered.
        LabError: The file cannot be opened, or a newer version of the lab wrote the checkpoint.
    """
    try:
        content = read_json(folder / "state.json")
    except DataFileError as error:
        if is_unreadable(error.__cause__):
            raise
        raise DamagedCheckpoint(f"{folder} is damaged: {error}") from error
    if not isinstance(content, dict) or "checksum" not in content:
        raise DamagedCheckpoint(f"{folder} is damaged: state.json is not a JSON object with a checksum")
    checksum = content.pop("checksum")
    if checksum != _checksum(content):
        raise DamagedCheckpoint(f"{folder} is damaged: state.json does not match its checksum")
    version = content.get("format", 1)
    if version not in range(1, FORMAT + 1):
        raise LabError(
            f"{folder} has format {version}; this version of rl_lab reads formats up to {FORMAT}: update rl_lab"
        )
    files = content.get("files")
    if not isinstance(content.get("state"), dict) or not isinstance(files, dict):
        raise DamagedCheckpoint(f"{folder} is damaged: state.json lacks the state or the list of files")
    if not all(isinstance(record, dict) and {"bytes", "blake2b"} <= record.keys() for record in files.values()):
        raise DamagedCheckpoint(f"{folder} is damaged: state.json lists files without size and checksum")
    return StateFile(content["state"], files, version)


def is_unreadable(error: BaseException | None) -> bool:
    """Return True if an error means that a file exists and cannot be opened, for example without permission."""
    return isinstance(error, OSError) and error.errno not in NO_FILE


def _checksum(content: dict[str, Any]) -> str:
    """Return the BLAKE2b checksum of JSON values, in hexadecimal; the order of keys does not matter."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()
