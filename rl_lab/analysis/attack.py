"""Adversarial attack: measure an agent's score if each observation is perturbed against its greedy action.

The perturbation is the fast gradient sign method (Goodfellow et al. 2015, "Explaining and harnessing adversarial
examples"), applied to policies by Huang et al. 2017, "Adversarial attacks on neural network policies".
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.core.agent import Agent
from agents.core.types import Carry, PolicyOutput, ValueScaling
from rl_lab import api
from rl_lab.analysis.saliency import greedy_log_prob, has_gradient
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.training.evaluation import EvaluatedAgent, Evaluation


class AttackedAgent:
    """An agent that receives perturbed observations: obs + eps * signs."""

    def __init__(
        self,
        agent: Agent,
        size: float,
        max_pixel: int | None,
        random_signs: torch.Generator | None = None,
        *,
        action_parts: tuple[int, ...] = (),
    ) -> None:
        """Wrap an agent.

        Args:
            agent: The agent.
            size: The perturbation eps: for images a share of `max_pixel`, for vectors in the unit of the observation.
            max_pixel: Largest pixel value of an image; pixels are clamped to [0, max_pixel]. None for vectors.
            random_signs: Draw the signs with this generator instead of computing them from the gradient. The score
                under random signs is the baseline of the attack: it shows the effect of noise of the same size.
            action_parts: Number of actions of each part of an action. () means one part.
        """
        self.agent = agent
        self.size = size
        self.max_pixel = max_pixel
        self.random_signs = random_signs
        self.action_parts = action_parts

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the value scaling of the agent."""
        return self.agent.value_scaling

    def initial_carry(self, n: int) -> Carry:
        """Return the agent's carry before the first row."""
        return self.agent.initial_carry(n)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the agent's output for the perturbed observations. The carry contains perturbed frames, too."""
        perturbed = obs + self._signs(obs, is_first, carry) * self.size * (self.max_pixel or 1)
        if self.max_pixel:
            perturbed = perturbed.clamp(0, self.max_pixel)
        return self.agent.policy_output(perturbed, is_first, carry)

    def _signs(self, obs: Tensor, is_first: Tensor, carry: Carry) -> Tensor:
        """Return the signs of the perturbation: -1 or 1, or 0 for entries without a gradient."""
        if self.random_signs is None:
            return fgsm_signs(self.agent, obs, is_first, carry, self.action_parts)
        return torch.randint(0, 2, obs.shape, generator=self.random_signs) * 2.0 - 1


def fgsm_signs(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry, action_parts: tuple[int, ...] = ()) -> Tensor:
    """Return the signs of the fast gradient sign method, in the shape of the observations.

    Goodfellow et al. 2015, section 4:

        signs = sign(dJ / d obs)

    J is the cross-entropy between the policy and its own most probable action: J = -log max_a pi(a | obs). For agents
    with action values, the policy is softmax Q(obs, .) (Huang et al. 2017, section 3.2). With continuous actions,
    J = -V(obs), the negative value of the greedy action (Pattanaik et al. 2018): the log-probability of a Gaussian's
    own mean has no gradient with respect to the mean.
    """
    with torch.enable_grad():
        x = obs.detach().float().requires_grad_(True)
        output, _ = agent.policy_output(x, is_first, carry)
        loss = -output.value.sum() if output.is_continuous else _cross_entropy(output, action_parts)
        (gradient,) = torch.autograd.grad(loss, x)
    return gradient.sign()


def _cross_entropy(output: PolicyOutput, action_parts: tuple[int, ...]) -> Tensor:
    """Return J = -log max_a pi(a | obs), f32[], summed over observations."""
    if output.is_policy:
        return -greedy_log_prob(output.scores, action_parts).sum()
    return -output.scores.log_softmax(1).amax(1).sum()


def evaluate_attack(
    run: Run, size: float, *, episodes: int, seed: int, which: str | None = None
) -> dict[str, Evaluation]:
    """Evaluate an agent without perturbation, with random signs, and with the fast gradient sign method.

    Args:
        run: The run with the agent's checkpoints.
        size: Size of the perturbation; see `AttackedAgent`.
        episodes: Number of episodes of each evaluation. All three begin from the same seed.
        seed: Seed of the evaluations.
        which: The checkpoint: "best", "last" or an agent step. None is the best checkpoint, or the last one.

    Returns:
        The evaluations, by their names.

    Raises:
        LabError: The agent has no gradient, as a tabular agent, or no values, as REINFORCE without a baseline; or the
            observations have no gradient.
    """
    agent = api.load_agent(run, which=which)
    if not any(parameter.requires_grad for parameter in agent.network.parameters()):
        raise LabError(f"{run.config.agent} has no gradient to attack with")
    if not has_gradient(agent, run.env_spec):
        raise LabError(
            f"{run.config.agent} has learned no values of {run.env_spec.name}; with continuous actions, the"
            " attack needs values"
        )
    if run.env_spec.obs_kind == "packed" or getattr(run.config.settings, "codes", "numbers") == "embed":
        raise LabError(
            f"the observations of {run.env_spec.name} cannot be perturbed: they have several parts, masks or codes"
        )
    max_pixel = run.env_spec.max_pixel
    noise_seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
    noise = torch.Generator().manual_seed(noise_seed)
    players: dict[str, EvaluatedAgent] = {
        "no perturbation": agent,
        f"random signs, {size:g}": AttackedAgent(agent, size, max_pixel, noise),
        f"fgsm, {size:g}": AttackedAgent(agent, size, max_pixel, action_parts=run.env_spec.action_parts),
    }
    results: dict[str, Evaluation] = {}
    for name, player in players.items():
        results[name] = api.evaluate_agent(run, player, api.EvaluationOptions(episodes=episodes, seed=seed))
    return results
