"""How far an agent can be fooled: each observation is changed a little, in the direction that misleads it most."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from agents.core.agent import Agent
from agents.core.types import Carry, PolicyOutput
from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.training.evaluation import Evaluation


class Attacked:
    """An agent that sees every observation perturbed by +- `size`: a share of `white`, or without one in the vector's own unit."""

    def __init__(self, agent: Agent, size: float, white: int | None, rng: torch.Generator | None = None) -> None:
        """With `rng` the signs are drawn at random, which tells how much of the harm is mere noise."""
        self.agent, self.size, self.white, self.rng = agent, size, white, rng

    def initial_carry(self, n: int) -> Carry:
        return self.agent.initial_carry(n)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """What the agent makes of the perturbed observation; the frames it remembers are perturbed ones too."""
        if self.rng is None:
            signs = fgsm_signs(self.agent, obs, is_first, carry)
        else:
            signs = torch.randint(0, 2, obs.shape, generator=self.rng) * 2.0 - 1
        seen = obs + signs * self.size * (self.white or 1)
        return self.agent.policy_output(seen.clamp(0, self.white) if self.white else seen, is_first, carry)


def fgsm_signs(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry) -> Tensor:
    """sign(dJ/d obs), the fast gradient sign method (Goodfellow et al. 2015, section 4), of the shape of obs.

    J is the cross-entropy between the policy, or softmax Q(s, .), and its own best action (Huang et al. 2017, section 3.2).
    """
    with torch.enable_grad():
        x = obs.detach().float().requires_grad_(True)
        thought, _ = agent.policy_output(x, is_first, carry)
        scores = thought.scores
        log_pi = scores.clamp_min(1e-12).log() if thought.is_policy else scores.log_softmax(1)
        loss = F.nll_loss(log_pi, scores.argmax(1), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
    return gradient.sign()


def scores(run: Run, size: float, *, episodes: int, seed: int, which: str | None = None) -> dict[str, Evaluation]:
    """The same games unharmed, under random signs, and under attack.

    Raises LabError where the agent has no gradient to attack with.
    """
    agent = api.load(run, which=which)
    if not any(parameter.requires_grad for parameter in agent.network.parameters()):
        raise LabError(f"{run.config.agent} has no gradient to attack with")
    rng = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    players = {
        "unharmed": agent,
        f"random signs, {size:g}": Attacked(agent, size, run.env_spec.max_pixel, rng),
        f"fgsm, {size:g}": Attacked(agent, size, run.env_spec.max_pixel),
    }
    return {
        name: api.play(run, player, episodes=episodes, epsilon=None, seed=seed)  # type: ignore[arg-type]
        for name, player in players.items()
    }
