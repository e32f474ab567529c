"""Tests of the replay of a person's own prices."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.errors import EnvError
from envs.worlds.price_series import PriceSeries

pytestmark = pytest.mark.filterwarnings("ignore:.*A backtest is no market")


def write(path: Path, prices: list[float]) -> str:
    """Write a file of prices and return its name."""
    path.write_text("close\n" + "".join(f"{price!r}\n" for price in prices))
    return str(path)


def rollout(env: PriceSeries, seeds: int = 3) -> list[float]:
    """Return all numbers of the observations and rewards of episodes with random actions."""
    numbers: list[float] = []
    for seed in range(seeds):
        obs, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        numbers += obs.tolist()
        truncated = False
        while not truncated:
            obs, reward, _, truncated, _ = env.step(int(env.action_space.sample()))
            numbers += [*obs.tolist(), reward]
    return numbers


def random_prices(count: int, seed: int = 0) -> list[float]:
    return np.exp(np.random.default_rng(seed).normal(3, 0.2, count)).tolist()


def test_rewards_are_returns_in_percent_without_costs(tmp_path):
    prices = [100.0, 110.0, 99.0, 120.0, 90.0]
    env = PriceSeries(write(tmp_path / "p.csv", prices), train_share=1, cost=0.01, window=1, steps=3)
    obs, _ = env.reset(seed=0)
    assert obs == pytest.approx([100 * np.log(1.1), 0], rel=1e-6)
    for t, (action, units) in enumerate([(2, 1), (0, 2), (1, 1)], 1):
        obs, reward, terminated, truncated, _ = env.step(action)
        change = 100 * np.log(prices[t + 1] / prices[t])
        assert reward == pytest.approx((action - 1) * change - units)
        assert obs == pytest.approx([change, action - 1], rel=1e-6)
        assert (terminated, truncated) == (False, t == 3)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0.3, 0.7), st.integers(1, 5), st.integers(1, 8), st.integers(60, 90))
def test_no_number_of_a_part_depends_on_prices_of_the_other_part(tmp_path, share, window, steps, count):
    prices = random_prices(count)
    other = random_prices(count, seed=1)
    split = round(share * count)
    changed: dict[Literal["train", "test"], list[float]] = {
        "train": prices[:split] + other[split:],
        "test": other[:split] + prices[split:],
    }
    for part, with_other in changed.items():
        before = PriceSeries(write(tmp_path / "a.csv", prices), part, share, window=window, steps=steps)
        after = PriceSeries(write(tmp_path / "b.csv", with_other), part, share, window=window, steps=steps)
        assert rollout(before) == rollout(after)


def test_train_and_test_parts_hold_each_price_once(tmp_path):
    prices = random_prices(101)
    file = write(tmp_path / "p.csv", prices)
    train = PriceSeries(file, "train", 0.7, window=2, steps=5)
    test = PriceSeries(file, "test", 0.7, window=2, steps=5)
    assert [*train.prices, *test.prices] == prices
    assert len(train.prices) == 71


def test_episodes_start_at_every_possible_price(tmp_path):
    env = PriceSeries(write(tmp_path / "p.csv", random_prices(20)), train_share=1, window=3, steps=10)
    starts = set()
    for seed in range(200):
        env.reset(seed=seed)
        starts.add(env.first)
    assert starts == set(range(3, 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("close\n1\n\n2\n,\n3\n", "p.csv has a gap: line 5 has no price; fill it or leave the line out"),
        (
            "date,close\n2024-01-01,1\n2024-01-02\n",
            "p.csv has a gap: line 3 has no price; fill it or leave the line out",
        ),
        ("close\n1\nn/a\n", "p.csv, line 3: the price is 'n/a'; it must be a positive number"),
        ("close\n1\nnan\n", "p.csv, line 3: the price is 'nan'; it must be a positive number"),
        ("close\n1\n-2\n", "p.csv, line 3: the price is '-2'; it must be a positive number"),
        ("open\n1\n2\n", "p.csv has no column price, close or adj close in its first line"),
        ("", "p.csv has no column price, close or adj close in its first line"),
        ("date,close\nyesterday,1\n", "p.csv, line 2: the date is 'yesterday'; it must be like 2024-01-31"),
        (
            "Date,Close\n2024-01-02,1\n2024-01-01,2\n",
            "p.csv, line 3: the date is not after the one before; the dates must ascend",
        ),
        (
            "date,close\n2024-01-01,1\n2024-01-02,2\n2024-01-03,2\n2024-01-13,2\n",
            "p.csv has a gap: 10 days before line 5, and 1 usually; fill the gap, or allow longer ones by max_gap (now"
            " 5 intervals)",
        ),
        (
            "close\n1\n2\n3\n",
            "the part train of p.csv has 2 prices; 261 are needed for a window of 10 and episodes of 250 steps (change"
            " train_share, window or steps)",
        ),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text(content)
    with pytest.raises(EnvError) as refused:
        PriceSeries("p.csv")
    assert str(refused.value) == message


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the process into a time zone with summer time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    "dates",
    [
        [f"2024-03-31 {hour:02}:00" for hour in range(24)],  # the clocks of Berlin skip 02:00
        [f"2024-10-27 {hour:02}:00" for hour in range(24)],
        ["2024-10-27T02:00+02:00", "2024-10-27T02:30+02:00", "2024-10-27T02:00+01:00", "2024-10-27T02:30+01:00"],
        ["2024-10-27T00:00Z", "2024-10-27T02:30+02:00", "2024-10-27T02:00+01:00"],
    ],
    ids=["spring", "autumn", "offsets", "mixed"],
)
def test_dates_do_not_depend_on_the_time_zone_of_the_machine(tmp_path, dates):
    file = tmp_path / "p.csv"
    file.write_text("date,close\n" + "".join(f"{date},{1 + i}\n" for i, date in enumerate(dates)))
    env = PriceSeries(str(file), train_share=1, window=1, steps=1, max_gap=1)
    assert len(env.prices) == len(dates)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"part": "all"}, "part is 'all'; it must be train or test"),
        ({"cost": -0.001}, "cost is -0.001; it must be a number of at least 0"),
        ({"train_share": 2}, "train_share is 2; it must be a number from 0 to 1"),
        ({"window": 0}, "window is 0; it must be a whole number from 1 to 10000"),
        ({"csv": "none.csv"}, "the file none.csv cannot be read: No such file or directory"),
        ({"csv": 5}, "csv is 5; it must be the name of a CSV file"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, args, message):
    file = write(tmp_path / "p.csv", random_prices(400))
    with pytest.raises(EnvError) as refused:
        PriceSeries(**{"csv": file, **args})
    assert str(refused.value) == message


def test_a_backtest_is_announced_as_one(tmp_path):
    with pytest.warns(UserWarning, match="A backtest is no market"):
        PriceSeries(write(tmp_path / "p.csv", random_prices(400)))
