"""CUDA graphs: a recorded function answers like the function, and an agent that records learns like one that does not."""

import dataclasses

import numpy as np
import pytest
import torch
from loops import CPU, in_step, toy_loop
from oracles import RandomRows

import rl_lab
from agents.core.cuda_graphs import MOST_RECORDS, WARM_UP, CudaGraphFunction, mapped
from agents.core.optimizers import build_optimizer, set_lr
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, StepResult
from agents.dqn import DQN, DQNConfig
from agents.drqn import DRQN, DRQNConfig
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.memory.replay import TransitionBatch
from agents.memory.sequences import SequenceSampler
from agents.rainbow import Rainbow, RainbowConfig
from agents.reinforce import Reinforce, ReinforceConfig

SMALL = DQNConfig(
    hidden=8, learning_starts=64, epsilon_steps=500, target_every=7, replay_size=4096, lr_steps=400, lr_end=1e-6
)


class OnCPU:
    """A record that runs the function again, and reads and writes at the same places in memory each time, as CUDA's does."""

    def __init__(self, function):
        self.function, self.results = function, None

    def replay(self):
        results = self.function()
        if self.results is None:
            self.results = mapped(torch.clone, results)
        mapped(lambda kept, new: kept.copy_(new), self.results, results)


def recorded(function):
    return CudaGraphFunction(function, OnCPU)


def recorded_of(agent):
    """The same; whatever asks the agent how far it is when its record runs, which CUDA's would not do again, fails."""

    class Blind(OnCPU):
        def replay(self):
            far = agent.steps, agent.updates
            agent.steps = agent.updates = None
            super().replay()
            agent.steps, agent.updates = far

    return lambda function: CudaGraphFunction(function, Blind)


def test_it_answers_like_the_function_for_every_shape_and_its_answers_stay():
    def function(x, parts):
        return {"sum": x.sum() + parts[0]}, (x * 2,)

    quick = recorded(function)
    answers, expected = [], []
    for i in range(3 * WARM_UP):
        for n in (2, 3):
            given = torch.arange(float(n)) + i, (torch.tensor(float(i)),)
            answers.append(quick(*given))
            expected.append(function(*given))
    assert len(quick.records) == 2
    for (a, (b,)), (c, (d,)) in zip(answers, expected, strict=True):
        assert torch.equal(a["sum"], c["sum"])
        assert torch.equal(b, d)


def after_the_same_rows(cls, config, rows):
    """An agent, and one that records, which saw and did the same."""
    plain, loop = toy_loop(config, 4, cls=cls)
    quick, _ = toy_loop(config, 4, cls=cls)
    quick.record(recorded_of(quick))
    quick.act(torch.from_numpy(loop.row.obs), torch.from_numpy(loop.row.is_first), loop.carry, explore=True)
    loop.step()
    in_step(loop, quick, rows)
    return plain, quick


def assert_equal_weights(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_of_many_shapes_the_first_are_recorded():
    quick = recorded(lambda x: x * 2)
    for _ in range(3 * WARM_UP):
        for n in range(1, MOST_RECORDS + 4):
            assert torch.equal(quick(torch.ones(n)), torch.full((n,), 2.0))
    assert len(quick.records) == len(quick.arguments) == MOST_RECORDS


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (DQN, SMALL),
        (DuelingDoubleDQN, dataclasses.replace(DuelingDoubleDQN.config_class(), **dataclasses.asdict(SMALL))),
        (
            Rainbow,
            RainbowConfig(**dataclasses.asdict(SMALL) | {"priority_alpha": 0.5}, noisy=False, distributional=False),
        ),
        (DRQN, DRQNConfig(**dataclasses.asdict(SMALL), unroll=4)),
    ],
    ids=["dqn", "dueling_double_dqn", "rainbow", "drqn"],
)
def test_an_agent_that_records_learns_like_one_that_does_not(cls, config):
    plain, quick = after_the_same_rows(cls, config, 60)
    assert quick.updates > 2 * WARM_UP
    assert len(quick.gradient_step.records) == len(quick.acting_q_values.records) == 1
    assert len(quick.replay.transitions.records) == (cls is not DRQN)  # whose sequences are built by other means
    assert_equal_weights(plain.online_network, quick.online_network)


def test_a_policy_gradient_that_records_learns_like_one_that_does_not():
    config = ReinforceConfig(hidden=8, batch_size=64, minibatch_size=20, lr_steps=400, lr_end=1e-6)
    plain, quick = after_the_same_rows(Reinforce, config, 300)
    assert len(quick.look_now.records) == 1
    assert len(quick.gradient_step_now.records) > 1  # minibatches differ in size, as dead rows are none of theirs
    assert_equal_weights(plain.network, quick.network)


def test_a_learning_rate_in_a_tensor_changes_in_place():
    weight = torch.nn.Parameter(torch.zeros(1))
    lr = torch.tensor(0.5)
    optimizer = build_optimizer("adam", [weight], lr=0.5, eps=1e-8)
    optimizer.param_groups[0]["lr"] = lr
    set_lr(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == 0.25


def test_a_cpu_ignores_it():
    agent, _ = toy_loop(dataclasses.replace(SMALL, cuda_graphs=True), 1)
    assert not isinstance(agent.gradient_step, CudaGraphFunction)


@pytest.mark.parametrize(
    ("cls", "config", "says"), [(ExpectedSarsa, SMALL, "follow epsilon"), (Rainbow, RainbowConfig(noisy=True), "noisy")]
)
def test_what_changes_from_call_to_call_is_not_recorded(cls, config, says):
    agent = cls(config, EnvSpaces((4,), torch.float32, 2, 1), seed=1, device=CPU)
    with pytest.raises(ConfigError, match=says):
        agent.record(recorded)


def batches(count, rows, generator):
    """Transitions of pictures with shapes in them."""
    for _ in range(count):
        blocks = torch.randint(0, 256, (64, 4, 12, 12), generator=generator, dtype=torch.uint8)
        frames = blocks.repeat_interleave(7, 2).repeat_interleave(7, 3)
        action = torch.randint(0, rows.num_actions, (32,), generator=generator)
        ret = torch.randint(-1, 2, (32,), generator=generator).float()
        yield TransitionBatch(
            frames[:32], action, ret, torch.full((32,), 0.95), frames[32:], torch.ones(32), torch.arange(32)
        )


@pytest.mark.gpu
@pytest.mark.parametrize("cls", [DQN, DuelingDoubleDQN])
@pytest.mark.parametrize("graphs", [False, True])
def test_a_gpu_learns_what_the_cpu_learns(cls, graphs, monkeypatch):
    """Float32, ten updates with the same batches and a falling learning rate: losses and weights agree to rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # for matrix products it is so by default
    rows = EnvSpaces((84, 84), torch.uint8, 6, 8)
    config = cls.config_class(
        frame_stack=4, hidden=64, filters=8, lr_steps=100, lr_end=1e-6, target_every=4, optimizer_eps=1e-3
    )
    on_cpu = cls(config, rows, seed=1, device=CPU)
    on_gpu = cls(dataclasses.replace(config, cuda_graphs=graphs), rows, seed=1, device=torch.device("cuda"))
    on_gpu.start_from(on_cpu.online_network.state_dict())
    for batch in batches(10, rows, torch.Generator().manual_seed(0)):
        for agent in (on_cpu, on_gpu):
            agent.steps += 8
        here = on_cpu.update(batch)
        there = on_gpu.update(TransitionBatch(*(x.cuda() for x in batch)))
        for name, value in here.items():
            assert float(there[name]) == pytest.approx(float(value), rel=1e-2, abs=1e-4), name
    for a, b in zip(on_cpu.online_network.parameters(), on_gpu.online_network.parameters(), strict=True):
        assert torch.allclose(a, b.cpu(), rtol=1e-2, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dqn", "drqn", "reinforce"])
def test_a_run_that_records_learns_as_much(name, tmp_path):
    """A thousand steps of a game with and without graphs: as many updates, and the first losses alike."""
    said = []
    for graphs in (False, True):
        options = {"frame_stack": 1, "eval_every": 0, "eval_episodes": 1, "log_every": 100}
        options |= {"batch_size": 256, "minibatch_size": 64} if name == "reinforce" else {"learning_starts": 200}
        run = rl_lab.train(
            name, env="ALE/Pong-v5", steps=1000, device="cuda", precision="float32", cuda_graphs=graphs,
            wandb="disabled", runs_dir=str(tmp_path / str(graphs)), quiet=True, **options,
        )  # fmt: skip
        said.append([(line["updates"], line["loss"]) for line in run.metrics() if "loss" in line])
    assert [n for n, _ in said[0]] == [n for n, _ in said[1]]
    assert [x for _, x in said[0][:2]] == pytest.approx([x for _, x in said[1][:2]], rel=1e-2)


def tensors(batch):
    """All tensors of a TransitionBatch or of SequenceBatch, on the CPU."""
    return [x.cpu() for x in torch.utils._pytree.tree_leaves(batch)]


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [False, True])
def test_a_gpu_remembers_and_acts_as_the_cpu_does(graphs, monkeypatch):
    """The same rows: equal transitions and priorities for the same cells, and the same greedy actions but for rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    there = torch.device("cuda")
    data = RandomRows.make(np.random.default_rng(0), 3, 60, 0.1, 0.1, 0.1)
    rows = EnvSpaces((3,), torch.float32, 2, 3)
    config = dataclasses.replace(SMALL, frame_stack=2, n_step=3, priority_alpha=0.6, replay_size=120, replay_ratio=0)
    on_cpu = DQN(config, rows, seed=1, device=CPU)
    on_gpu = DQN(dataclasses.replace(config, cuda_graphs=graphs), rows, seed=1, device=there)
    on_gpu.start_from(on_cpu.online_network.state_dict())
    carries = on_cpu.initial_carry(3), on_gpu.initial_carry(3)
    for step in data.steps:
        moved = StepResult(*(x.to(there) if isinstance(x, torch.Tensor) else x for x in step))
        here, carry = on_cpu.acting_q_values(step.obs, step.is_first, carries[0])
        far, other = on_gpu.acting_q_values(moved.obs, moved.is_first, carries[1])
        assert torch.allclose(here, far.cpu(), rtol=1e-4, atol=1e-5)
        carries = carry, other
        on_cpu.observe(step)
        on_gpu.observe(moved)
    cell = on_cpu.replay.priorities.values.nonzero().flatten()
    assert torch.equal(cell, on_gpu.replay.priorities.values.nonzero().flatten().cpu())
    for mine, its in zip(
        tensors(on_cpu.replay.transitions(cell)), tensors(on_gpu.replay.transitions(cell.to(there))), strict=True
    ):
        assert torch.allclose(mine, its)
    drawn = on_gpu.replay.sample(4096, beta=0.5)
    assert set(drawn.cell.tolist()) <= set(cell.tolist())
    latest_on_cpu = SequenceSampler(on_cpu.replay, 5).latest()
    latest_on_gpu = SequenceSampler(on_gpu.replay, 5).latest()
    for mine, its in zip(tensors(latest_on_cpu), tensors(latest_on_gpu), strict=True):
        assert torch.equal(mine, its)
