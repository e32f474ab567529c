"""A trained agent as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rl_lab.errors import LabError
from rl_lab.export.policy_module import PolicyModule
from rl_lab.system.optional_packages import import_optional

OPSET = 18
EXAMPLE_ENVS = 3
"""Environments of the inputs with which the network is traced. The file takes any number."""


def write_onnx(module: PolicyModule, path: Path, description: dict[str, str]) -> None:
    """Write the agent as an ONNX file, and check that the file is valid.

    Inputs are obs, is_first and the tensors state0, state1, ...; outputs are action, scores, value and next_state0, ...
    (`PolicyModule.forward`). The number of environments N is free. The metadata of the file hold the description.

    Args:
        module: The agent.
        path: The file.
        description: Names and texts for the metadata.

    Raises:
        LabError: The packages onnx and onnxscript are missing, the agent has an operation that ONNX lacks, or the file
            cannot be written.
    """
    onnx: Any = import_optional("onnx", "export --onnx")
    import_optional("onnxscript", "export --onnx")
    inputs = module.inputs(EXAMPLE_ENVS)
    num_envs = torch.export.Dim("num_envs", min=1)
    sizes = {0: num_envs}
    dynamic_shapes: dict[str, Any] = {"obs": sizes, "is_first": sizes}
    if inputs.state:
        dynamic_shapes["state"] = tuple(sizes for _ in inputs.state)
    try:
        with _quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (inputs.obs, inputs.is_first, *inputs.state),
                input_names=["obs", "is_first", *module.state_names],
                output_names=["action", "scores", "value", *(f"next_{name}" for name in module.state_names)],
                dynamic_shapes=dynamic_shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds of exceptions
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:200]
        raise LabError(f"this agent cannot be exported to ONNX: {type(cause).__name__}: {reason}") from error
    assert program is not None
    model = program.model_proto
    for name, text in description.items():
        model.metadata_props.add(key=name, value=text)
    onnx.checker.check_model(model)
    if any(not _has_free_size(value) for value in model.graph.input):
        raise LabError("this agent cannot be exported to ONNX: the number of environments would be a constant")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}") from error


def _has_free_size(value: Any) -> bool:
    """Return True if the first dimension of an input of an ONNX graph is no constant."""
    return bool(value.type.tensor_type.shape.dim[0].dim_param)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide the warnings of the exporter, such as that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
