"""Saliency maps: how much each pixel of an observation contributes to the agent's output.

There are two methods:

    grad-cam     Selvaraju et al. 2017. Needs convolutions and one backward pass.
    occlusion    Greydanus et al. 2018. Needs no gradient, but a forward pass of hundreds of copies of the observation,
                 each with another patch hidden.

Occlusion is slow and serves as a check of Grad-CAM.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.core.types import Carry
from envs.spec import EnvSpec
from rl_lab.analysis.feature_maps import ReceptiveField, receptive_field, record_feature_maps

SaliencyMethod = Literal["off", "grad-cam", "occlusion"]

Heatmap = NDArray[np.float32]
"""Saliency of each pixel, f32[H, W]: at least 0, with the largest value scaled to 1. All 0 if no pixel contributes."""

PATCH_SIZE = 10  # side of a patch, the square that occlusion hides, in pixels
PATCH_STRIDE = 5  # distance between neighbouring patches, in pixels


def available_saliency_methods(agent: Agent, env_spec: EnvSpec) -> tuple[SaliencyMethod, ...]:
    """Return the methods that work for this agent.

    Both need image observations. Grad-CAM needs convolutions and an output with a gradient (`has_gradient`), too.
    """
    if env_spec.obs_kind != "image":
        return ("off",)
    has_convolutions = any(isinstance(layer, nn.Conv2d) for layer in agent.network.modules())
    if not has_convolutions or not has_gradient(agent, env_spec):
        return ("off", "occlusion")
    return ("off", "grad-cam", "occlusion")


def has_gradient(agent: Agent, env_spec: EnvSpec) -> bool:
    """Return False if the output that Grad-CAM and the attack differentiate is a constant.

    With continuous actions this output is V(s), which REINFORCE without a baseline does not learn.
    """
    if not env_spec.is_continuous:
        return True
    obs = torch.zeros((1, *env_spec.frame), dtype=getattr(torch, env_spec.dtype))
    is_first = torch.ones(1, dtype=torch.bool)
    with torch.enable_grad():
        output, _ = agent.policy_output(obs, is_first, agent.initial_carry(1))
    return output.value.requires_grad


def saliency_map(
    method: SaliencyMethod,
    agent: Agent,
    obs: Tensor,
    is_first: Tensor,
    carry: Carry,
    action_parts: tuple[int, ...] = (),
) -> Heatmap | None:
    """Return the saliency map of one observation.

    Args:
        method: The method; "off" returns None.
        agent: The agent.
        obs: The observation [1, H, W] or [1, C, H, W], without frame stacking.
        is_first: bool[1], True if an episode begins with the observation.
        carry: The carry of one environment before the observation, as for `Agent.policy_output`.
        action_parts: Number of actions of each part of an action. () means one part.

    Returns:
        The heatmap f32[H, W], scaled so that its largest value is 1, or None if the method is "off".
    """
    if method == "off":
        return None
    if method == "grad-cam":
        heatmap = grad_cam(agent, obs, is_first, carry, action_parts)
    else:
        heatmap = occlusion(agent, obs, is_first, carry)
    return (heatmap / heatmap.max().clamp_min(1e-12)).cpu().numpy()


def grad_cam(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry, action_parts: tuple[int, ...] = ()) -> Tensor:
    """Return the Grad-CAM heatmap f32[H, W] of one observation [1, H, W] or [1, C, H, W], not scaled.

    Selvaraju et al. 2017, equations 1 and 2, with the feature maps A_k of the last convolution, after their ReLU:

        alpha_k = mean over positions (i, j) of dy / dA_k[i, j]
        L = ReLU(sum_k alpha_k A_k)

    where y is the value of the greedy action, max_a Q(s, a), or the logarithm of its probability, log max_a pi(a | s).
    With continuous actions, y is the value of the state: at the mean of a Gaussian, the gradient of log pi is 0. L has
    the size of a feature map; it is interpolated to the size of the observation.
    """
    with torch.enable_grad():
        policy_output, convolutions, maps = record_feature_maps(agent, obs, is_first, carry)
        target = policy_output.scores.amax(1).sum()
        if policy_output.is_continuous:
            target = policy_output.value.sum()
        elif policy_output.is_policy:
            # Policy gradient methods learn by the gradient of log pi. The logarithm only multiplies the heatmap by a
            # factor, because d(log pi) = d(pi) / pi.
            target = greedy_log_prob(policy_output.scores, action_parts).sum()
        (gradient,) = torch.autograd.grad(target, maps[-1])
    alpha = gradient.mean((2, 3), keepdim=True)  # [1, C, 1, 1]
    class_activation = (alpha * maps[-1]).sum(1, keepdim=True).relu()  # [1, 1, h, w]
    height, width = obs.shape[-2:]
    return _resize_to_pixels(class_activation.detach(), receptive_field(convolutions), height, width)


def greedy_log_prob(probabilities: Tensor, action_parts: tuple[int, ...]) -> Tensor:
    """Return log max_a pi(a | s) of each observation, f32[N]: the sum over the parts of an action.

    Args:
        probabilities: `PolicyOutput.scores` of a policy, f32[N, A].
        action_parts: Number of actions of each part. () means one part.
    """
    parts = probabilities.split(action_parts or (probabilities.shape[1],), 1)
    return torch.stack([part.amax(1).clamp_min(1e-12).log() for part in parts]).sum(0)


@torch.no_grad()
def occlusion(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry) -> Tensor:
    """Return the occlusion heatmap f32[H, W] of one observation [1, H, W] or [1, C, H, W], not scaled.

    The saliency of a patch is (Greydanus et al. 2018, equation 2)

        S = 1/2 |f(s) - f(s without the patch)|^2

    where f are the scores of all actions (`PolicyOutput.scores`), or the entries of a continuous action. The paper
    blurs the patch. Here the patch is filled with the median of the newest frame, in every frame of the stack. The
    patches overlap, and the saliency of a pixel is the mean over the patches that contain the pixel. Pixels at the
    bottom and at the right edge that lie in no patch have a saliency of 0: for an observation of 84 x 84 pixels, the
    last four rows and columns.
    """
    height, width = obs.shape[-2:]
    patches = _patch_masks(height, width, obs.device)
    num_patches = len(patches)
    background = obs.flatten().median()

    def hide_patches(frames: Tensor) -> Tensor:
        """Return copies [num_patches, ..., H, W] of the frames [1, ..., H, W], each with another patch hidden."""
        masks = patches.view(num_patches, *[1] * (frames.dim() - 3), height, width)
        return torch.where(masks, background, frames.expand(num_patches, *frames.shape[1:]))

    # The older frames of the stack are a tensor of the carry: [1, k - 1, H, W] or [1, k - 1, C, H, W].
    occluded_carry: list[Tensor] = []
    for tensor in carry:
        contains_frames = tensor.dim() > 2 and tensor.shape[-2:] == obs.shape[-2:]
        if contains_frames:
            occluded_carry.append(hide_patches(tensor))
        else:
            occluded_carry.append(tensor.expand(num_patches, *tensor.shape[1:]))
    output, _ = agent.policy_output(obs, is_first, carry)
    occluded_output, _ = agent.policy_output(hide_patches(obs), is_first.expand(num_patches), tuple(occluded_carry))
    patch_saliency = (occluded_output.scores - output.scores).square().sum(1) / 2  # [num_patches]
    patches_per_pixel = patches.sum(0).clamp_min(1)  # [H, W]; at least 1, because pixels in no patch would give 0 / 0
    return (patches * patch_saliency[:, None, None]).sum(0) / patches_per_pixel


def _resize_to_pixels(feature_map: Tensor, field: ReceptiveField, height: int, width: int) -> Tensor:
    """Return a feature map [1, 1, h, w] as a heatmap [height, width], by bilinear interpolation.

    The value of each position of the map is placed at the center of the position's receptive field. Pixels outside of
    the outermost centers receive the value at the nearest edge of the area of the centers.

    Args:
        feature_map: The feature map.
        field: Receptive field of the convolution. `center` is the pixel at the center of the first position's field,
            `stride` the distance in pixels between the centers of neighbouring positions.
        height: Height of the observation, in pixels.
        width: Width of the observation, in pixels.
    """
    map_height, map_width = feature_map.shape[2:]
    y = _map_coordinates(height, map_height, field, feature_map.device)
    x = _map_coordinates(width, map_width, field, feature_map.device)
    y_grid, x_grid = torch.meshgrid(y, x, indexing="ij")
    sampling_grid = torch.stack([x_grid, y_grid], 2)[None]
    return F.grid_sample(feature_map, sampling_grid, padding_mode="border", align_corners=True)[0, 0]


def _map_coordinates(num_pixels: int, num_positions: int, field: ReceptiveField, device: torch.device) -> Tensor:
    """Return the coordinate of each pixel along one axis of the map, for `grid_sample`: f32[num_pixels].

    -1 is the first position of the map, 1 the last; pixels outside of the outermost centers have values beyond.
    """
    position = (torch.arange(num_pixels, device=device) - field.center) / field.stride
    return position / max(num_positions - 1, 1) * 2 - 1


def _patch_masks(height: int, width: int, device: torch.device) -> Tensor:
    """Return one mask for each patch, True inside the patch: bool[num_patches, height, width]."""
    tops = range(0, height - PATCH_SIZE + 1, PATCH_STRIDE)
    lefts = range(0, width - PATCH_SIZE + 1, PATCH_STRIDE)
    corners = [(top, left) for top in tops for left in lefts]
    masks = torch.zeros((len(corners), height, width), dtype=torch.bool, device=device)
    for mask, (top, left) in zip(masks, corners, strict=True):
        mask[top : top + PATCH_SIZE, left : left + PATCH_SIZE] = True
    return masks
