"""Tests that hold for every world: Gymnasium's interface, registration, pictures and one-line errors."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.errors import EnvError
from envs.make import resolve
from envs.worlds import WORLDS
from rl_lab import api
from rl_lab.cli.main import main

EXTRAS = {"RoughHopper-v0": "mujoco", "RoughWalker2d-v0": "mujoco"}  # id -> package that the lab does not depend on
WORLDS_WITHOUT_SCREEN = [env_id for env_id in WORLDS if env_id != "Screen-v0"]  # test_screen.py has its tests
KNOWN_OPTIMA = ["LostSales-v0", "MeanReversion-v0", "Regulator-v0", "SerialSupply-v0"]


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, dict]:
    """Return the arguments that a world cannot be made without, by id."""
    prices = tmp_path / "prices.csv"
    prices.write_text("close\n" + "".join(f"{100 + i % 7}\n" for i in range(400)))
    return {"PriceSeries-v0": {"csv": str(prices)}}


def skip_without_extra(env_id: str) -> None:
    """Skip the test if the package that a world needs is missing."""
    if env_id in EXTRAS:
        pytest.importorskip(EXTRAS[env_id])


@pytest.mark.filterwarnings("ignore:.*A backtest is no market", "ignore:.*Box observation space")
@pytest.mark.parametrize("env_id", WORLDS_WITHOUT_SCREEN)
def test_gymnasium_finds_no_fault(env_id, arguments):
    skip_without_extra(env_id)
    env = gymnasium.make(env_id, render_mode="rgb_array", disable_env_checker=True, **arguments.get(env_id, {}))
    check_env(env.unwrapped)


@pytest.mark.filterwarnings("ignore:.*A backtest is no market")
@pytest.mark.parametrize("env_id", WORLDS_WITHOUT_SCREEN)
def test_every_step_of_an_episode_changes_the_picture(env_id, arguments):
    skip_without_extra(env_id)
    env = gymnasium.make(env_id, render_mode="rgb_array", **arguments.get(env_id, {}))
    env.reset(seed=1)
    env.action_space.seed(1)
    pictures = [env.render()]
    for _ in range(20):
        env.step(env.action_space.sample())
        pictures.append(env.render())
    for before, after in pairwise(pictures):
        assert isinstance(before, np.ndarray)
        assert isinstance(after, np.ndarray)
        height, width, channels = after.shape
        assert 300 <= width <= 600
        assert height >= 300
        assert (channels, after.dtype) == (3, np.uint8)
        assert (before != after).any()


def test_importing_the_package_alone_registers_the_worlds_without_the_lab():
    code = (
        "import sys, gymnasium, envs.worlds\n"
        "env = gymnasium.make('LostSales-v0', lead_time=1)\n"
        "env.reset(seed=0)\n"
        "print(round(env.unwrapped.optimum(), 1), 'rl_lab' in sys.modules, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "-808.0 False False"


@pytest.mark.parametrize("env_id", KNOWN_OPTIMA)
def test_a_person_need_not_import_the_worlds(env_id):
    assert resolve(env_id).reproducible
    assert env_id in api.environments()["worlds (docs/worlds.md)"]
    assert env_id not in api.environments()["Gymnasium"]


@pytest.mark.parametrize(
    ("env_id", "args", "message"),
    [
        ("LostSales-v0", {"lead_time": 11}, "lead_time is 11; it must be a whole number from 1 to 10"),
        ("LostSales-v0", {"lead_time": 2.5}, "lead_time is 2.5; it must be a whole number from 1 to 10"),
        ("LostSales-v0", {"lead_time": True}, "lead_time is True; it must be a whole number from 1 to 10"),
        ("LostSales-v0", {"penalty": -1}, "penalty is -1; it must be a number from 0 to 1000"),
        ("LostSales-v0", {"penalty": float("nan")}, "penalty is nan; it must be a number from 0 to 1000"),
        ("LostSales-v0", {"demand": 11}, "demand is 11; it must be a number from 1 to 10"),
        ("LostSales-v0", {"demand": "many"}, "demand is 'many'; it must be a number from 1 to 10"),
        ("LostSales-v0", {"render_mode": "human"}, "render_mode is 'human'; it must be rgb_array or None"),
        ("SerialSupply-v0", {"penalty": -0.5}, "penalty is -0.5; it must be a number of at least 0"),
        ("Regulator-v0", {"dt": 0}, "dt is 0; it must be a number from 0.001 to 1"),
        ("Regulator-v0", {"levels": 1}, "levels is 1; it must be a whole number from 2 to 201"),
        ("Regulator-v0", {"levels": 500}, "levels is 500; it must be a whole number from 0 to 201"),
        ("MeanReversion-v0", {"cost": -0.1}, "cost is -0.1; it must be a number of at least 0"),
        ("MeanReversion-v0", {"decay": 1.0}, "decay is 1.0; it must be a number from 0 to 0.99"),
        ("BatteryRadio-v0", {"shown": "maybe"}, "shown is 'maybe'; it must be true or false"),
        ("RoughHopper-v0", {"healthy_reward": "one"}, "healthy_reward is 'one'; it must be a number"),
        (
            "RoughHopper-v0",
            {"terminate_when_unhealthy": "no"},
            "terminate_when_unhealthy is 'no'; it must be true or false",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(env_id, args, message):
    skip_without_extra(env_id)
    module, _, name = WORLDS[env_id].partition(":")
    world = getattr(__import__(module, fromlist=[name]), name)
    with pytest.raises(EnvError) as refused:
        world(**args)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("env_id", "packages", "extra"),
    [
        ("RoughHopper-v0", ["mujoco"], "mujoco"),
        ("RoughWalker2d-v0", ["mujoco"], "mujoco"),
        ("Screen-v0", ["mss"], "screen"),
    ],
)
def test_a_missing_package_is_refused_with_the_name_of_its_extra(env_id, packages, extra):
    """In a process of its own, where the packages cannot be imported."""
    arguments = "region=[0, 0, 80, 80], keys=['a'], reward=max, done=max" if env_id == "Screen-v0" else ""
    code = (
        "import sys, gymnasium, envs.worlds\n"
        "from envs.errors import EnvError\n"
        f"sys.modules.update(dict.fromkeys({packages}))\n"
        "try:\n"
        f"    gymnasium.make({env_id!r}, {arguments})\n"
        "except EnvError as error:\n"
        "    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f'{packages[0]}: pip install "rl-lab[{extra}]"' in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_train_refuses_a_wrong_argument_without_traceback(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["train", "dqn", "--env", "LostSales-v0", "--env-arg", "lead_time=12"])
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.splitlines() == ["rl_lab: lead_time is 12; it must be a whole number from 1 to 10"]
