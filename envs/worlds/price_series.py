"""PriceSeries-v0: trade along a series of prices from a file, with costs. A backtest is no market."""

from __future__ import annotations

import csv as csv_files
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREY, POSITION_COLORS, POSITION_NAMES, Area, Picture

PRICE_COLUMNS = ("price", "close", "adj close")
DATE_COLUMNS = ("date", "time", "datetime", "timestamp")
SECONDS_PER_DAY = 86_400
WARNING = (
    "PriceSeries-v0 replays past prices. A backtest is no market: there, orders move prices, and the past does not"
    " repeat. A profit here promises none."
)


class _PriceRow(NamedTuple):
    line: int  # number of the line in the file
    price: float
    date: datetime | None


class PriceSeries(gymnasium.Env):
    """Hold a unit of an asset, owe one, or stay out, while the prices of a file are replayed.

    With the prices p_t of the file, actions 0, 1, 2 choose the position -1 (short), 0 or 1 (long) until the next price:

        return_{t+1} = 100 log(p_{t+1} / p_t)                                                      in percent
        reward = position return_{t+1} - 100 cost |position - position before|

    The observation is float32[window + 1]: the last `window` returns in percent, the oldest first, and the position. An
    episode has `steps` steps, starts at a random price, and is then truncated.

    The first `train_share` of the prices are the part "train", the others the part "test". No price belongs to both,
    and no observation or reward of one part uses a price of the other.

    There is no `optimum()`, because the distribution of the prices is not known. A profit on these prices is no
    forecast: orders of a real market move prices, and the past does not repeat.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's interface

    def __init__(
        self,
        csv: str,
        part: Literal["train", "test"] = "train",
        train_share: float = 0.8,
        cost: float = 0.001,
        window: int = 10,
        steps: int = 250,
        max_gap: float = 5.0,
        render_mode: str | None = None,
    ) -> None:
        """Read the file.

        Args:
            csv: A CSV file with a heading. The column price, close or adj close holds the prices. A column date, time,
                datetime or timestamp in ISO format is checked for order and gaps.
            part: "train" or "test".
            train_share: Share of the prices, the oldest ones, in the part "train".
            cost: Cost of trading one unit, as a share of the price.
            window: Number of returns in an observation.
            steps: Steps of an episode.
            max_gap: Longest interval between two dates, in median intervals of the file.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range, the file cannot be used, or the part has too few prices.
        """
        if part not in ("train", "test"):
            raise EnvError(f"part is {part!r}; it must be train or test")
        share = parameters.number("train_share", train_share, 0.0, 1.0)
        self.cost = parameters.number("cost", cost)
        self.window = parameters.whole_number("window", window, 1, 10_000)
        self.num_steps = parameters.whole_number("steps", steps, 1, 1_000_000)
        self.render_mode = parameters.render_mode(render_mode)
        prices = read_prices(csv, parameters.number("max_gap", max_gap, 1.0))
        split = round(share * len(prices))
        self.prices = prices[:split] if part == "train" else prices[split:]
        needed = self.window + self.num_steps + 1
        if len(self.prices) < needed:
            raise EnvError(
                f"the part {part} of {csv} has {len(self.prices)} prices; {needed} are needed for a window of"
                f" {self.window} and episodes of {self.num_steps} steps (change train_share, window or steps)"
            )
        self.returns = 100 * np.diff(np.log(self.prices))
        gymnasium.logger.warn(WARNING)
        high = np.full(self.window + 1, np.inf, np.float32)
        high[-1] = 1
        self.observation_space = Box(-high, high)
        self.action_space = Discrete(3)
        self.first = self.window  # index of the price at which the episode starts
        self.profit = 0.0
        self.position = 0
        self.position_history: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start at a random price of the part, without a position."""
        super().reset(seed=seed)
        last_start = len(self.prices) - 1 - self.num_steps
        self.first = int(self.np_random.integers(self.window, last_start + 1))
        self.profit = 0.0
        self.position = 0
        self.position_history = []
        return self._obs(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Trade, and hold the position until the next price."""
        position = int(action) - 1
        next_return = self.returns[self._index()]
        reward = float(position * next_return) - 100 * self.cost * abs(position - self.position)
        self.position = position
        self.profit += reward
        self.position_history.append(position)
        return self._obs(), reward, False, len(self.position_history) == self.num_steps, {}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 500, 3]: prices and positions, green where long and red where short."""
        picture = Picture()
        picture.text(f"step {len(self.position_history)} of {self.num_steps}", 20, 24)
        picture.text(f"price {self.prices[self._index()]:g}", 150, 24, BLUE)
        picture.text(f"position {POSITION_NAMES[self.position]}", 250, 24)
        picture.text(f"profit {self.profit:.2f}%", 370, 24)
        shown = self.prices[self.first : self._index() + 1].tolist()
        colors = [POSITION_COLORS[position] for position in self.position_history]
        picture.columns(Area(20, 352, 480, 370), colors, self.num_steps + 1)
        picture.text("position: green long, red short", 20, 390, GREY)
        picture.line(Area(20, 45, 480, 345), shown, self.num_steps + 1, min(shown), max(shown))
        return picture.pixels

    def _index(self) -> int:
        """Return the index of the current price."""
        return self.first + len(self.position_history)

    def _obs(self) -> NDArray[np.float32]:
        index = self._index()
        return np.array([*self.returns[index - self.window : index], self.position], np.float32)


def read_prices(path: str, max_gap: float) -> NDArray[np.float64]:
    """Return the prices of a CSV file, float64[prices].

    Raises:
        EnvError: The file cannot be read, has no column of prices, or has gaps, wrong prices or dates out of order.
    """
    if not isinstance(path, str) or not path:
        raise EnvError(f"csv is {path!r}; it must be the name of a CSV file")
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = _read_rows(path, csv_files.DictReader(file))
    except OSError as error:
        raise EnvError(f"the file {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv_files.Error) as error:
        raise EnvError(f"the file {path} is not a CSV file: {error}") from error
    _check_dates(path, rows, max_gap)
    return np.array([row.price for row in rows])


def _read_rows(path: str, reader: csv_files.DictReader[str]) -> list[_PriceRow]:
    """Return the rows of a file. Raises EnvError for a missing column and for a price that is no positive number."""
    headings = {heading.strip().lower(): heading for heading in reader.fieldnames or () if heading}
    price_column = next((headings[name] for name in PRICE_COLUMNS if name in headings), None)
    date_column = next((headings[name] for name in DATE_COLUMNS if name in headings), None)
    if price_column is None:
        raise EnvError(f"{path} has no column {', '.join(PRICE_COLUMNS[:-1])} or {PRICE_COLUMNS[-1]} in its first line")
    rows = []
    for values in reader:
        line = reader.line_num
        price = _price(path, line, values[price_column])
        date = None if date_column is None else _date(path, line, values[date_column])
        rows.append(_PriceRow(line, price, date))
    return rows


def _price(path: str, line: int, text: str | None) -> float:
    """Return a price. Raises EnvError unless it is a positive number."""
    if text is None or not text.strip():
        raise EnvError(f"{path} has a gap: line {line} has no price; fill it or leave the line out")
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not math.isfinite(price) or price <= 0:
        raise EnvError(f"{path}, line {line}: the price is {text!r}; it must be a positive number")
    return price


def _date(path: str, line: int, text: str | None) -> datetime:
    """Return a date. One without a time zone counts as UTC. Raises EnvError unless it is in ISO format."""
    try:
        date = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise EnvError(f"{path}, line {line}: the date is {text!r}; it must be like 2024-01-31") from None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _check_dates(path: str, rows: list[_PriceRow], max_gap: float) -> None:
    """Raise EnvError if the dates do not ascend, or if two of them are far apart."""
    seconds = [row.date.timestamp() for row in rows if row.date is not None]
    if len(seconds) < 2:
        return
    intervals = np.diff(seconds)
    if intervals.min() <= 0:
        line = rows[int(intervals.argmin()) + 1].line
        raise EnvError(f"{path}, line {line}: the date is not after the one before; the dates must ascend")
    limit = max_gap * float(np.median(intervals))
    if intervals.max() > limit:
        line = rows[int(intervals.argmax()) + 1].line
        longest = intervals.max() / SECONDS_PER_DAY
        usual = np.median(intervals) / SECONDS_PER_DAY
        raise EnvError(
            f"{path} has a gap: {longest:.3g} days before line {line}, and {usual:.3g} usually; fill the gap, or allow"
            f" longer ones by max_gap (now {max_gap:g} intervals)"
        )
