"""Advantage actor-critic (A2C): the synchronous form of A3C, Mnih et al. 2016, "Asynchronous methods for deep RL".

The algorithm, in which a row is one time step of N environments:

    In every row:
    1. Draw the action a_t from pi(. | s_t) in each environment. Record log pi(a_t | s_t) and V(s_t).
    2. Store the row in the rollout.
    When the rollout holds a batch of n rows, up to row T - 1:
    3. Take the batch from the rollout, with returns and advantages
           R_t = r_t + gamma r_{t+1} + ... + gamma^(T-1-t) r_{T-1} + gamma^(T-t) V(s_T)
           A_t = R_t - V(s_t)
    4. Take one gradient step on the loss of the batch.

A return ends where its episode ends. The returns above are those of `trace_decay` 1. The environments play side by side
and the network is one, so there are no asynchronous updates.

Step 1 and the loss are those of every policy gradient (agents/policy_gradient.py). Steps 2 and 3 are those of every
agent with a rollout (agents/rollout_agent.py).
"""

from __future__ import annotations

from agents.configs.a2c import A2CConfig
from agents.core.types import Metrics
from agents.memory.rollout import RolloutBatch
from agents.policy_gradient import PolicyGradient


class A2C(PolicyGradient):
    """A2C agent. The numbered comments refer to the steps of the algorithm in the module docstring."""

    config_class = A2CConfig
    config: A2CConfig

    def learn(self, batch: RolloutBatch) -> Metrics:
        """Take one gradient step on the batch, and return its metrics."""
        # Step 4: Take one gradient step.
        return self.update(batch)
