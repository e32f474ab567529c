"""Tests of action masks with every agent: legal actions only, in acting, exploring and bootstrapping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from masked_env import GAMMA, NUM_ACTIONS, NUM_STATES, legal, optimal_q

from agents.configs.dqn import DQNConfig, DuelingDQNConfig, QRDQNConfig, RainbowConfig
from agents.configs.tabular import TabularConfig
from agents.core.action_masks import ILLEGAL
from agents.core.targets import epsilon_greedy_value
from agents.core.types import EnvSpaces, PackedLayout, StepResult
from agents.double_dqn import DoubleDQN
from agents.dqn import DQN
from agents.dueling_dqn import DuelingDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.memory.replay import TransitionBatch
from agents.nn.heads import DuelingHead
from agents.nn.networks import ActorCritic, DistributionalQNetwork, QNetwork
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow
from agents.tabular import TabularExpectedSarsa, TabularQLearning, TabularSarsa, TabularSarsaLambda
from envs.make import make_stream, resolve
from envs.stream import Row
from rl_lab.experiment import config as configuration
from rl_lab.experiment.factory import make_agent
from rl_lab.training.evaluation import evaluate
from rl_lab.training.overlapped_loop import OverlappedLoop

CPU = torch.device("cpu")
AGENTS = (
    "dqn double_dqn dueling_dqn dueling_double_dqn drqn rainbow qr_dqn expected_sarsa"
    " reinforce ppo recurrent_ppo a2c pqn"
    " tabular_sarsa tabular_expected_sarsa tabular_q_learning tabular_sarsa_lambda"
).split()
SMALL = {
    "num_envs": 8,
    "precision": "float32",
    "device": "cpu",
}


def small_settings(agent: str) -> dict[str, object]:
    """Return settings with which an agent learns in the first rows."""
    if agent.startswith("tabular"):
        return SMALL
    if agent == "a2c":
        return {**SMALL, "batch_size": 64, "hidden": 16}
    if agent == "reinforce":
        return {**SMALL, "batch_size": 64, "hidden": 16}
    if agent in ("ppo", "recurrent_ppo", "pqn"):
        return {**SMALL, "batch_size": 64, "minibatch_size": 32, "hidden": 16}
    return {**SMALL, "hidden": 16, "learning_starts": 50, "batch_size": 8, "replay_ratio": 2, "epsilon_steps": 500}


def play(agent_name: str, env_id: str, steps: int) -> None:
    """Train an agent for some agent steps. `Masked` raises if an illegal action arrives."""
    env_spec = resolve(env_id)
    settings = {**small_settings(agent_name), "steps": steps}
    agent = make_agent(configuration.resolve(agent_name, env_spec, settings), env_spec, CPU)
    stream = make_stream(env_spec, 8, seed=1)
    loop = OverlappedLoop(agent, stream, CPU, seed=1)
    done = 0
    try:
        while done < steps:
            done += loop.step().num_active
    finally:
        loop.close()


@pytest.mark.parametrize("agent", AGENTS)
def test_no_illegal_action_is_taken(agent):
    play(agent, "Masked-v0", 2_000)


@pytest.mark.parametrize("env_id", ["MaskedPlanes-v0", "MaskedVector-v0"])
@pytest.mark.parametrize(
    "agent", ["dqn", "drqn", "rainbow", "qr_dqn", "reinforce", "ppo", "recurrent_ppo", "a2c", "pqn"]
)
def test_no_illegal_action_is_taken_with_planes_and_vectors(agent, env_id):
    play(agent, env_id, 500)


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_no_illegal_action_is_taken_in_100_000_steps(agent):
    play(agent, "Masked-v0", 100_000)


@pytest.mark.parametrize("agent", AGENTS)
def test_evaluation_takes_legal_actions_only(agent):
    env_spec = resolve("Masked-v0")
    config = configuration.resolve(agent, env_spec, small_settings(agent))
    stream = make_stream(env_spec, 4, seed=1)
    try:
        result = evaluate(
            make_agent(config, env_spec, CPU), stream, episodes=8, epsilon=0.5, seed=3, device=CPU, max_steps=200
        )
    finally:
        stream.close()
    assert len(result.returns) == 8


# --- Bootstrapping ----------------------------------------------------------------------------------------------------

LAYOUT = PackedLayout(vector=NUM_STATES, num_masked=NUM_ACTIONS)
SPACES = EnvSpaces(
    obs_shape=(4 * NUM_STATES + 4,),
    dtype=torch.uint8,
    num_actions=NUM_ACTIONS,
    num_envs=1,
    one_hot=True,
    kind="packed",
    packed=LAYOUT,
    state_sizes=(NUM_STATES,),
)


def packed_stack(states: list[int]) -> torch.Tensor:
    """Return packed observations uint8[B, 1, bytes] of states, written byte by byte."""
    rows = []
    for state in states:
        vector = np.zeros(NUM_STATES, np.float32)
        vector[state] = 1
        mask_byte = sum(int(is_legal) << action for action, is_legal in enumerate(legal(state)))
        rows.append(np.frombuffer(vector.tobytes() + bytes([mask_byte, 0, 0, 0]), np.uint8))
    return torch.from_numpy(np.stack(rows))[:, None]


def unmasked_q(network: torch.nn.Module, states: list[int]) -> np.ndarray:
    """Return Q(s, .) of a network, illegal actions included."""
    assert isinstance(network, QNetwork)
    network.packed = None
    with torch.no_grad():
        q = network.eval()(packed_stack(states)).numpy()
    network.packed = LAYOUT
    return q


def agent_that_likes_cheating(cls: type[DQN], config: DQNConfig) -> DQN:
    """Return an agent whose networks differ, and which both give the illegal cheat the largest value by far."""
    agent = cls(config, SPACES, seed=1, device=CPU)
    other = cls(config, SPACES, seed=2, device=CPU)
    agent.target_network.load_state_dict(other.online_network.state_dict())
    for network in (agent.online_network, agent.target_network):
        assert isinstance(network, QNetwork)
        layer = network.head.advantage if isinstance(network.head, DuelingHead) else network.head
        assert isinstance(layer, torch.nn.Linear)
        with torch.no_grad():
            bias = layer.bias.view(NUM_ACTIONS, -1)
            if isinstance(network, DistributionalQNetwork):
                bias[3] += torch.linspace(-50, 50, bias.shape[1])  # logits of the atoms
            else:
                bias[3] += 50
    return agent


STATES = list(range(NUM_STATES - 1))
PLAIN_RAINBOW = RainbowConfig(hidden=16, noisy=False, distributional=False, priority_alpha=0)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (DQN, DQNConfig(hidden=16)),
        (DuelingDQN, DuelingDQNConfig(hidden=16)),
        (Rainbow, RainbowConfig(hidden=16, noisy=False, distributional=False, double=False)),
    ],
)
def test_next_value_is_the_maximum_over_legal_actions(cls, config):
    agent = agent_that_likes_cheating(cls, config)
    value = agent.next_state_value(packed_stack(STATES)).detach().numpy()
    q = unmasked_q(agent.target_network, STATES)
    for state in STATES:
        assert q[state].argmax() == 3
        assert value[state] == pytest.approx(max(q[state][a] for a in range(NUM_ACTIONS) if legal(state)[a]))


@pytest.mark.parametrize(("cls", "config"), [(DoubleDQN, DQNConfig(hidden=16)), (Rainbow, PLAIN_RAINBOW)])
def test_double_value_selects_among_legal_actions(cls, config):
    agent = agent_that_likes_cheating(cls, config)
    value = agent.next_state_value(packed_stack(STATES)).detach().numpy()
    online_q = unmasked_q(agent.online_network, STATES)
    target_q = unmasked_q(agent.target_network, STATES)
    for state in STATES:
        best = max((a for a in range(NUM_ACTIONS) if legal(state)[a]), key=lambda a: online_q[state][a])
        assert value[state] == pytest.approx(target_q[state][best])


def test_expected_sarsa_averages_over_legal_actions():
    agent = agent_that_likes_cheating(ExpectedSarsa, DQNConfig(hidden=16, epsilon_start=0.4))
    value = agent.next_state_value(packed_stack(STATES)).detach().numpy()
    q = unmasked_q(agent.target_network, STATES)
    for state in STATES:
        legal_q = [q[state][a] for a in range(NUM_ACTIONS) if legal(state)[a]]
        assert value[state] == pytest.approx(0.6 * max(legal_q) + 0.4 * sum(legal_q) / len(legal_q), rel=1e-5)


def batch_to_the_same_states() -> TransitionBatch:
    """Return a transition from each state to itself, with reward 0 and discount 1."""
    n = len(STATES)
    return TransitionBatch(
        obs=packed_stack(STATES),
        action=torch.zeros(n, dtype=torch.int64),
        ret=torch.zeros(n),
        discount=torch.ones(n),
        next_obs=packed_stack(STATES),
        weight=torch.ones(n),
        cell=torch.zeros(n, dtype=torch.int64),
    )


@pytest.mark.parametrize("double", [False, True])
def test_distribution_of_the_target_is_that_of_a_legal_action(double):
    config = RainbowConfig(hidden=16, noisy=False, double=double, value_low=-50, value_high=50, atoms=11)
    agent = agent_that_likes_cheating(Rainbow, config)
    assert isinstance(agent, Rainbow)
    batch = batch_to_the_same_states()
    target = agent.target_distribution(batch)
    chooser = agent.online_network if double else agent.target_network
    q = unmasked_q(chooser, STATES)
    with torch.no_grad():
        assert isinstance(agent.target_network, DistributionalQNetwork)
        probabilities = agent.target_network.log_probabilities(packed_stack(STATES)).exp()
    for state in STATES:
        best = max((a for a in range(NUM_ACTIONS) if legal(state)[a]), key=lambda a: q[state][a])
        torch.testing.assert_close(target[state], probabilities[state, best], atol=1e-5, rtol=0)
    losses, _, all_q = agent.td_loss(batch)
    assert losses.isfinite().all()
    assert (all_q[:, 3] == ILLEGAL).all()


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_quantiles_of_the_target_are_those_of_a_legal_action(double, dueling):
    config = QRDQNConfig(hidden=16, num_quantiles=5, double=double, dueling=dueling)
    agent = agent_that_likes_cheating(QRDQN, config)
    assert isinstance(agent, QRDQN)
    batch = batch_to_the_same_states()
    target = agent.target_quantiles(batch)
    chooser = agent.online_network if double else agent.target_network
    q = unmasked_q(chooser, STATES)
    with torch.no_grad():
        quantiles = agent.target_network.quantiles(packed_stack(STATES))
    for state in STATES:
        assert q[state].argmax() == 3
        best = max((a for a in range(NUM_ACTIONS) if legal(state)[a]), key=lambda a: q[state][a])
        assert target[state].tolist() == pytest.approx(quantiles[state, best].tolist(), rel=1e-5)
    losses, td_error, all_q = agent.td_loss(batch)
    assert losses.isfinite().all()
    assert td_error.isfinite().all()
    assert (all_q[:, 3] == ILLEGAL).all()


def test_policy_gives_illegal_actions_no_probability_and_a_finite_gradient():
    env_spec = resolve("Masked-v0")
    config = configuration.resolve("reinforce", env_spec, small_settings("reinforce"))
    agent = make_agent(config, env_spec, CPU)
    network = agent.network
    assert isinstance(network, ActorCritic)
    log_pi, value = network(packed_stack(STATES))
    probabilities = log_pi.exp().detach().numpy()
    for state in STATES:
        for action in range(NUM_ACTIONS):
            assert (probabilities[state][action] > 0) == bool(legal(state)[action])
    entropy = -(log_pi.exp() * log_pi).sum(1)
    expected = [-sum(p * np.log(p) for p in row if p > 0) for row in probabilities]
    assert entropy.detach().numpy() == pytest.approx(expected, rel=1e-5)
    (entropy.sum() + value.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_observation_without_a_legal_action_counts_as_one_with_all():
    agent = DQN(DQNConfig(hidden=16), SPACES, seed=1, device=CPU)
    obs = packed_stack([2])
    obs[:, :, 4 * NUM_STATES] = 0
    with torch.no_grad():
        assert (agent.online_network(obs) > ILLEGAL).all()


def test_mean_of_the_epsilon_greedy_policy_leaves_illegal_actions_out():
    q = torch.tensor([[1.0, ILLEGAL, 3.0]])
    assert epsilon_greedy_value(q, 0.5, has_masks=True).item() == pytest.approx(0.5 * 3 + 0.5 * 2)


@pytest.mark.parametrize("cls", [TabularQLearning, TabularSarsa, TabularExpectedSarsa, TabularSarsaLambda])
def test_tabular_agent_converges_to_the_optimal_values_of_legal_actions(cls):
    # Greedy policies at the end: the values of all methods approach those of Q-learning.
    config_class = cls.config_class
    config = config_class(alpha=0.1, gamma=GAMMA, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=30_000)
    if cls is TabularQLearning:
        config = TabularConfig(alpha=0.1, gamma=GAMMA, epsilon_start=1.0, epsilon_end=1.0)
    env_spec = resolve("Masked-v0")
    spaces = EnvSpaces(**{**SPACES.__dict__, "num_envs": 16})
    agent = cls(config, spaces, seed=1, device=CPU)
    stream = make_stream(env_spec, 16, seed=1)
    loop = OverlappedLoop(agent, stream, CPU, seed=1)
    while agent.steps < 40_000:
        loop.step()
    loop.close()
    learned = agent.weights[0].T  # [states, actions]
    expected = optimal_q()
    if cls is TabularQLearning:
        for state in STATES:
            for action in range(NUM_ACTIONS):
                if legal(state)[action]:
                    assert learned[state][action] == pytest.approx(expected[state][action], abs=0.02)
    for state in STATES:
        choices = [a for a in range(NUM_ACTIONS) if legal(state)[a]]
        best = max(choices, key=lambda a: learned[state][a])
        assert expected[state][best] == pytest.approx(max(expected[state][a] for a in choices), abs=1e-6)


def test_masks_of_the_stream_are_those_of_the_environment():
    stream = make_stream(resolve("Masked-v0"), 3, seed=1)
    row = stream.reset(5)
    rng = np.random.default_rng(0)
    try:
        for _ in range(200):
            mask = stream.legal_actions(row)
            assert mask is not None
            for i in range(3):
                state = int(row.obs[i, : 4 * NUM_STATES].view(np.float32).argmax())
                expected = np.ones(NUM_ACTIONS) if row.is_last[i] else legal(state)
                assert mask[i].tolist() == expected.astype(bool).tolist()
            stream.send(np.array([rng.choice(np.flatnonzero(row_mask)) for row_mask in mask]))
            row: Row = stream.recv()
    finally:
        stream.close()


def test_metrics_of_tabular_agents_leave_illegal_actions_out():
    config = TabularConfig(initial=-5.0)
    agent = TabularQLearning(config, SPACES, seed=1, device=CPU)
    agent.weights[0, 3] = 100.0  # the cheat
    obs = packed_stack([2])[:, 0]
    false = torch.zeros(1, dtype=torch.bool)
    agent.act(obs, false, (), explore=True)
    metrics = agent.observe(
        StepResult(obs, false, false, torch.tensor([0]), torch.zeros(1), false, false, num_active=1)
    )
    assert metrics is not None
    assert float(metrics["q_mean"]) == -5.0
    assert float(metrics["q_max"]) == -5.0
