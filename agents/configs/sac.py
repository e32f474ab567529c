"""Settings of SAC."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.off_policy_actor_critic import OffPolicyActorCriticConfig
from agents.core.settings import Positive


@dataclass(frozen=True)
class SACConfig(OffPolicyActorCriticConfig):
    """Settings of SAC."""

    temperature: Positive = 1.0
    """Weight alpha of the entropy in the return, in units of the reward per nat. With learn_temperature, its value
    before the first update."""
    learn_temperature: bool = True
    """Learn the temperature, so that the entropy of the policy becomes the target entropy."""
    target_entropy_per_entry: float = -1.0
    """Target entropy of the policy, divided by the number D of entries of an action, in nats. -1 is a target of -D, as
    in Haarnoja et al. 2018. The uniform distribution over [-1, 1] has 0.69."""
