"""DRQN: its sequences row by row, its memory on a task that needs one."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from loops import step_both, toy_loop

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.dqn import DQN, DQNConfig
from agents.drqn import DRQN, DRQNConfig
from envs.textbook import Recall

SMALL = DRQNConfig(
    hidden=8, learning_starts=64, epsilon_steps=500, target_every=7, replay_size=4096, batch_size=6, unroll=5, n_step=2
)


@pytest.mark.parametrize("core", ["lstm", "gru"])
@pytest.mark.parametrize("start", ["zero", "stored"])
def test_acting_and_replay_think_the_same(core, start):
    """From an episode's first row on, or from a stored state, the sequence's Q is what acting had."""
    config = dataclasses.replace(SMALL, core=core, start_state=start, replay_ratio=0)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    acted, network = [], agent.network.forward

    def spy(obs, first, state):
        q, after = network(obs, first, state)
        if len(obs) == 1:
            acted.append(q[0])
        return q, after

    agent.network.forward = spy
    for _ in range(80):
        loop.step()
    compared = 0
    for _ in range(20):
        batch = agent.sample()
        with torch.no_grad():
            q = agent.sequence_q_values(agent.network, batch)
        for b, cell in enumerate(batch.cell.tolist()):
            known = start == "stored"
            for t in range(agent.length):
                known = known or bool(batch.is_first[t, b])
                if known:
                    assert torch.allclose(q[t, b], acted[cell // 3 + t][cell % 3], atol=1e-5)
                    compared += 1
    assert compared > 200


@pytest.mark.parametrize(
    ("burn_in", "n_step", "more"),
    [(0, 1, {}), (0, 3, {}), (4, 2, {}), (0, 3, {"double": True}), (4, 2, {"double": True, "dueling": True})],
)
def test_the_loss_is_that_of_a_walk_through_each_sequence(burn_in, n_step, more):
    """Row by row with the equations of the GRU's own cell: states, masks, n-step returns cut at ends, bootstraps."""
    config = dataclasses.replace(SMALL, core="gru", burn_in=burn_in, n_step=n_step, replay_ratio=0, gamma=0.9, **more)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    agent.target_network = toy_loop(config, 3, seed=2, cls=DRQN)[0].target_network
    for _ in range(80):
        loop.step()
    seen_dead = seen_cut = 0
    for _ in range(5):
        batch = agent.sample()
        losses, errors, _ = agent.td_loss(batch)
        weights = agent.loss_weights(batch).view(5, 6)
        for b in range(6):
            q = {}
            for name, net in (("online", agent.network), ("target", agent.target_network)):
                h, q[name] = torch.zeros(1, 8), []
                for t in range(agent.length):
                    if batch.is_first[t, b]:
                        h = torch.zeros(1, 8)
                    h = net.core(net.encoder(batch.obs[t, b : b + 1]), h)
                    q[name].append(net.head(h)[0].detach())
            for k in range(5):
                t = burn_in + k
                seen_dead += bool(batch.is_last[t, b])
                assert bool(weights[k, b] == 0) == bool(batch.is_last[t, b])
                if batch.is_last[t, b]:
                    continue
                y, discount = 0.0, 1.0
                for j in range(t, t + n_step):
                    y, discount = y + discount * float(batch.reward[j, b]), discount * 0.9
                    if batch.terminated[j, b] or batch.truncated[j, b]:
                        seen_cut += j < t + n_step - 1
                        break
                if not batch.terminated[j, b]:
                    chooser = q["online" if "double" in more else "target"][j + 1]
                    y += discount * float(q["target"][j + 1][chooser.argmax()])
                error = y - float(q["online"][t][batch.action[t, b]])
                assert float(errors.view(5, 6)[k, b]) == pytest.approx(error, abs=1e-4)
                huber = error**2 / 2 if abs(error) < 1 else abs(error) - 0.5
                assert float(losses.detach().view(5, 6)[k, b]) == pytest.approx(huber, abs=1e-4)
        assert float(weights.mean()) == pytest.approx(1)
    assert seen_dead
    assert seen_cut or n_step == 1


@pytest.mark.parametrize(("burn_in", "rows"), [(0, 30), (3, 200)])
def test_sequences_by_priority_are_whole_and_begin_alive(burn_in, rows):
    """Whatever the replay holds, before and after it is full, just those cells have a priority that a list of rows says."""
    config = dataclasses.replace(SMALL, burn_in=burn_in, priority_alpha=0.7, replay_size=3 * 40, frame_stack=2)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    is_last, remember = [], agent.store
    agent.store = lambda step: (is_last.append(step.is_last.tolist()), remember(step))[1]
    for _ in range(rows):
        loop.step()
        oldest = max(0, len(is_last) - 40)
        whole = range(
            oldest + (1 if oldest else 0), len(is_last) - agent.length + 1
        )  # the stack of two takes a row more
        starts = {(t % 40) * 3 + e for t in whole for e in range(3) if not is_last[t][e]}
        assert set(agent.replay.priorities.values.nonzero().flatten().tolist()) == starts
    assert agent.updates > 0
    batch = agent.sample()
    assert not batch.is_last[0].any()
    assert torch.equal(batch.is_last, agent.sampler.at(batch.cell).is_last)


def test_a_sequence_is_as_likely_as_its_errors_are_large():
    config = dataclasses.replace(SMALL, priority_alpha=1.0, priority_beta=0.5, replay_ratio=0)
    agent, loop = toy_loop(config, 3, cls=DRQN)
    for _ in range(60):
        loop.step()
    assert torch.equal(agent.sample().weight, torch.ones(6))  # all are new
    batch = agent.sample()
    errors = agent.td_loss(batch)[1].view(5, 6).tolist()
    agent.update(batch)
    p = dict.fromkeys(agent.replay.priorities.values.nonzero().flatten().tolist(), 1.0)
    for b, cell in enumerate(batch.cell.tolist()):
        num_active = [abs(errors[k][b]) for k in range(5) if not batch.is_last[k, b]]
        p[cell] = 0.9 * max(num_active) + 0.1 * sum(num_active) / len(num_active) + 1e-6
    for cell, value in p.items():
        assert float(agent.replay.priorities.values[cell]) == pytest.approx(value, abs=1e-6)
    again = agent.sample()
    raw = [(len(p) * p[cell] / sum(p.values())) ** -agent.beta for cell in again.cell.tolist()]
    assert again.weight.tolist() == pytest.approx([w / max(raw) for w in raw], rel=1e-5)
    alive = (~again.is_last[:5]).float()
    assert torch.allclose(agent.loss_weights(again).view(5, 6), alive * again.weight / alive.mean())


def test_burning_in_sends_back_no_gradient():
    agent, loop = toy_loop(dataclasses.replace(SMALL, burn_in=4, replay_ratio=0), 3, cls=DRQN)
    for _ in range(40):
        loop.step()
    batch = agent.sample()
    batch = batch._replace(obs=batch.obs.clone().requires_grad_())
    agent.td_loss(batch)[0].sum().backward()
    assert batch.obs.grad[:4].abs().sum() == 0
    assert batch.obs.grad[4:9].abs().sum() > 0


@pytest.mark.parametrize("start", [pytest.param("zero", marks=pytest.mark.slow), "stored"])
def test_it_remembers_what_dqn_cannot(start):
    """A cue at the first row of four decides which action pays at the last."""
    config = dataclasses.replace(
        SMALL,
        hidden=16,
        lr=5e-3,
        unroll=4,
        n_step=1,
        batch_size=16,
        replay_ratio=64,
        start_state=start,
        target_every=20,
    )
    plain = DQNConfig(hidden=16, lr=5e-3, learning_starts=64, epsilon_steps=500)
    scores = {}
    for cls, settings in ((DRQN, config), (DQN, plain)):
        agent, loop = toy_loop(settings, 4, Recall, cls=cls)
        for _ in range(600):
            loop.step()
        agent.config = dataclasses.replace(agent.config, epsilon_end=0.0, replay_ratio=0)
        games = [game.score for _ in range(200) for game in loop.step().episodes]
        scores[cls] = np.mean(games)
    assert scores[DRQN] > 0.95
    assert abs(scores[DQN]) < 0.4


@pytest.mark.parametrize(("start", "alpha"), [("zero", 0.0), ("stored", 0.0), ("stored", 0.5)])
def test_state_dict_goes_on_where_it_was(start, alpha):
    config = dataclasses.replace(SMALL, start_state=start, priority_alpha=alpha)
    agent, loop = toy_loop(config, 2, cls=DRQN)
    for _ in range(200):
        loop.step()
    other, _ = toy_loop(config, 2, seed=9, cls=DRQN)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    step_both(loop, other, 50)
    assert other.updates == agent.updates > 10
    for mine, theirs in zip(agent.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_its_bytes_are_known():
    rows = EnvSpaces((3,), torch.float32, 2, 2)
    for start in ("zero", "stored"):
        config = dataclasses.replace(SMALL, start_state=start)
        agent, loop = toy_loop(config, 2, cls=DRQN)
        loop.step()
        loop.step()
        assert agent.replay.nbytes == DRQN.bytes_needed(config, agent.spaces)
    assert DRQN.bytes_needed(config, rows) > 0


def test_a_replay_too_small_for_a_sequence_is_refused():
    with pytest.raises(ConfigError, match=r"replay_size is 20; with 4 environments it must be at least 28 \(burn_in"):
        toy_loop(dataclasses.replace(SMALL, replay_size=20), 4, cls=DRQN)


def test_a_stack_of_frames_needs_room_too():
    config = dataclasses.replace(SMALL, replay_size=28, frame_stack=3)
    with pytest.raises(ConfigError, match="it must be at least 36"):
        toy_loop(config, 4, cls=DRQN)


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"norm": "layer"}, {"norm": "batch"}])
def test_what_belongs_to_a_hidden_layer_is_refused(options):
    with pytest.raises(ConfigError, match="with drqn, dropout must be 0"):
        toy_loop(dataclasses.replace(SMALL, **options), 1, cls=DRQN)
