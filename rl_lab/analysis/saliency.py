"""Where in the picture a network finds what it says: Grad-CAM, and occlusion as the slow check that needs no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.core.types import Carry, PolicyOutput
from envs.spec import EnvSpec

Saliency = Literal["off", "grad-cam", "occlusion"]
PATCH, STRIDE = 10, 5  # pixels of what occlusion hides, and from one such place to the next

Heat = NDArray[np.float32]  # [H, W], from 0 to 1


def saliency(kind: Saliency, agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry) -> Heat | None:
    """How much each pixel of the frames obs [1, H, W] counts in what the agent thinks of them; None if off."""
    if kind == "off":
        return None
    heat = (grad_cam if kind == "grad-cam" else occlusion)(agent, obs, is_first, carry)
    return (heat / heat.max().clamp_min(1e-12)).cpu().numpy()


def grad_cam(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry) -> Tensor:
    """ReLU(sum_k a_k A_k), f32[H, W], of the last feature maps A; a_k is the mean of dQ(s, a*)/dA_k over the map.

    Selvaraju et al. 2017, equations 1 and 2, for the best action's value, or the logarithm of its probability. Each place of the
    map lies over the middle of the pixels that it sees, with straight lines between.
    """
    with torch.enable_grad():
        thought, convs, maps = with_feature_maps(agent, obs, is_first, carry)
        best = thought.scores.amax(1).sum()
        (gradient,) = torch.autograd.grad(best.clamp_min(1e-12).log() if thought.is_policy else best, maps[-1])
    heat = (gradient.mean((2, 3), keepdim=True) * maps[-1]).sum(1, keepdim=True).relu()
    field = receptive_field(convs)
    places = [
        (torch.arange(pixels, device=obs.device) - field.middle) / field.stride / max(cells - 1, 1) * 2 - 1
        for pixels, cells in zip(obs.shape[1:], heat.shape[2:], strict=True)
    ]
    y, x = torch.meshgrid(*places, indexing="ij")
    over = torch.stack([x, y], 2)[None]  # of each pixel, in the map from -1 to 1
    return F.grid_sample(heat.detach(), over, padding_mode="border", align_corners=True)[0, 0]


class Field(NamedTuple):
    """The pixels that the places of a feature map see."""

    size: int  # side of the square that one sees
    stride: int  # from one to the next
    middle: float  # of what the first one sees


def receptive_field(convs: Sequence[nn.Conv2d]) -> Field:
    """What a place of the last one's map sees of the frame through these convolutions."""
    size, stride, start = 1, 1, 0
    for conv in convs:
        start -= int(conv.padding[0]) * stride
        size += (conv.kernel_size[0] - 1) * stride
        stride *= conv.stride[0]
    return Field(size, stride, start + (size - 1) / 2)


def with_feature_maps(
    agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry
) -> tuple[PolicyOutput, list[nn.Conv2d], list[Tensor]]:
    """What the agent thinks, the convolutions that it took (a network may hold others, such as a target's), and the maps
    [N, C, h, w] that each gave after its ReLU; the first one first.
    """
    convs: list[nn.Conv2d] = []
    maps: list[Tensor] = []

    def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(layer, nn.Conv2d):
            convs.append(layer)
        elif output.dim() == 4:
            maps.append(output)

    layers = [layer for layer in agent.network.modules() if isinstance(layer, nn.Conv2d | nn.ReLU)]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        thought, _ = agent.policy_output(obs, is_first, carry)
    finally:
        for hook in hooks:
            hook.remove()
    return thought, convs, maps


def saliencies(agent: Agent, env_spec: EnvSpec) -> tuple[Saliency, ...]:
    """Those that can be had: occlusion needs frames, Grad-CAM convolutions besides."""
    if len(env_spec.frame) != 2:
        return ("off",)
    convolutions = any(isinstance(layer, nn.Conv2d) for layer in agent.network.modules())
    return ("off", "grad-cam", "occlusion") if convolutions else ("off", "occlusion")


@torch.no_grad()
def occlusion(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry) -> Tensor:
    """1/2 |f(s) - f(s without a patch)|^2, f32[H, W], over overlapping patches; f are the scores of all actions.

    Greydanus et al. 2018, equation 2, with a patch of the frame's median in place of a blur, in every frame of the stack.
    """
    height, width = obs.shape[1:]
    corners = [(y, x) for y in range(0, height - PATCH + 1, STRIDE) for x in range(0, width - PATCH + 1, STRIDE)]
    n = len(corners)
    hidden = torch.zeros((n, height, width), dtype=torch.bool, device=obs.device)
    for i, (y, x) in enumerate(corners):
        hidden[i, y : y + PATCH, x : x + PATCH] = True
    background = obs.flatten().median()

    def without(frames: Tensor) -> Tensor:
        masks = hidden.view(n, *[1] * (frames.dim() - 3), height, width)
        return torch.where(masks, background, frames.expand(n, *frames.shape[1:]))

    pictured = [part.dim() > 2 and part.shape[-2:] == obs.shape[-2:] for part in carry]
    hidden_carry = tuple(
        without(part) if picture else part.expand(n, *part.shape[1:])
        for part, picture in zip(carry, pictured, strict=True)
    )
    seen, _ = agent.policy_output(obs, is_first, carry)
    unseen, _ = agent.policy_output(without(obs), is_first.expand(n), hidden_carry)
    change = (unseen.scores - seen.scores).square().sum(1) / 2
    covered = hidden.sum(0).clamp_min(1)
    return (hidden * change[:, None, None]).sum(0) / covered
