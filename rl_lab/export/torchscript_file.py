"""A trained agent as a TorchScript file, which C++ programs and PyTorch load without this project."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from rl_lab.errors import LabError
from rl_lab.export.policy_module import PolicyInputs, PolicyModule

EXAMPLE_ENVS = 3
"""Environments of the inputs with which the network is traced. The file takes any number."""

CHECKED_ENVS = 5


def write_torchscript(module: PolicyModule, path: Path, description: dict[str, str]) -> None:
    """Write the agent as a TorchScript file. Inputs and outputs are those of `PolicyModule.forward`.

    Args:
        module: The agent.
        path: The file.
        description: Names and texts, stored as extra files beside the code.

    Raises:
        LabError: The agent computes something else for other numbers of environments once it is traced, or the file
            cannot be written.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        trace: Any = torch.jit.trace  # its annotation is not that of what it returns
        traced = trace(module, _flat(module.inputs(EXAMPLE_ENVS)))
        inputs = _random(module.inputs(CHECKED_ENVS))
        expected = module(*_flat(inputs))
        try:
            found = traced(*_flat(inputs))
            is_equal = all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, expected, strict=True))
        except RuntimeError:  # a size was traced as a constant
            is_equal = False
        if not is_equal:
            raise LabError("this agent cannot be exported to TorchScript; ONNX may work (--onnx)")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.jit.save(traced, str(path), _extra_files=description)
        except (OSError, RuntimeError) as error:
            raise LabError(f"{path} cannot be written: {' '.join(str(error).split())[:200]}") from error


def _flat(inputs: PolicyInputs) -> tuple[torch.Tensor, ...]:
    """Return the inputs in the order of the arguments."""
    return (inputs.obs, inputs.is_first, *inputs.state)


def _random(inputs: PolicyInputs) -> PolicyInputs:
    """Return inputs with random numbers of a fixed seed, where episodes go on."""
    generator = torch.Generator().manual_seed(0)

    def random_like(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point():
            return torch.randn(tensor.shape, generator=generator)
        return torch.randint(0, 2, tensor.shape, generator=generator, dtype=tensor.dtype)

    is_first = torch.zeros_like(inputs.is_first)
    return PolicyInputs(random_like(inputs.obs), is_first, tuple(random_like(part) for part in inputs.state))
