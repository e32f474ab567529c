"""Deep Q-network: Mnih et al. 2015, "Human-level control through deep reinforcement learning".

Read top to bottom, this is the paper's algorithm 1; `--preset paper` has the paper's settings, where the defaults differ.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.core.cuda_graphs import CudaGraphFunction
from agents.core.frame_stack import empty_history, stack_frames
from agents.core.optimizers import OptimizerConfig, build_optimizer, descend, load_moments, set_lr
from agents.core.schedules import linear_schedule
from agents.core.settings import ConfigError, Count, CountOrZero, Fraction, NonNegative
from agents.core.stopwatch import Stopwatch
from agents.core.targets import max_value, td_target
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult, clip_rewards, mean_metrics
from agents.memory.config import ReplayConfig
from agents.memory.replay import Replay, TransitionBatch
from agents.nn.config import NetworkConfig
from agents.nn.encoders import MLP, NatureCNN, build_encoder
from agents.nn.networks import QNetwork, initialise


@dataclass(frozen=True)
class DQNConfig(NetworkConfig, OptimizerConfig, ReplayConfig):
    """Settings of DQN. An agent step is one decision in one environment; an update is one gradient step."""

    gamma: Fraction = 0.99
    """Discount per agent step."""
    reward_clip: NonNegative = 0.0
    """Clip rewards to [-reward_clip, reward_clip] before they are stored. 0 disables clipping."""
    target_every: Count = 1_000
    """Updates between two copies of the online network into the target network."""
    target_tau: Fraction = 0.0
    """Polyak step: share of the online network that moves into the target network after every update, in place of copies.
    The averaged target network then also plays (Schwarzer et al. 2023, BBF). 0 uses copies."""
    epsilon_start: Fraction = 1.0
    """Probability of a random action at the first agent step."""
    epsilon_end: Fraction = 0.01
    """Probability of a random action from agent step epsilon_steps on."""
    epsilon_hold: CountOrZero = 0
    """Agent steps before epsilon begins to fall, linearly."""
    epsilon_steps: CountOrZero = 50_000
    """Agent step at which epsilon reaches epsilon_end."""


class DQN:
    """A Q-network, its slow copy, a replay memory, and the methods of the `Agent` protocol.

    A variant overrides `build` (another network), `bootstrap` (another value of the next state) or `td_loss` (another loss).
    """

    config_class = DQNConfig

    def __init__(
        self, config: DQNConfig, rows: EnvSpaces, *, seed: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        """`dtype` is what the encoder of images computes in, float32 or bfloat16; the weights are float32."""
        if config.replay_size < config.batch_size:
            raise ConfigError(
                f"replay_size is {config.replay_size}; it must be at least batch_size, {config.batch_size}"
            )
        self.config, self.rows, self.device, self.dtype = config, rows, device, dtype
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.online = self.build().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # its weights keep gradients where it plays, so that it can be asked why
        self.target = copy.deepcopy(self.online).eval().requires_grad_(config.target_tau > 0)
        self.network = self.target if config.target_tau else self.online  # what plays
        graphs = config.cuda_graphs and device.type == "cuda"
        self.optimizer = build_optimizer(
            config.optimizer, self.online.parameters(), lr=config.lr, eps=config.optimizer_eps, recorded=graphs
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        self.replay = Replay(
            rows,
            config.replay_size,
            stack=config.frame_stack,
            n_step=config.n_step,
            gamma=config.gamma,
            device=device,
            generator=self.generator,
            priority_alpha=config.priority_alpha,
        )
        self.steps = 0  # agent steps observed
        self.updates = 0
        self.seconds = Stopwatch()
        self.values_now, self.learn_now = self.values, self.learn  # what `act` and `update` call
        if graphs:
            self.record(CudaGraphFunction)

    def record(self, recorded: Callable[[Any], Any]) -> None:
        """Act, build batches and learn by fresh `recorded` versions of the functions that do."""
        self.values_now, self.learn_now = recorded(self.values), recorded(self.learn)
        self.replay.transitions = recorded(functools.partial(Replay.transitions, self.replay))

    @staticmethod
    def bytes_needed(config: DQNConfig, rows: EnvSpaces) -> int:
        """Bytes of the replay memory on the agent's device."""
        return Replay.bytes_needed(rows, config.replay_size, config.priority_alpha)

    # --- the network and the target: what variants change -------------------------------------------------------

    def build(self) -> nn.Module:
        """Q(s, .): the encoder that fits the rows and one linear output an action."""
        encoder = self.build_encoder(self.config.hidden)
        return initialise(QNetwork(encoder, nn.Linear(encoder.features, self.rows.num_actions)), self.config.init)

    def build_encoder(self, hidden: int, **options: Any) -> NatureCNN | MLP:
        """The encoder that fits the rows, with `hidden` features, as the configuration and `options` ask for it."""
        c = self.config
        looks = {"filters": c.filters, "pixels": c.pixels, "norm": c.norm, "dropout": c.dropout, "dtype": self.dtype}
        return build_encoder(self.rows, c.frame_stack, hidden=hidden, **looks, **options)  # type: ignore[arg-type]

    def bootstrap(self, next_obs: Tensor) -> Tensor:
        """The value of the next state, f32[B]: max_a Q-(s', a)."""
        return max_value(self.target(next_obs))

    # --- acting ---------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """The k-1 frames before the first one: zeros [n, k-1, *frame]."""
        return (empty_history(n, self.config.frame_stack - 1, self.rows, self.device),)

    def values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Q(s, .) of each environment, f32[N, A], and the next carry."""
        stack, history = stack_frames(obs, is_first, *carry)
        return self.network.eval()(stack), (history,)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """argmax_a Q(s, a), or with probability epsilon, drawn for each environment, a uniformly random action."""
        q, carry = self.values_now(obs, is_first, carry)
        return self.choose(q, explore=explore), carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """The greedy action, Q(s, .) and its maximum."""
        q, carry = self.values(obs, is_first, carry)
        return PolicyOutput(q.argmax(1), q, q.amax(1)), carry

    def choose(self, q: Tensor, *, explore: bool) -> Tensor:
        """The best action of each row of q [N, A], or where it explores a random one."""
        action = q.argmax(1)
        if not explore:
            return action
        n = len(action)
        random = torch.rand(n, generator=self.generator, device=self.device) < self.epsilon
        other = torch.randint(self.rows.num_actions, (n,), generator=self.generator, device=self.device)
        return torch.where(random, other, action)

    @property
    def epsilon(self) -> float:
        """The probability of a random action after the agent steps observed so far."""
        c = self.config
        return linear_schedule(c.epsilon_start, c.epsilon_end, c.epsilon_steps, self.steps, hold=c.epsilon_hold)

    @property
    def lr(self) -> float:
        """The learning rate after the agent steps observed so far."""
        return self.config.learning_rate(self.steps)

    # --- learning -------------------------------------------------------------------------------------------------

    def observe(self, step: StepResult) -> Metrics | None:
        """Remember the row; then make the updates that are due, `replay_ratio / batch_size` per agent step."""
        with self.seconds("sampling"):
            self.remember(clip_rewards(step, self.config.reward_clip))
        self.steps += step.num_active
        made = []
        while self.updates < self.updates_due():
            with self.seconds("sampling"):
                batch = self.sample()
            with self.seconds("updating"):
                made.append(self.update(batch))
        return mean_metrics(made)

    def remember(self, step: StepResult) -> None:
        """Put the row into the replay."""
        self.replay.add(step)

    def can_sample(self) -> bool:
        """Whether the replay holds a start whose n steps, or whose whole sequence, are complete."""
        return self.replay.num_starts > 0

    def sample(self) -> TransitionBatch:
        """What an update learns from."""
        return self.replay.sample(self.config.batch_size, beta=self.beta)

    @property
    def beta(self) -> float:
        """How much of the preference for large errors the weights take back, after the agent steps observed so far."""
        return linear_schedule(self.config.priority_beta, 1.0, self.config.priority_beta_steps, self.steps)

    @property
    def samples_per_update(self) -> int:
        """Transitions an update learns from."""
        return self.config.batch_size

    def updates_due(self) -> int:
        """How many updates belong to the agent steps so far: a function of the steps alone, whatever `num_envs` is.

        (0 while the replay has nothing to sample; they are made up for then.)
        """
        c = self.config
        learning_steps = self.steps - max(c.learning_starts, c.batch_size)
        if learning_steps < 0 or not self.can_sample():
            return 0
        return int(learning_steps * c.replay_ratio / self.samples_per_update)

    def td_loss(self, batch: TransitionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Each transition's loss, the Huber loss of y - Q(s, a) with y = R + discount * bootstrap(s'); its error; and Q(s, .)."""
        with torch.no_grad():
            y = td_target(batch.ret, batch.discount, self.bootstrap(batch.next_obs))
        q = self.online.train()(batch.obs)
        taken = q.gather(1, batch.action[:, None]).squeeze(1)
        return F.smooth_l1_loss(taken, y, reduction="none"), (y - taken).detach(), q.detach()

    def weights(self, batch: TransitionBatch) -> Tensor:
        """What each loss counts, f32[B]."""
        return batch.weight

    def learn(self, batch: TransitionBatch) -> tuple[Metrics, Tensor]:
        """One gradient step on the weighted mean of the losses: what there is to say of it, and the errors that priorities follow."""
        losses, error, q = self.td_loss(batch)
        loss = (self.weights(batch) * losses).mean()
        norm = descend(self.optimizer, loss, grad_clip=self.config.grad_clip)
        metrics = {"loss": loss.detach(), "td_error": error.abs().mean(), "q_mean": q.mean(), "q_max": q.amax(1).mean()}
        return metrics | {"grad_norm": norm}, error

    def update(self, batch: TransitionBatch) -> Metrics:
        """One gradient step; then the target's copy, when it is due."""
        set_lr(self.optimizer, self.lr)
        metrics, error = self.learn_now(batch)
        self.replay.set_priorities(batch.cell, error)
        self.updates += 1
        self.update_target()
        return metrics

    @torch.no_grad()
    def update_target(self) -> None:
        """Bring the target network nearer to the online one after an update: a little, or where it is time all the way."""
        c = self.config
        if c.target_tau:
            torch._foreach_lerp_([*self.target.parameters()], [*self.online.parameters()], c.target_tau)
            for mine, its in zip(self.target.buffers(), self.online.buffers(), strict=True):  # of batch normalisation
                mine.copy_(its)
        elif self.updates % c.target_every == 0:
            self.target.load_state_dict(self.online.state_dict())

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with these weights, in the target network too."""
        self.online.load_state_dict(weights)
        self.target.load_state_dict(weights)

    # --- state ----------------------------------------------------------------------------------------------------

    def gauges(self) -> dict[str, float]:
        """epsilon, learning rate, updates so far, and cells in the replay."""
        return {"epsilon": self.epsilon, "lr": self.lr, "updates": self.updates, "replay/size": self.replay.size}

    @property
    def _not_playing(self) -> dict[str, nn.Module]:
        """The online or the target network, the one that does not play."""
        return {"online": self.online} if self.config.target_tau else {"target": self.target}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, replay, counters and the random generator."""
        return {
            "network": self.network.state_dict(),
            **{name: network.state_dict() for name, network in self._not_playing.items()},
            "optimizer": self.optimizer.state_dict()["state"],
            "replay": self.replay.state_dict(),
            "generator": self.generator.get_state(),
            "steps": self.steps,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned. Raises ValueError or RuntimeError where shapes do not fit."""
        self.network.load_state_dict(state["network"])
        for name, network in self._not_playing.items():
            network.load_state_dict(state[name])
        load_moments(self.optimizer, state.get("optimizer", {}))  # nothing before the first update
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"].cpu())
        self.steps, self.updates = int(state["steps"]), int(state["updates"])
        if isinstance(self.learn_now, CudaGraphFunction):
            self.record(CudaGraphFunction)  # the optimiser's moments and the replay's rows lie elsewhere now
