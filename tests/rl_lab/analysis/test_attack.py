"""Tests of the adversarial attack: the signs against finite differences, and the effect on a score."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rl_lab import api
from rl_lab.analysis.attack import AttackedAgent, evaluate_attack, fgsm_signs
from rl_lab.errors import LabError

IS_FIRST = torch.zeros(1, dtype=torch.bool)


def test_signs_are_those_of_finite_differences_of_the_loss(network_agent):
    """The loss is J = log sum exp Q - max Q."""
    torch.manual_seed(2)
    hidden_layer = nn.Linear(400, 16)
    network = nn.Sequential(nn.Flatten(), hidden_layer, nn.Tanh(), nn.Linear(16, 3)).double()
    hidden_layer.weight.data /= 255
    agent = network_agent(network.float())
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    signs = fgsm_signs(agent, obs, IS_FIRST, agent.initial_carry(1))
    network.double()
    with torch.no_grad():
        greedy_action = int(network(obs.double()).argmax())

    def loss(frames: Tensor) -> float:
        with torch.no_grad():
            q = network(frames.double())
        return float(q.logsumexp(1) - q[0, greedy_action])

    for y, x in ((0, 0), (3, 17), (10, 10), (19, 4)):
        above, below = obs.double(), obs.double()
        above[0, y, x] += 1e-3
        below[0, y, x] -= 1e-3
        assert signs[0, y, x] == torch.sign(torch.tensor(loss(above) - loss(below)))


def test_signs_lower_the_value_of_an_agent_with_continuous_actions(continuous_network_agent):
    layer = nn.Linear(400, 3)
    agent = continuous_network_agent(nn.Sequential(nn.Flatten(), layer))
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    signs = fgsm_signs(agent, obs, IS_FIRST, agent.initial_carry(1))
    assert torch.equal(signs.flatten(), -layer.weight.detach()[2].sign())


def test_signs_lower_the_probabilities_of_all_parts_of_the_greedy_action(parts_network_agent):
    """The oracle is the gradient of a linear policy, d log pi(a) / dx = sum_d (w_{a_d} - sum_b pi_d(b) w_b)."""
    torch.manual_seed(3)
    layer = nn.Linear(400, 5)
    layer.weight.data /= 255
    agent = parts_network_agent(nn.Sequential(nn.Flatten(), layer))
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    signs = fgsm_signs(agent, obs, IS_FIRST, agent.initial_carry(1), (2, 3))
    weights = layer.weight.detach().numpy().astype(np.float64)
    assert layer.bias is not None
    logits = weights @ obs.numpy().ravel() + layer.bias.detach().numpy()
    gradient = np.zeros(400)
    for part in (slice(0, 2), slice(2, 5)):
        pi = np.exp(logits[part]) / np.exp(logits[part]).sum()
        gradient += weights[part][pi.argmax()] - pi @ weights[part]
    certain = np.abs(gradient) > 1e-6
    assert certain.mean() > 0.9
    assert np.array_equal(signs.flatten().numpy()[certain], -np.sign(gradient[certain]))


@pytest.mark.parametrize("max_pixel", [255, 1])
def test_perturbation_has_the_given_size_and_stays_in_the_pixel_range(network_agent, max_pixel):
    layer = nn.Linear(400, 2)
    layer.weight.data /= 255
    agent = network_agent(nn.Sequential(nn.Flatten(), layer))
    received: list[Tensor] = []
    agent.network.register_forward_pre_hook(lambda module, inputs: received.append(inputs[0].detach()))
    levels = torch.tensor([[0, max_pixel, max_pixel // 2]], dtype=torch.uint8)
    obs = levels.repeat(1, 134)[:, :400].reshape(1, 20, 20)
    for random_signs in (None, torch.Generator()):
        attacked = AttackedAgent(agent, 0.1, max_pixel, random_signs)
        attacked.policy_output(obs, IS_FIRST, agent.initial_carry(1))
        change = received[-1].reshape(-1) - obs.reshape(-1)
        assert change.abs().max() == pytest.approx(0.1 * max_pixel, abs=1e-3)
        assert received[-1].min() >= 0
        assert received[-1].max() <= max_pixel
        if max_pixel == 255:
            is_middle_level = obs.reshape(-1) == 127
            error = (change[is_middle_level].abs() - 25.5).abs().max()
            assert error < 1e-3, "pixels that are not clamped change by the full size"


def test_attack_lowers_the_score_more_than_noise(train):
    run = train(steps=5000, eval_every=1000)
    results = evaluate_attack(run, 0.3, episodes=5, seed=1)
    unperturbed, noise, fgsm = (result.mean for result in results.values())
    assert unperturbed == api.evaluate(run, episodes=5, seed=1).mean
    assert fgsm < min(noise, unperturbed)


def test_attack_raises_for_an_agent_without_gradient(tmp_path):
    settings: dict[str, Any] = {"steps": 300, "eval_every": 0, "wandb": "disabled"}
    run = api.train("tabular_sarsa", env="RandomWalk-v0", quiet=True, **settings, runs_dir=str(tmp_path))
    with pytest.raises(LabError, match="has no gradient to attack with"):
        evaluate_attack(run, 0.1, episodes=1, seed=1)


def test_attack_raises_for_continuous_actions_without_values(train):
    run = train("reinforce", env="Pendulum-v1", baseline=False, steps=20, eval_every=0, eval_episodes=1)
    with pytest.raises(LabError, match="reinforce has learned no values of Pendulum-v1"):
        evaluate_attack(run, 0.1, episodes=1, seed=1)
