"""The fast gradient sign against finite differences, and what it does to a score."""

import pytest
import torch
from torch import nn

from rl_lab import api
from rl_lab.analysis import attack
from rl_lab.analysis.attack import Attacked, fgsm_signs
from rl_lab.errors import LabError

FIRST = torch.zeros(1, dtype=torch.bool)


def test_the_signs_are_those_of_the_loss(planted):
    """J = log sum exp Q - max Q, pixel by pixel up and down."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(400, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    network[1].weight.data /= 255
    agent = planted(network.float())
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    signs = fgsm_signs(agent, obs, FIRST, agent.initial_carry(1))
    network.double()

    def loss(frames):
        with torch.no_grad():
            q = network(frames.double())
        return float(q.logsumexp(1) - q[0, best])

    with torch.no_grad():
        best = int(network(obs.double()).argmax())
    for y, x in ((0, 0), (3, 17), (10, 10), (19, 4)):
        up, down = obs.double(), obs.double()
        up[0, y, x] += 1e-3
        down[0, y, x] -= 1e-3
        assert signs[0, y, x] == torch.sign(torch.tensor(loss(up) - loss(down)))


@pytest.mark.parametrize("white", [255, 1])
def test_observations_move_by_so_much_and_no_more(planted, white):
    network = nn.Sequential(nn.Flatten(), nn.Linear(400, 2))
    network[1].weight.data /= 255
    agent = planted(network)
    seen = []
    agent.network.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    obs = torch.tensor([[0, white, white // 2]], dtype=torch.uint8).repeat(1, 134)[:, :400].reshape(1, 20, 20)
    for rng in (None, torch.Generator()):
        Attacked(agent, 0.1, white, rng).policy_output(obs, FIRST, agent.initial_carry(1))
        change = seen[-1].reshape(-1) - obs.reshape(-1)
        assert change.abs().max() == pytest.approx(0.1 * white, abs=1e-3)
        assert seen[-1].min() >= 0
        assert seen[-1].max() <= white
        if white == 255:
            assert (change[obs.reshape(-1) == 127].abs() - 25.5).abs().max() < 1e-3, "what has room moves all the way"


def test_an_attack_costs_more_than_noise(train):
    run = train(steps=5000, eval_every=1000)
    result = attack.scores(run, 0.3, episodes=5, seed=1)
    unharmed, noise, fgsm = (r.mean for r in result.values())
    assert unharmed == api.evaluate(run, episodes=5, seed=1).mean
    assert fgsm < min(noise, unharmed)


def test_what_has_no_gradient_is_refused(tmp_path):
    tabular = {"env": "RandomWalk-v0", "steps": 300, "eval_every": 0, "wandb": "disabled", "quiet": True}
    run = api.train("tabular_sarsa", **tabular, runs_dir=str(tmp_path))
    with pytest.raises(LabError, match="has no gradient to attack with"):
        attack.scores(run, 0.1, episodes=1, seed=1)
