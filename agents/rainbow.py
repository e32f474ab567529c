"""Rainbow: Hessel et al. 2018, "Rainbow: combining improvements in deep reinforcement learning".

Rainbow is DQN with double Q-learning, a dueling network, n-step returns, prioritised replay, a distribution of
returns (C51) and noisy layers for exploration. Each part can be switched off for ablation studies: set `double`,
`dueling`, `distributional` or `noisy` to false, `n_step` to 1, or `priority_alpha` to 0.

Symbols in this file: p(. | s, a) is the distribution of the return that the online network predicts. Z^(s, a) is a
random return with the distribution that the target network predicts. Both networks give probabilities to the same
returns, the atoms.

In shapes, N is the number of environments, A the number of actions, and B the number of transitions in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.configs.dqn import RainbowConfig
from agents.core.cuda_graphs import CudaGraphFunction, Wrapper
from agents.core.frame_stack import stack_frames
from agents.core.settings import ConfigError
from agents.core.targets import categorical_projection, double_value, max_value
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput
from agents.dqn import DQN, check_targets
from agents.memory.replay import TransitionBatch
from agents.nn.encoders import build_encoder
from agents.nn.heads import DuelingHead
from agents.nn.init import initialize_weights
from agents.nn.mixed_precision import Linear
from agents.nn.networks import DistributionalQNetwork, QNetwork, distribution_of_action
from agents.nn.noisy import NoisyLinear, remove_noise, sample_noise
from agents.nn.pixel_convolutions import PreprocessedImages


class Rainbow(DQN):
    """Rainbow agent. With all parts switched off, it is DQN."""

    config_class = RainbowConfig
    size_settings = "hidden, atoms, filters or frame_stack"
    config: RainbowConfig
    online_network: QNetwork
    target_network: QNetwork
    policy_network: QNetwork

    def __init__(
        self,
        config: RainbowConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if config.value_low >= config.value_high:
            raise ConfigError(f"value_low is {config.value_low}; it must be below value_high, {config.value_high}")
        check_targets(config, agent="distributional rainbow", has_own_targets=config.distributional)
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)

    def build_network(self) -> nn.Module:
        """Return a new network with one output for each action, or with `atoms` outputs for each if distributional."""
        config = self.config
        linear = NoisyLinear if config.noisy else Linear
        # A dueling network has two streams of `hidden` units each, one for the value and one for the advantages.
        hidden = 2 * config.hidden if config.dueling else config.hidden
        atoms = config.atoms if config.distributional else 1
        num_actions = self.spaces.num_actions
        encoder = build_encoder(self.spaces, config, hidden=hidden, linear=linear, dtype=self.dtype)
        if config.dueling:
            head = DuelingHead(encoder.features, num_actions, atoms=atoms, linear=linear)
        else:
            head = linear(encoder.features, num_actions * atoms)
        if config.distributional:
            network = DistributionalQNetwork(encoder, head, low=config.value_low, high=config.value_high, atoms=atoms)
        else:
            network = QNetwork(encoder, head)
        return initialize_weights(network, config.init)

    # --- Acting -------------------------------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """Return the probability of a random action. It is 0 with noisy layers."""
        if self.config.noisy:
            return 0.0
        return super().epsilon

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions as in DQN, with new noise in every call, or without noise if `explore` is False.

        The environments of a row share the noise of the call, as the transitions of a batch share that of an update.
        """
        # Both functions change noisy layers only. They do nothing if `noisy` is false.
        if explore:
            sample_noise(self.policy_network, self.generator)
        else:
            remove_noise(self.policy_network)
        return super().act(obs, is_first, carry, explore=explore)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the output of DQN without noise, and the distribution of the return if the agent is distributional.

        The noise stays removed. The next `act` with `explore`, or the next update, draws new noise.
        """
        remove_noise(self.policy_network)
        if not isinstance(self.policy_network, DistributionalQNetwork):
            return super().policy_output(obs, is_first, carry)
        history, *repeated = carry
        stack, history = stack_frames(obs, is_first, history)
        log_p = self.policy_network.eval().log_probabilities(stack)  # [N, A, atoms]
        q = self.policy_network.means(log_p, stack)
        return PolicyOutput(q.argmax(1), q, q.amax(1), distribution=log_p.exp()), (history, *repeated)

    # --- Learning -----------------------------------------------------------------------------------------------------

    def update(self, batch: TransitionBatch) -> Metrics:
        """Draw new noise for the noisy layers of both networks, then make one update as in DQN."""
        # Both calls do nothing if `noisy` is false.
        sample_noise(self.online_network, self.generator)
        sample_noise(self.target_network, self.generator)
        return super().update(batch)

    def choosing_q(self, next_obs: Tensor | PreprocessedImages) -> Tensor:
        """Return Q(s', .) of the online network, f32[B, A], which chooses the action a* of the target.

        Then draw new noise for this network, so that the noise of the loss is independent of the noise of the choice
        (Fortunato et al. 2018, algorithm 1).

        Args:
            next_obs: Stacks of the next states, preprocessed.
        """
        next_q = self.online_network.eval()(next_obs)
        sample_noise(self.online_network, self.generator)
        return next_q

    def td_loss(self, batch: TransitionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the loss of each transition.

        It is the loss of DQN, or, if distributional, KL(target distribution || p(. | s, a)) (Bellemare et al. 2017).

        Returns:
            The loss of each transition f32[B], differentiable; the error of each transition f32[B], from which its new
            priority follows; and Q(s, .) f32[B, A]. The error is the TD error, or, if distributional, the loss (Hessel
            et al. 2018).
        """
        if not self.config.distributional:
            return super().td_loss(batch)
        assert isinstance(self.online_network, DistributionalQNetwork)
        target_p = self.target_distribution(batch)  # [B, atoms]
        log_p = self.online_network.train().log_probabilities(batch.obs)  # [B, A, atoms]
        log_p_of_action = distribution_of_action(log_p, batch.action)  # [B, atoms]
        # xlogy(p, p) is p log p, and 0 where p is 0. The product p * p.log() would be NaN there.
        losses = (torch.special.xlogy(target_p, target_p) - target_p * log_p_of_action).sum(1)
        return losses, losses.detach(), self.online_network.means(log_p.detach(), batch.obs)

    @torch.no_grad()
    def target_distribution(self, batch: TransitionBatch) -> Tensor:
        """Return the distribution of ret + discount * Z^(s', a*), projected onto the atoms: f32[B, atoms].

        The action a* has the largest value Q(s', a) of the online network if `double` is true, else of the target
        network.
        """
        assert isinstance(self.target_network, DistributionalQNetwork)
        # Preprocessing uses no weights, so one call serves both networks. The target network is always in eval mode.
        preprocessed = self.online_network.preprocess(batch.next_obs)
        next_log_p = self.target_network.log_probabilities(preprocessed)  # [B, A, atoms]
        if self.config.double:
            next_q = self.choosing_q(preprocessed)
        else:
            next_q = self.target_network.means(next_log_p, preprocessed)
        next_p = distribution_of_action(next_log_p, next_q.argmax(1)).exp()  # [B, atoms]
        return categorical_projection(batch.ret, batch.discount, next_p, self.target_network.support)

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Return the value of the next state in the target, f32[B]. Distributional agents do not call this method."""
        # Preprocessing uses no weights, so one call serves both networks. The target network is always in eval mode.
        preprocessed = self.online_network.preprocess(next_obs)
        next_target_q = self.target_network(preprocessed)
        if not self.config.double:
            return max_value(next_target_q)
        next_q = self.choosing_q(preprocessed)
        return double_value(next_q, next_target_q)

    def capture_graphs(self, wrapper: Wrapper = CudaGraphFunction) -> None:
        """Capture CUDA graphs as in DQN.

        Raises:
            ConfigError: The network has noisy layers. A graph would repeat the noise of its capture.
        """
        if self.config.noisy:
            raise ConfigError(
                "cuda_graphs and noisy are true, but a CUDA graph would repeat its noise; set one of the two to false"
            )
        super().capture_graphs(wrapper)
