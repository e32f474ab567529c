"""The policy gradient: REINFORCE (Williams 1992), as in Karpathy 2016, "Deep reinforcement learning: Pong from pixels".

    grad J = E[ sum_t grad log pi(a_t | s_t) A_t ]

A_t is the discounted return, or with a learned baseline V(s) the generalised advantage (Schulman et al. 2016). A batch is used
when it is complete, and then forgotten. Its loss is written with the ratio of the policy to the one that played,

    L = -mean_t r_t A_t,   r_t = pi(a_t | s_t) / pi_played(a_t | s_t),

whose gradient at r = 1 is the one above. So rows that were played just before the last update, as the loop's overlap and games
across two batches bring, count as they should; and a batch may be used for several epochs, with r clipped (PPO: Schulman et al.
2017, equation 7).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.core.cuda_graphs import CudaGraphFunction
from agents.core.frame_stack import empty_history, stack_frames
from agents.core.optimizers import (
    OptimizerConfig,
    build_optimizer,
    clipped_gradient_step,
    load_optimizer_state,
    set_learning_rate,
)
from agents.core.settings import ConfigError, Count, CountOrZero, Fraction, NonNegative, Positive
from agents.core.stopwatch import Stopwatch
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult, clip_rewards, mean_metrics
from agents.memory.rollout import Rollout, RolloutBatch
from agents.nn.config import NetworkConfig
from agents.nn.encoders import FrameDifferenceEncoder, build_encoder
from agents.nn.init import initialize_weights
from agents.nn.networks import ActorCritic


@dataclass(frozen=True)
class ReinforceConfig(NetworkConfig, OptimizerConfig):
    """Settings of REINFORCE. An agent step is one decision in one environment; an update is one gradient step."""

    lr: Positive = 2.5e-4
    lr_end: Positive = 2.5e-5
    optimizer_eps: Positive = 1e-5
    grad_clip: NonNegative = 0.5
    gamma: Fraction = 0.99
    """Discount per agent step."""
    reward_clip: NonNegative = 0.0
    """Clip rewards to [-reward_clip, reward_clip] before they are stored. 0 disables clipping."""
    baseline: bool = True
    """Learn a value V(s) and subtract it from the returns. It also bootstraps at the end of a batch and after a truncation."""
    trace_decay: Fraction = 0.95
    """lambda of the generalised advantage. 1 is the return minus the baseline. Without a baseline, lambda is always 1."""
    batch_size: Count = 1024
    """Agent steps of a batch. With batch_games, the largest number of agent steps that a batch can hold."""
    batch_games: CountOrZero = 0
    """Complete a batch after this many finished games. 0 counts agent steps instead."""
    points_end_returns: bool = False
    """End the return at every reward that is not 0, as Karpathy (2016) does for the points of Pong."""
    standardize: bool = True
    """Shift and scale the advantages of a batch to mean 0 and standard deviation 1."""
    epochs: Count = 1
    """Passes over each batch."""
    minibatch_size: CountOrZero = 256
    """Agent steps of an update. 0 uses the whole batch."""
    ratio_clip: NonNegative = 0.2
    """Clip the probability ratio to [1 - ratio_clip, 1 + ratio_clip] (Schulman et al. 2017). 0 disables clipping."""
    value_weight: NonNegative = 0.5
    """Weight of the squared error of the baseline in the loss."""
    entropy_weight: NonNegative = 0.01
    """Weight of the entropy bonus, in nats (Williams and Peng 1991)."""
    convolutions: bool = True
    """Use the Nature CNN for images. False uses one hidden layer over the difference of the two newest frames."""
    policy_scale: Positive = 0.01
    """Factor on the initial weights of the policy layer. A small factor starts with nearly uniform probabilities."""


class Reinforce:
    """A policy, its baseline, the rollout that its batches come from, and the methods of the `Agent` protocol."""

    config_class = ReinforceConfig

    def __init__(
        self,
        config: ReinforceConfig,
        rows: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype` is what the encoder of images computes in, float32 or bfloat16; the weights are float32."""
        if config.batch_size < rows.num_envs:
            raise ConfigError(
                f"batch_size is {config.batch_size}; it must be at least num_envs, {rows.num_envs}: a row is a step in each"
            )
        if not config.convolutions and (not rows.is_image or config.frame_stack != 2):
            raise ConfigError("convolutions is false; that is for images with a frame_stack of 2")
        self.config, self.rows, self.device, self.dtype = config, rows, device, dtype
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.network = self.build().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        graphs = config.cuda_graphs and device.type == "cuda"
        self.optimizer = build_optimizer(config, self.network.parameters(), capturable=graphs)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.rollout = Rollout(
            rows,
            batch_size=config.batch_size,
            batch_games=config.batch_games,
            stack=config.frame_stack,
            gamma=config.gamma,
            trace_decay=config.trace_decay,
            baseline=config.baseline,
            points_end_returns=config.points_end_returns,
            generator=self.generator,
            device=device,
        )
        self.acting_records: deque[tuple[Tensor, Tensor]] = (
            deque()
        )  # log pi and V of the rows that are not observed yet
        self.steps = 0  # agent steps observed
        self.updates = 0
        self.seconds = Stopwatch()
        self.look_now, self.gradient_step_now = self.look, self.gradient_step  # what `act` and `update` call
        if graphs:
            self.capture_graphs()

    def capture_graphs(self, recorded: Callable[[Any], Any] = CudaGraphFunction) -> None:
        """Act and learn by fresh `recorded` versions of the functions that do."""
        self.look_now, self.gradient_step_now = recorded(self.look), recorded(self.gradient_step)

    @staticmethod
    def bytes_needed(config: ReinforceConfig, rows: EnvSpaces) -> int:
        """Bytes of the rows that wait for their batch."""
        return Rollout.bytes_needed(rows, config.batch_size, config.frame_stack)

    def build(self) -> ActorCritic:
        """pi(. | s) and V(s) over one encoder."""
        c = self.config
        if c.convolutions:
            encoder = build_encoder(self.rows, c, dtype=self.dtype)
        else:
            encoder = FrameDifferenceEncoder(math.prod(self.rows.obs_shape), c.hidden, self.dtype)
        network = initialize_weights(ActorCritic(encoder, self.rows.num_actions, baseline=c.baseline), c.init)
        with torch.no_grad():
            network.policy.weight *= c.policy_scale
        return network

    # --- acting ---------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """The k-1 frames before the first one: zeros [n, k-1, *frame]."""
        return (empty_history(n, self.config.frame_stack - 1, self.rows, self.device),)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Actions drawn from pi(. | s); the most probable ones unless `explore`."""
        log_pi, value, carry = self.look_now(obs, is_first, carry)
        if not explore:
            return log_pi.argmax(1), carry
        action = torch.multinomial(log_pi.exp(), 1, generator=self.generator)
        self.acting_records.append((log_pi.gather(1, action).squeeze(1), value))
        return action.squeeze(1), carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """The most probable action, pi(. | s), and V(s), which is 0 without a baseline."""
        log_pi, value, carry = self.look(obs, is_first, carry)
        return PolicyOutput(log_pi.argmax(1), log_pi.exp(), value, is_policy=True), carry

    def look(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """log pi(. | s) f32[N, A] and V(s) f32[N] of each environment, and the next carry."""
        stack, history = stack_frames(obs, is_first, *carry)
        log_pi, value = self.network.eval()(stack)
        return log_pi, value, (history,)

    # --- learning -------------------------------------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Remember the row; learn when the batch is complete."""
        with self.seconds("sampling"):
            self.rollout.add(clip_rewards(step, self.config.reward_clip), *self.acting_records.popleft())
        self.steps += step.num_active
        if not self.rollout.complete:
            return None
        with self.seconds("sampling"):
            batch = self.rollout.take()
        with self.seconds("updating"):
            return self.learn(batch)

    @property
    def lr(self) -> float:
        """The learning rate after the agent steps observed so far."""
        return self.config.learning_rate(self.steps)

    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """`epochs` passes over the batch, each in minibatches of a new order; the mean metrics of the updates."""
        c, size = self.config, len(batch.action)
        if size < 2:  # no return is complete yet, or there is nothing to compare one with
            return None
        if c.standardize:
            advantage = batch.advantage
            batch = batch._replace(advantage=(advantage - advantage.mean()) / (advantage.std() + 1e-8))
        made = []
        for _ in range(c.epochs):
            order = torch.randperm(size, generator=self.generator, device=self.device)
            parts = max(1, round(size / c.minibatch_size)) if c.minibatch_size else 1
            made += [self.update(RolloutBatch(*(x[index] for x in batch))) for index in order.chunk(parts)]
        return mean_metrics(made)

    def loss(self, batch: RolloutBatch) -> tuple[Tensor, Metrics]:
        """-r A, clipped, + value_weight (V - R)^2 - entropy_weight H(pi), means over the rows; and what it is made of."""
        c = self.config
        log_pi, value = self.network.train()(batch.obs)
        log_ratio = log_pi.gather(1, batch.action[:, None]).squeeze(1) - batch.log_prob
        ratio = log_ratio.exp()
        gain = ratio * batch.advantage
        if c.ratio_clip:
            gain = torch.minimum(gain, ratio.clamp(1 - c.ratio_clip, 1 + c.ratio_clip) * batch.advantage)
        policy_loss = -gain.mean()
        entropy = -(log_pi.exp() * log_pi).sum(1).mean()
        value_loss = F.mse_loss(value, batch.ret) if c.baseline else torch.zeros_like(entropy)
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "v_mean": value.mean(),
            "kl": (ratio - 1 - log_ratio).mean(),  # of what played from what is: Schulman's low-variance estimate
        }
        return policy_loss + c.value_weight * value_loss - c.entropy_weight * entropy, metrics

    def gradient_step(self, batch: RolloutBatch) -> Metrics:
        """A step down the gradient of the loss, and what there is to say of it."""
        loss, metrics = self.loss(batch)
        metrics |= {
            "loss": loss,
            "grad_norm": clipped_gradient_step(self.optimizer, loss, grad_clip=self.config.grad_clip),
        }
        return {name: x.detach() for name, x in metrics.items()}

    def update(self, batch: RolloutBatch) -> Metrics:
        """One gradient step, with the learning rate of now."""
        set_learning_rate(self.optimizer, self.lr)
        metrics = self.gradient_step_now(batch)
        self.updates += 1
        return metrics

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with these weights."""
        self.network.load_state_dict(weights)

    # --- state ----------------------------------------------------------------------------------------------------

    def gauges(self) -> dict[str, float]:
        """Learning rate and updates so far."""
        return {"lr": self.lr, "updates": self.updates}

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, the rows that wait, counters and the random generator."""
        played = {
            str(i): {"log_prob": log_prob, "value": value} for i, (log_prob, value) in enumerate(self.acting_records)
        }
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "generator": self.generator.get_state(),
            **self.rollout.state_dict(),
            "steps": self.steps,
            "updates": self.updates,
            **({"acting_records": played} if played else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned. Raises ValueError or RuntimeError where shapes do not fit."""
        self.network.load_state_dict(state["network"])
        load_optimizer_state(self.optimizer, state.get("optimizer", {}))  # nothing before the first update
        self.rollout.load_state_dict(state)
        self.generator.set_state(state["generator"].cpu())
        self.steps, self.updates = int(state["steps"]), int(state["updates"])
        played = state.get("acting_records", {})
        self.acting_records = deque((played[str(i)]["log_prob"], played[str(i)]["value"]) for i in range(len(played)))
        if isinstance(self.gradient_step_now, CudaGraphFunction):
            self.capture_graphs()  # the optimiser's moments lie elsewhere now
