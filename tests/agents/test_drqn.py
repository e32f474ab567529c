"""Tests of DRQN: sequences are compared with a naive loop over rows, and its memory with a task that needs one."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loops import step_both, toy_loop
from torch import Tensor

from agents.configs.dqn import DQNConfig, DRQNConfig
from agents.core.settings import ConfigError
from agents.core.types import StepResult
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.memory.sequences import SequenceBatch
from agents.nn.recurrent import RecurrentQNetwork, RecurrentState
from envs.textbook import Recall

SMALL = DRQNConfig(
    hidden=8, learning_starts=64, epsilon_steps=500, target_every=7, replay_size=4096, batch_size=6, unroll=5, n_step=2
)
BATCH_SIZE = 6
UNROLL = 5
GAMMA = 0.9


def record_acting_q_values(agent: DRQN) -> list[Tensor]:
    """Return a list to which the agent's network appends Q(h, s, .) f32[N, A] of every row it acts on."""
    acting_q_values: list[Tensor] = []
    forward = agent.policy_network.forward

    def recording_forward(obs: Tensor, is_first: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        q, next_state = forward(obs, is_first, state)
        if len(obs) == 1:
            acting_q_values.append(q[0])
        return q, next_state

    agent.policy_network.forward = recording_forward
    return acting_q_values


@pytest.mark.parametrize("core", ["lstm", "gru"])
@pytest.mark.parametrize("start_state", ["zero", "stored"])
def test_sequence_q_values_equal_those_of_acting(core, start_state):
    """With zero states, only the rows after the start of an episode are compared; with stored states, all rows."""
    config = dataclasses.replace(SMALL, core=core, start_state=start_state, replay_ratio=0)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    acting_q_values = record_acting_q_values(agent)
    for _ in range(80):
        loop.step()
    compared = 0
    for _ in range(20):
        batch = agent.sample()
        with torch.no_grad():
            q = agent.sequence_q_values(agent.policy_network, batch)
        for b, cell in enumerate(batch.cell.tolist()):
            state_is_known = start_state == "stored"
            for t in range(agent.length):
                state_is_known = state_is_known or bool(batch.is_first[t, b])
                if state_is_known:
                    assert torch.allclose(q[t, b], acting_q_values[cell // 3 + t][cell % 3], atol=1e-5)
                    compared += 1
    assert compared > 200


def naive_q_values(network: RecurrentQNetwork, batch: SequenceBatch, b: int) -> list[Tensor]:
    """Return Q(h, s, .) f32[A] of every row of sequence b, from PyTorch's own GRU cell."""
    h = torch.zeros(1, 8)
    q = []
    for t in range(len(batch.obs)):
        if batch.is_first[t, b]:
            h = torch.zeros(1, 8)
        h = network.core(network.encoder(batch.obs[t, b : b + 1]), h)
        q.append(network.head(h)[0].detach())
    return q


def naive_td_error(
    batch: SequenceBatch, t: int, b: int, n_step: int, q: list[Tensor], target_q: list[Tensor], double: bool
) -> tuple[float, bool]:
    """Return the TD error of row t of sequence b, and whether the end of an episode cut its n-step return."""
    y = 0.0
    discount = 1.0
    last = t
    for last in range(t, t + n_step):
        y += discount * float(batch.reward[last, b])
        discount *= GAMMA
        if batch.terminated[last, b] or batch.truncated[last, b]:
            break
    if not batch.terminated[last, b]:
        choosing_q = q[last + 1] if double else target_q[last + 1]
        y += discount * float(target_q[last + 1][choosing_q.argmax()])
    return y - float(q[t][batch.action[t, b]]), last < t + n_step - 1


@pytest.mark.parametrize(
    ("burn_in", "n_step", "options"),
    [(0, 1, {}), (0, 3, {}), (4, 2, {}), (0, 3, {"double": True}), (4, 2, {"double": True, "dueling": True})],
)
def test_loss_equals_naive_loop_over_rows(burn_in, n_step, options):
    """Compares states, masks, n-step returns and bootstrap values."""
    config = dataclasses.replace(
        SMALL, core="gru", burn_in=burn_in, n_step=n_step, replay_ratio=0, gamma=GAMMA, **options
    )
    agent, loop = toy_loop(config, 3, cls=DRQN)
    other_agent, _ = toy_loop(config, 3, seed=2, cls=DRQN)
    agent.target_network = other_agent.target_network
    for _ in range(80):
        loop.step()
    num_inactive = 0
    num_cut = 0
    for _ in range(5):
        batch = agent.sample()
        losses, td_errors, _ = agent.td_loss(batch)
        losses = losses.detach().view(UNROLL, BATCH_SIZE)
        td_errors = td_errors.view(UNROLL, BATCH_SIZE)
        weights = agent.loss_weights(batch).view(UNROLL, BATCH_SIZE)
        for b in range(BATCH_SIZE):
            q = naive_q_values(agent.online_network, batch, b)
            target_q = naive_q_values(agent.target_network, batch, b)
            for k in range(UNROLL):
                t = burn_in + k
                is_last = bool(batch.is_last[t, b])
                assert bool(weights[k, b] == 0) == is_last
                if is_last:
                    num_inactive += 1
                    continue
                error, is_cut = naive_td_error(batch, t, b, n_step, q, target_q, config.double)
                num_cut += is_cut
                huber_loss = error**2 / 2 if abs(error) < 1 else abs(error) - 0.5
                assert float(td_errors[k, b]) == pytest.approx(error, abs=1e-4)
                assert float(losses[k, b]) == pytest.approx(huber_loss, abs=1e-4)
        assert float(weights.mean()) == pytest.approx(1)
    assert num_inactive > 0
    assert num_cut > 0 or n_step == 1


@pytest.mark.parametrize(("burn_in", "rows"), [(0, 30), (3, 200)])
def test_prioritised_sequences_are_complete_and_start_with_active_rows(burn_in, rows):
    """The cells with a priority are compared with a naive list of rows, before and after the replay is full."""
    num_rows = 40
    config = dataclasses.replace(SMALL, burn_in=burn_in, priority_alpha=0.7, replay_size=3 * num_rows, frame_stack=2)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    is_last: list[list[bool]] = []
    store = agent.store

    def record_and_store(step: StepResult) -> None:
        is_last.append(step.is_last.tolist())
        store(step)

    agent.store = record_and_store
    assert agent.replay.priorities is not None
    for _ in range(rows):
        loop.step()
        oldest = max(0, len(is_last) - num_rows)
        first = oldest + 1 if oldest else 0  # a stack of two observations needs the row before
        expected = set()
        for t in range(first, len(is_last) - agent.length + 1):
            for env in range(3):
                if not is_last[t][env]:
                    expected.add((t % num_rows) * 3 + env)
        assert set(agent.replay.priorities.values.nonzero().flatten().tolist()) == expected
    assert agent.updates > 0
    batch = agent.sample()
    assert not batch.is_last[0].any()
    assert torch.equal(batch.is_last, agent.sampler.at(batch.cell).is_last)


def test_priority_of_sequence_is_mixture_of_maximum_and_mean_error():
    config = dataclasses.replace(SMALL, priority_alpha=1.0, priority_beta=0.5, replay_ratio=0)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    for _ in range(60):
        loop.step()
    assert agent.replay.priorities is not None
    assert torch.equal(agent.sample().weight, torch.ones(BATCH_SIZE))  # new sequences have equal priorities
    batch = agent.sample()
    td_errors = agent.td_loss(batch)[1].view(UNROLL, BATCH_SIZE).tolist()
    untyped_batch: Any = batch  # `update` is inherited from DQN, which declares its own type of batch
    agent.update(untyped_batch)
    priority = dict.fromkeys(agent.replay.priorities.values.nonzero().flatten().tolist(), 1.0)
    for b, cell in enumerate(batch.cell.tolist()):
        errors = [abs(td_errors[k][b]) for k in range(UNROLL) if not batch.is_last[k, b]]
        priority[cell] = 0.9 * max(errors) + 0.1 * sum(errors) / len(errors) + 1e-6
    for cell, value in priority.items():
        assert float(agent.replay.priorities.values[cell]) == pytest.approx(value, abs=1e-6)
    next_batch = agent.sample()
    total = sum(priority.values())
    weights = np.array([(len(priority) * priority[cell] / total) ** -agent.beta for cell in next_batch.cell.tolist()])
    assert next_batch.weight.tolist() == pytest.approx(weights / weights.max(), rel=1e-5)
    active = (~next_batch.is_last[:UNROLL]).float()
    loss_weights = agent.loss_weights(next_batch).view(UNROLL, BATCH_SIZE)
    assert torch.allclose(loss_weights, active * next_batch.weight / active.mean())


def test_burn_in_rows_have_no_gradient():
    agent, loop = toy_loop(dataclasses.replace(SMALL, burn_in=4, replay_ratio=0), 3, cls=DRQN)
    for _ in range(40):
        loop.step()
    batch = agent.sample()
    batch = batch._replace(obs=batch.obs.clone().requires_grad_())
    agent.td_loss(batch)[0].sum().backward()
    assert batch.obs.grad is not None
    assert batch.obs.grad[:4].abs().sum() == 0
    assert batch.obs.grad[4:9].abs().sum() > 0


def mean_greedy_score(cls: type[DQN], config: DQNConfig) -> float:
    """Train on Recall, where the first of four observations determines the best last action; return the mean score."""
    agent, loop = toy_loop(config, 4, Recall, cls=cls)
    for _ in range(600):
        loop.step()
    agent.config = dataclasses.replace(agent.config, epsilon_end=0.0, replay_ratio=0)
    scores = []
    for _ in range(200):
        scores += [episode.score for episode in loop.step().episodes]
    return float(np.mean(scores))


@pytest.mark.parametrize("start_state", [pytest.param("zero", marks=pytest.mark.slow), "stored"])
def test_drqn_solves_memory_task_and_dqn_does_not(start_state):
    config = dataclasses.replace(
        SMALL,
        hidden=16,
        lr=5e-3,
        unroll=4,
        n_step=1,
        batch_size=16,
        replay_ratio=64,
        start_state=start_state,
        target_every=20,
    )
    dqn_config = DQNConfig(hidden=16, lr=5e-3, learning_starts=64, epsilon_steps=500)
    assert mean_greedy_score(DRQN, config) > 0.95
    assert abs(mean_greedy_score(DQN, dqn_config)) < 0.4


@pytest.mark.parametrize(("start_state", "alpha"), [("zero", 0.0), ("stored", 0.0), ("stored", 0.5)])
def test_restored_agent_continues_bit_for_bit(start_state, alpha):
    config = dataclasses.replace(SMALL, start_state=start_state, priority_alpha=alpha)
    agent, loop = toy_loop(config, 2, cls=DRQN)
    for _ in range(200):
        loop.step()
    restored, _ = toy_loop(config, 2, seed=9, cls=DRQN)
    restored.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, restored, 50)
    assert agent.updates > 10
    assert restored.updates == agent.updates
    for param, restored_param in zip(agent.network.parameters(), restored.network.parameters(), strict=True):
        assert torch.equal(param, restored_param)


@pytest.mark.parametrize("start_state", ["zero", "stored"])
@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_bytes_needed_equals_allocated_bytes(start_state, core):
    config = dataclasses.replace(SMALL, start_state=start_state, core=core)
    agent, loop = toy_loop(config, 2, cls=DRQN)
    loop.step()
    loop.step()
    assert agent.replay.nbytes == DRQN.bytes_needed(config, agent.spaces) > 0


def test_drqn_raises_if_replay_is_too_small_for_one_sequence():
    with pytest.raises(ConfigError, match=r"replay_size is 20; with 4 environments it must be at least 28 \(burn_in"):
        toy_loop(dataclasses.replace(SMALL, replay_size=20), 4, cls=DRQN)


def test_drqn_raises_if_replay_is_too_small_for_one_sequence_of_stacks():
    config = dataclasses.replace(SMALL, replay_size=28, frame_stack=3)
    with pytest.raises(ConfigError, match="it must be at least 36"):
        toy_loop(config, 4, cls=DRQN)


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"norm": "layer"}, {"norm": "batch"}])
def test_drqn_raises_if_setting_needs_hidden_layer(options: dict[str, Any]):
    with pytest.raises(ConfigError, match="with drqn, dropout must be 0"):
        toy_loop(dataclasses.replace(SMALL, **options), 1, cls=DRQN)
