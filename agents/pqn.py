"""Parallelised Q-network (PQN): Gallici et al. 2024, "Simplifying deep temporal difference learning".

Q-learning without a replay memory and without a target network. Layer normalisation keeps the values bounded. The
algorithm (algorithm 1 of the paper), in which a row is one time step of N environments:

    In every row:
    1. Choose argmax_a Q(s, a), or with probability epsilon a random action, in each environment. Record max_a Q(s, a).
    2. Store the row in the rollout.
    When the rollout holds a batch:
    3. Take the batch from the rollout, with the returns of Q(lambda) (Peng and Williams 1994):
           R_t = r_t + gamma ((1 - lambda) max_a Q(s_{t+1}, a) + lambda R_{t+1})
    4. In every epoch, divide the batch into minibatches in a new random order.
    5. Take a gradient step on mean_t (Q(s_t, a_t) - R_t)^2 / 2 of each minibatch.

Steps 2 and 3 are those of every agent with a rollout (agents/rollout_agent.py).

A return ends where its episode ends. At the end of the batch, and after a truncation, R_t is r_t + gamma max_a
Q(s_{t+1}, a). These returns are those of the generalised advantage with V(s) = max_a Q(s, a).

In shapes, N is the number of environments, A the number of actions and B the number of agent steps in a minibatch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.configs.pqn import PQNConfig
from agents.core.action_combinations import check_combinations
from agents.core.action_masks import mean_of_legal
from agents.core.exploration import epsilon_greedy
from agents.core.frame_stack import stack_frames
from agents.core.memory_needs import MemoryNeed
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, mean_metrics
from agents.memory.rollout import RolloutBatch
from agents.nn.encoders import build_encoder
from agents.nn.init import initialize_weights
from agents.nn.networks import QNetwork
from agents.rollout_agent import RolloutAgent


class PQN(RolloutAgent):
    """PQN agent. The numbered comments refer to the steps of the algorithm in the module docstring."""

    config_class = PQNConfig
    batch_settings = "minibatch_size or batch_size"
    captured_methods = ("acting_q_values", "gradient_step")
    config: PQNConfig
    network: QNetwork

    def check_settings(self) -> None:
        """Raise ConfigError if settings contradict each other or the environment."""
        super().check_settings()
        check_combinations(self.spaces)

    def build_network(self) -> nn.Module:
        """Return a new Q-network: an encoder and a linear layer with one output for each action."""
        encoder = build_encoder(self.spaces, self.config, dtype=self.dtype)
        head = nn.Linear(encoder.features, self.spaces.num_actions)
        return initialize_weights(QNetwork(encoder, head), self.config.init)

    # --- Acting -------------------------------------------------------------------------------------------------------

    def q_values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Return Q(s, .) f32[N, A], and the next carry. The arguments are those of `act`."""
        stack, history = stack_frames(obs, is_first, *carry)
        return self.network.eval()(stack), (history,)

    @torch.no_grad()
    def acting_q_values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Return the results of `q_values`, without gradients. `capture_graphs` may replace this method."""
        return self.q_values(obs, is_first, carry)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose argmax_a Q(s, a), or with probability epsilon a random action, independently in each environment.

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Choose random actions with probability epsilon, and record max_a Q(s, a) for `observe`. False means
                greedy actions only.

        Returns:
            Actions i64[N], and the carry for the next call.
        """
        q, carry = self.acting_q_values(obs, is_first, carry)
        if not explore:
            return q.argmax(1), carry
        # Step 1: Choose the action. Record max_a Q(s, a). The rollout's field log_prob has no meaning here.
        action = epsilon_greedy(q, self.epsilon, self.generator, has_masks=self.spaces.has_action_masks)
        value = q.amax(1)
        self.acting_records.append((torch.zeros_like(value), value))
        return action, carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions, Q(s, .), max_a Q(s, a), and the next carry. The arguments are those of `act`."""
        q, carry = self.q_values(obs, is_first, carry)
        return PolicyOutput(q.argmax(1), q, q.amax(1)), carry

    @property
    def epsilon(self) -> float:
        """Return the probability of a random action after the agent steps observed so far."""
        return self.config.epsilon(self.steps)

    # --- Learning -----------------------------------------------------------------------------------------------------

    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """Make `epochs` passes over the batch, one update for each minibatch.

        Returns:
            The metrics, averaged over the updates.
        """
        metrics: list[Metrics] = []
        for _ in range(self.config.epochs):
            # Step 4: Divide the batch into minibatches.
            for minibatch in self.shuffled_minibatches(batch, self.config.minibatch_size):
                # Step 5: Take a gradient step.
                update_metrics = self.update(minibatch)
                metrics.append(update_metrics)
        return mean_metrics(metrics)

    def loss(self, batch: RolloutBatch) -> tuple[Tensor, Metrics]:
        """Return the loss mean_t (Q(s_t, a_t) - R_t)^2 / 2, f32[], differentiable, and metrics f32[]."""
        q = self.network.train()(batch.obs)
        q_of_action = q.gather(1, batch.action[:, None]).squeeze(1)
        td_error = batch.ret - q_of_action
        metrics = {
            "td_error": td_error.abs().mean(),
            "q_mean": mean_of_legal(q).mean() if self.spaces.has_action_masks else q.mean(),
            "q_max": q.amax(1).mean(),
        }
        return 0.5 * td_error.square().mean(), metrics

    @staticmethod
    def update_size(config: PQNConfig) -> int:
        """Return the number of agent steps of an update."""
        return min(config.minibatch_size, config.batch_size)

    @classmethod
    def memory_needs(cls, config: PQNConfig, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that each part of the agent needs, before anything is allocated."""
        check_combinations(spaces)
        return super().memory_needs(config, spaces)

    def gauges(self) -> dict[str, float]:
        """Return epsilon, the learning rate and the number of updates."""
        return {"epsilon": self.epsilon, **super().gauges()}
