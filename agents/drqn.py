"""Deep recurrent Q-network: Hausknecht and Stone 2015, "Deep recurrent Q-learning for partially observable MDPs".

DQN that sees one frame at a time and remembers: a recurrent core (LSTM: Hochreiter and Schmidhuber 1997; GRU: Chung et al. 2014)
stands where DQN has its last hidden layer. It learns from sequences of rows that start anywhere ("bootstrapped random updates" in the
paper), with a state of zeros as in the paper or with the one that was there when they were played, and may run for some rows
before it learns from them (burn-in; Kapturowski et al. 2019). The target of Double DQN, the dueling network's two streams and
priorities can be switched on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.core.frame_stack import stack_frames
from agents.core.settings import ConfigError, Count, CountOrZero
from agents.core.targets import double_value, max_value, n_step_return, td_target
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult
from agents.dqn import DQN, DQNConfig
from agents.memory.replay import Replay, SequenceBatch
from agents.nn.networks import Core, RecurrentQNetwork, initialise


@dataclass(frozen=True)
class DRQNConfig(DQNConfig):
    """The settings of DQN, and those of the recurrent core; `batch_size` counts sequences, `frame_stack` is 1 as a rule."""

    core: Core = "lstm"
    """The recurrent core, of `hidden` units."""
    unroll: Count = 10
    """Rows of a sequence that it learns from."""
    burn_in: CountOrZero = 0
    """Rows before them, which only bring the core into its state."""
    start_state: Literal["zero", "stored"] = "zero"
    """What the core starts a sequence with: zeros, or its state when the sequence was played."""
    double: bool = False
    """Whether the online network chooses the action that the target network values (van Hasselt et al. 2015)."""
    dueling: bool = False
    """Whether one half of the core's units gives V and the other the advantages (Wang et al. 2015)."""


class DRQN(DQN):
    """DQN with a memory of its own."""

    config_class = DRQNConfig
    config: DRQNConfig
    network: RecurrentQNetwork
    target: RecurrentQNetwork

    def __init__(
        self,
        config: DRQNConfig,
        rows: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.length = config.burn_in + config.unroll + config.n_step  # rows of a sequence
        least = (self.length + config.frame_stack - 1) * rows.num_envs
        if config.replay_size < least:
            raise ConfigError(
                f"replay_size is {config.replay_size}; with {rows.num_envs} environments it must be at least {least}"
                " (burn_in + unroll + n_step + frame_stack - 1 rows)"
            )
        if config.dropout or config.norm == "layer" or (config.norm == "batch" and not rows.is_image):
            raise ConfigError(
                f"dropout is {config.dropout} and norm {config.norm}; with drqn dropout must be 0, and norm none, or batch over"
                " convolutions"
            )
        super().__init__(config, rows, seed=seed, device=device, dtype=dtype)
        self.replay.ahead = self.length - 1
        if config.start_state == "stored":
            self.replay.keep({f"state{i}": x.shape[1:] for i, x in enumerate(self.initial_carry(1)[1:])})
        self.acting_records: deque[Carry] = deque()  # the carries of the rows that are not observed yet

    @staticmethod
    def bytes_needed(config: DRQNConfig, rows: EnvSpaces) -> int:  # type: ignore[override]
        """Bytes of the replay memory, with the states if they are stored."""
        states = (2 if config.core == "lstm" else 1) * 4 * config.hidden if config.start_state == "stored" else 0
        cells = config.replay_size // rows.num_envs * rows.num_envs
        return Replay.bytes_needed(rows, config.replay_size, config.priority_alpha) + states * cells

    @property
    def samples_per_update(self) -> int:
        """Transitions an update learns from."""
        return self.config.batch_size * self.config.unroll

    def build(self) -> nn.Module:
        """Q(s, .) of all that was seen: the encoder without its last layer, the core, one linear output an action."""
        c = self.config
        encoder = self.build_encoder(c.hidden, last=False)
        network = RecurrentQNetwork(encoder, c.core, c.hidden, self.rows.num_actions, dueling=c.dueling)
        return initialise(network, c.init)

    # --- acting ---------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """The frames before the first one, as in DQN, and the core's state: zeros [n, hidden], once or twice."""
        return (*super().initial_carry(n), *self.network.initial_state(n, self.device))

    def values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Q(h, s, .) of each environment, f32[N, A], and the next carry."""
        history, *state = carry
        stack, history = stack_frames(obs, is_first, history)
        q, new_state = self.network.eval()(stack[None], is_first[None], tuple(state))
        return q[0], (history, *new_state)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """DQN's; the state it acted from is kept for `remember`."""
        if explore:
            self.acting_records.append(carry[1:])
        return super().act(obs, is_first, carry, explore=explore)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """DQN's, and the size of h."""
        thought, carry = super().policy_output(obs, is_first, carry)
        return thought._replace(state_norm=carry[1].norm(dim=1)), carry

    # --- learning -------------------------------------------------------------------------------------------------

    def remember(self, step: StepResult) -> None:
        """Put the row into the replay, with the state that it was played from."""
        state = self.acting_records.popleft()
        stored = self.config.start_state == "stored"
        self.replay.add(step, {f"state{i}": x for i, x in enumerate(state)} if stored else {})

    def sample(self) -> SequenceBatch:  # type: ignore[override]
        """`batch_size` sequences."""
        return self.replay.sample_sequences(self.config.batch_size, self.length, beta=self.beta)

    def unrolled(self, network: RecurrentQNetwork, batch: SequenceBatch) -> Tensor:
        """Q(h, s, .) of every row of the sequences, f32[L, B, A]; what burns in sends back no gradient."""
        burn_in = self.config.burn_in
        state = tuple(x[0] for x in batch.kept.values()) or network.initial_state(batch.obs.shape[1], self.device)
        if not burn_in:
            return network(batch.obs, batch.is_first, state)[0]
        with torch.no_grad():
            before, state = network(batch.obs[:burn_in], batch.is_first[:burn_in], state)
        return torch.cat([before, network(batch.obs[burn_in:], batch.is_first[burn_in:], state)[0]])

    def td_loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Each row's loss, the Huber loss of y - Q(h_t, s_t, a_t) with y = R + discount * max_a Q-(h_t+m, s_t+m, a); see DQN.

        With `double` the a of the target is the best of the online network's Q(h_t+m, s_t+m, .).
        """
        c = self.config
        learned = slice(c.burn_in, c.burn_in + c.unroll)
        all_q = self.unrolled(self.online.train(), batch)  # [L, B, A]
        with torch.no_grad():
            next_q = self.unrolled(self.target, batch).flatten(0, 1)
            next_value = double_value(all_q.flatten(0, 1), next_q) if c.double else max_value(next_q)
            next_value = next_value.unflatten(0, all_q.shape[:2])
            reward, terminated, truncated = (
                x[c.burn_in : -1].unfold(0, c.n_step, 1).flatten(0, 1)
                for x in (batch.reward, batch.terminated, batch.truncated)
            )  # [unroll * B, n]
            ret, discount, m = n_step_return(reward, terminated, truncated, c.gamma)
            t = torch.arange(c.burn_in, c.burn_in + c.unroll, device=self.device)[:, None].expand(-1, c.batch_size)
            y = td_target(ret, discount, next_value.gather(0, t + m.view_as(t)).flatten())
        q = all_q[learned]
        taken = q.gather(2, batch.action[learned][:, :, None]).flatten()
        losses = F.smooth_l1_loss(taken, y, reduction="none")
        return losses, (y - taken).detach(), q.detach().flatten(0, 1)

    def alive(self, batch: SequenceBatch) -> Tensor:
        """1 for the rows that are learned from, 0 for dead ones among them, f32[unroll, B]."""
        return (~batch.is_last[self.config.burn_in : self.config.burn_in + self.config.unroll]).float()

    def weights(self, batch: SequenceBatch) -> Tensor:  # type: ignore[override]
        """0 for dead rows, and for the others their sequence's, times what makes the mean of all a mean over them. f32[unroll * B]."""
        alive = self.alive(batch)
        return (batch.weight * alive / alive.mean().clamp(min=1e-6)).flatten()

    def learn(self, batch: SequenceBatch) -> tuple[Metrics, Tensor]:  # type: ignore[override]
        """DQN's; a sequence's priority follows .9 max |error| + .1 mean |error| of its live rows (Kapturowski et al. 2019)."""
        metrics, error = super().learn(batch)  # type: ignore[arg-type]
        alive = self.alive(batch)
        sizes = error.view_as(alive).abs() * alive
        return metrics, 0.9 * sizes.amax(0) + 0.1 * sizes.sum(0) / alive.sum(0).clamp(min=1)

    # --- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """DQN's, and the states of the rows that are not observed yet."""
        played = {str(i): {str(j): x for j, x in enumerate(state)} for i, state in enumerate(self.acting_records)}
        return {**super().state_dict(), **({"acting_records": played} if played else {})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        played = state.get("acting_records", {})
        self.acting_records = deque(
            tuple(played[str(i)][str(j)] for j in range(len(played[str(i)]))) for i in range(len(played))
        )
