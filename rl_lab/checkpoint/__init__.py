"""Checkpoints of a run: what an exact resume needs, written so that a crash at any moment leaves a usable checkpoint.

Files on disk, format 2:

    checkpoints/
        step-000050000/          a generation: the full state at this agent step; the newest two are kept
            state.json           numbers, texts and lists; the size and the checksum of every file of the generation
            network.safetensors  weights of the network that plays
            learner.safetensors  all other tensors: target network, optimiser, random generators, state of the loop
        rows/NAME-FIRST-END.safetensors    a segment: rows FIRST to END - 1 of a ring buffer, such as the replay
        best/                    the best evaluation: state.json and network.safetensors
        step-000050000.new       a generation that is being written
        step-000050000.old       a generation that is being replaced

`state.json` has four keys:

    format      2. The key is absent in format 1; `rl_lab.checkpoint.migration` converts the names of format 1
    state       the flattened state (`rl_lab.checkpoint.flat_names`) without tensors. A ring buffer has three entries:
                `NAME/total`, `NAME/capacity`, and `NAME/segments`, the list of its files
    files       file name -> {"bytes": size, "blake2b": checksum}
    checksum    BLAKE2b of the other three keys as JSON with sorted keys

The writer forces every file to disk under a temporary name, then renames the complete folder. The reader verifies all
checksums; if one does not match, the previous generation is used. The rows of a segment never change, so generations
share segments. Tensors are safetensors and everything else is JSON, so loading a checkpoint cannot execute code.
"""

from rl_lab.checkpoint.cleaning import files_for_resume
from rl_lab.checkpoint.flat_names import flatten, unflatten
from rl_lab.checkpoint.folders import discard_newer, find, generations, step_of
from rl_lab.checkpoint.loading import WRONG_STATE, load, load_network, read_state, wrong_state_error
from rl_lab.checkpoint.saving import SavedCheckpoint, bytes_to_write, save, save_best
from rl_lab.checkpoint.state_file import DamagedCheckpoint

__all__ = [
    "WRONG_STATE",
    "DamagedCheckpoint",
    "SavedCheckpoint",
    "bytes_to_write",
    "discard_newer",
    "files_for_resume",
    "find",
    "flatten",
    "generations",
    "load",
    "load_network",
    "read_state",
    "save",
    "save_best",
    "step_of",
    "unflatten",
    "wrong_state_error",
]
