"""Proximal policy optimisation (PPO): Schulman et al. 2017, "Proximal policy optimization algorithms".

The algorithm (algorithm 1 of the paper), in which a row is one time step of N environments:

    In every row:
    1. Draw the action a_t from pi(. | s_t) in each environment. Record log pi(a_t | s_t) and V(s_t).
    2. Store the row in the rollout.
    When the rollout holds a batch:
    3. Take the batch from the rollout, with advantages A_t and returns R_t = A_t + V(s_t).
    4. Standardise the advantages.
    5. In every epoch, divide the batch into minibatches in a new random order.
    6. Take a gradient step on the loss of each minibatch.
    7. Make no further epoch if the policy has moved by more than `target_kl`.

The policy loss is the clipped objective, equation 7 of the paper. The constant c is `ratio_clip`:

    r_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    L = -mean_t min(r_t A_t, clip(r_t, 1 - c, 1 + c) A_t)

Step 1 is that of every policy gradient (agents/policy_gradient.py). Steps 2 and 3 are those of every agent with a
rollout (agents/rollout_agent.py). The options `value_clip`, `target_kl` and `standardize` are not in the paper, but in
its authors' code (https://github.com/openai/baselines).

With collectors (`--collectors 4`), other processes play the rows, as in Heess et al. 2017, "Emergence of locomotion
behaviours in rich environments" (DPPO). The rows at the beginning of a batch are then those of the policy before the
last update, and the ratios correct for that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.configs.ppo import PPOConfig
from agents.core.agent import Abilities
from agents.core.types import Metrics, mean_metrics
from agents.memory.rollout import RolloutBatch
from agents.policy_gradient import PolicyGradient, clipped_surrogate, standardized


class PPO(PolicyGradient):
    """PPO agent. The numbered comments refer to the steps of the algorithm in the module docstring."""

    config_class = PPOConfig
    abilities = Abilities(packed_observations=True, continuous_actions=True, collectors=True)
    batch_settings = "minibatch_size or batch_size"
    config: PPOConfig

    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """Make at most `epochs` passes over the batch, one update for each minibatch.

        Returns:
            The metrics, averaged over the updates.
        """
        config = self.config
        # Step 4: Standardise the advantages.
        if config.standardize == "batch":
            batch = self.with_standardized_advantages(batch)
        metrics: list[Metrics] = []
        for _ in range(config.epochs):
            epoch_metrics: list[Metrics] = []
            # Step 5: Divide the batch into minibatches.
            for minibatch in self.shuffled_minibatches(batch, config.minibatch_size):
                if config.standardize == "minibatch":
                    minibatch = self.with_standardized_advantages(minibatch)
                # Step 6: Take a gradient step.
                update_metrics = self.update(minibatch)
                epoch_metrics.append(update_metrics)
            metrics += epoch_metrics
            # Step 7: Make no further epoch if the policy has moved too far.
            if config.target_kl and _mean_kl(epoch_metrics) > config.target_kl:
                break
        return mean_metrics(metrics)

    def with_standardized_advantages(self, batch: RolloutBatch) -> RolloutBatch:
        """Return the batch or minibatch with standardised advantages."""
        return batch._replace(advantage=standardized(batch.advantage))

    def policy_loss(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Return the clipped objective times -1, f32[], of ratios r f32[B] and advantages A f32[B]."""
        return clipped_surrogate(ratio, advantage, self.config.ratio_clip)

    def value_loss(self, value: Tensor, old_value: Tensor, ret: Tensor) -> Tensor:
        """Return the loss of the values, f32[]: mean_t (V(s_t) - R_t)^2, or the clipped loss with `value_clip`.

            clipped loss = mean_t max((V(s_t) - R_t)^2, (V_c(s_t) - R_t)^2)
            V_c = V_old + clip(V - V_old, -value_clip, value_clip)

        Args:
            value: V(s_t) of the current network, f32[B].
            old_value: V_old(s_t), the value when the row was played, f32[B].
            ret: The returns R_t, f32[B].
        """
        clip = self.config.value_clip
        if not clip:
            return super().value_loss(value, old_value, ret)
        clipped = old_value + (value - old_value).clamp(-clip, clip)
        return torch.maximum((value - ret).square(), (clipped - ret).square()).mean()

    @staticmethod
    def update_size(config: PPOConfig) -> int:
        """Return the number of agent steps of an update."""
        return min(config.minibatch_size, config.batch_size)


def _mean_kl(metrics: list[Metrics]) -> float:
    """Return the mean KL divergence of the updates. This waits for a GPU."""
    return float(torch.stack([update["kl"] for update in metrics]).mean())
