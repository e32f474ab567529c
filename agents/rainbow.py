"""Rainbow: Hessel et al. 2018, "Rainbow: combining improvements in deep reinforcement learning".

DQN with double Q-learning, the dueling network, n-step returns, prioritised replay, a distribution of the return (C51) and
noisy layers for exploration. Each can be switched off, for the ablation: `double`, `dueling`, `distributional` and `noisy`
here, `n_step` and `priority_alpha` among DQN's settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from agents.core.frame_stack import stack_frames
from agents.core.settings import ConfigError, Range
from agents.core.targets import categorical_projection, double_value, max_value
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput
from agents.dqn import DQN, DQNConfig
from agents.memory.replay import TransitionBatch
from agents.nn.encoders import Linear
from agents.nn.networks import DistributionNetwork, DuelingHead, NoisyLinear, QNetwork, draw_noise, initialise


@dataclass(frozen=True)
class RainbowConfig(DQNConfig):
    """The settings of DQN, and the switches."""

    n_step: Annotated[int, Range(1)] = 3
    """Rewards summed before the bootstrap (uncorrected for exploration)."""
    priority_alpha: Annotated[float, Range(0, 1)] = 0.5
    """How much transitions with large errors are preferred in sampling (Schaul et al. 2016); 0 samples uniformly."""
    double: bool = True
    """Whether the online network chooses the action that the target network values (van Hasselt et al. 2015)."""
    dueling: bool = True
    """Whether value and advantages have streams of their own (Wang et al. 2015)."""
    noisy: bool = True
    """Whether noise in the fully connected layers explores, in place of epsilon (Fortunato et al. 2018)."""
    distributional: bool = True
    """Whether the network learns the distribution of the return (C51: Bellemare et al. 2017)."""
    atoms: Annotated[int, Range(2)] = 51
    """Atoms of that distribution."""
    value_low: float = -10.0
    """The lowest return it knows: one below counts as this."""
    value_high: float = 10.0
    """The highest return it knows: one above counts as this."""


class Rainbow(DQN):
    """DQN with everything."""

    config_class = RainbowConfig
    config: RainbowConfig

    def __init__(
        self,
        config: RainbowConfig,
        rows: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if config.value_low >= config.value_high:
            raise ConfigError(f"value_low is {config.value_low}; it must be below value_high, {config.value_high}")
        super().__init__(config, rows, seed=seed, device=device, dtype=dtype)

    def record(self, recorded: Callable[[Any], Any]) -> None:
        if self.config.noisy:
            raise ConfigError(
                "cuda_graphs is true; noisy layers draw anew at every call, so it must be false, or noisy"
            )
        super().record(recorded)

    def build(self) -> nn.Module:
        """Q(s, .), or a distribution for each action."""
        c = self.config
        linear = NoisyLinear if c.noisy else Linear
        encoder = self.build_encoder(c.hidden * (2 if c.dueling else 1), linear=linear)
        atoms, num_actions = c.atoms if c.distributional else 1, self.rows.num_actions
        if c.dueling:
            head = DuelingHead(encoder.features, num_actions, atoms=atoms, linear=linear)
        else:
            head = linear(encoder.features, num_actions * atoms)
        if c.distributional:
            network = DistributionNetwork(encoder, head, low=c.value_low, high=c.value_high, atoms=atoms)
        else:
            network = QNetwork(encoder, head)
        return initialise(network, c.init)

    @property
    def epsilon(self) -> float:
        """The probability of a random action: none where noise explores."""
        return 0.0 if self.config.noisy else super().epsilon

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """DQN's, with fresh noise for each row of environments, or with none."""
        draw_noise(self.network, self.generator if explore else None)
        return super().act(obs, is_first, carry, explore=explore)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """DQN's, without noise, and the distribution of each action's return."""
        draw_noise(self.network, None)
        if not isinstance(self.network, DistributionNetwork):
            return super().policy_output(obs, is_first, carry)
        stack, history = stack_frames(obs, is_first, *carry)
        log_p = self.network.eval().log_probabilities(stack)
        q = self.network.means(log_p)
        return PolicyOutput(q.argmax(1), q, q.amax(1), distribution=log_p.exp()), (history,)

    def bootstrap(self, next_obs: Tensor) -> Tensor:
        """The value of the next state, f32[B], where the return has no distribution."""
        seen = self.online.preprocess(next_obs)  # type: ignore[operator]
        next_q = self.target(seen)
        return double_value(self.online.eval()(seen), next_q) if self.config.double else max_value(next_q)

    def td_loss(self, batch: TransitionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Each transition's loss and error; with distributions both are KL(projected target || p(. | s, a))."""
        if not self.config.distributional:
            return super().td_loss(batch)
        online, target = self.online, self.target
        assert isinstance(online, DistributionNetwork)
        assert isinstance(target, DistributionNetwork)
        rows = torch.arange(len(batch.action), device=self.device)
        with torch.no_grad():
            seen = online.preprocess(batch.next_obs)
            next_log_p = target.log_probabilities(seen)
            chooser = online.eval()(seen) if self.config.double else target.means(next_log_p)
            next_p = next_log_p[rows, chooser.argmax(1)].exp()
            y = categorical_projection(batch.ret, batch.discount, next_p, target.support)
        log_p = online.train().log_probabilities(batch.obs)
        loss = (torch.special.xlogy(y, y) - y * log_p[rows, batch.action]).sum(1)
        return loss, loss.detach(), online.means(log_p.detach())

    def update(self, batch: TransitionBatch) -> Metrics:
        """DQN's, with fresh noise in both networks."""
        if self.config.noisy:
            draw_noise(self.online, self.generator)
            draw_noise(self.target, self.generator)
        return super().update(batch)
