"""A radio that must deliver packets over a hidden channel before its battery ends (after Brown 1999).

T. X. Brown, "Low power wireless communication via reinforcement learning", NIPS 12, 1999. We had only a part of the
paper's text. The queue, the three actions and the battery as a random end of the episode follow it; the numbers are our
own. So the scores in docs/worlds.md are not those of the paper.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.battery_radio_optimum import (
    DELIVERY_PROBABILITY_BAD,
    DELIVERY_PROBABILITY_GOOD,
    ENERGY,
    LISTEN,
    QUEUE_SIZE,
    SEND,
    SLEEP,
    WAITING_COST,
    optimum_of_hidden_channel,
    optimum_of_shown_channel,
)
from envs.worlds.drawing import INK, write_text

UNSEEN, BAD, GOOD = range(3)
"""Observation of the channel in the last slot: not seen, bad or good."""

HISTORY = 60
"""Slots that the picture shows."""


class BatteryRadio(gymnasium.Env):
    """Deliver packets from a queue, while a slot of energy e ends the battery with probability 1 - exp(-e / battery).

    A slot has these parts, in this order:

    1. The action. `LISTEN` and `SEND` show the channel. `SEND` delivers the first packet with probability 0.95 in the
       good state of the channel and 0.05 in the bad state. A packet that is not delivered stays in the queue.
    2. The reward: 1 for a delivery, less 0.02 for each packet that still waits.
    3. A new packet arrives with probability `arrival`. It is lost if the queue holds 10 packets.
    4. The channel changes its state with probability `change`.
    5. The battery ends with probability 1 - exp(-energy / battery). The energies are 0.01, 0.2 and 1.

    Observation: MultiDiscrete[11, 3], the packets in the queue, and what the last slot has shown of the channel: 0
    nothing, 1 bad, 2 good. With `shown`, the second number is the state of the channel now.

    Actions: 0 sleep, 1 listen, 2 send.

    An episode starts with an empty queue. The channel is good or bad with equal probability.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  # Gymnasium's interface

    def __init__(
        self,
        shown: bool = False,
        arrival: float = 0.3,
        change: float = 0.1,
        battery: float = 100.0,
        render_mode: str | None = None,
    ) -> None:
        """Create the radio.

        Args:
            shown: The observation has the state of the channel in each slot.
            arrival: Probability of a new packet in a slot, 0 to 1.
            change: Probability that the channel changes its state in a slot, 0.02 to 0.5.
            battery: Expected energy of the battery, 1 to 1,000.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.arrival = parameters.number("arrival", arrival, 0, 1)
        self.change = parameters.number("change", change, 0.02, 0.5)
        self.battery = parameters.number("battery", battery, 1, 1_000)
        self.shown = parameters.flag("shown", shown)
        self.render_mode = parameters.render_mode(render_mode)
        self.observation_space = MultiDiscrete([QUEUE_SIZE + 1, 3])
        self.action_space = Discrete(3)
        self.queue = 0
        self.channel = GOOD
        self.seen = UNSEEN
        self.delivered = 0
        self.score = 0.0
        self.slot = 0
        self.history: deque[tuple[int, int, bool]] = deque(maxlen=HISTORY)  # channel, action, delivery

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Start with an empty queue, a full battery and a random channel."""
        super().reset(seed=seed)
        self.queue = 0
        self.channel = GOOD if self.np_random.random() < 0.5 else BAD
        self.seen = UNSEEN
        self.delivered = 0
        self.score = 0.0
        self.slot = 0
        self.history.clear()
        return self._obs(), {}

    def step(self, action: int) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Play one slot."""
        delivery_draw, arrival_draw, change_draw, end_draw = self.np_random.random(4)
        probability = DELIVERY_PROBABILITY_GOOD if self.channel == GOOD else DELIVERY_PROBABILITY_BAD
        delivery = bool(action == SEND and self.queue > 0 and delivery_draw < probability)
        self.history.append((self.channel, int(action), delivery))
        self.seen = UNSEEN if action == SLEEP else self.channel
        self.queue -= delivery
        reward = float(delivery) - WAITING_COST * self.queue
        if arrival_draw < self.arrival:
            self.queue = min(self.queue + 1, QUEUE_SIZE)
        if change_draw < self.change:
            self.channel = BAD if self.channel == GOOD else GOOD
        terminated = bool(end_draw >= math.exp(-ENERGY[action] / self.battery))
        self.delivered += delivery
        self.score += reward
        self.slot += 1
        return self._obs(), reward, terminated, False, {"delivered": self.delivered}

    def _obs(self) -> NDArray[np.int64]:
        return np.array([self.queue, self.channel if self.shown else self.seen], np.int64)

    def optimum(self) -> float:
        """Return the expected score of an optimal policy: 52.10 with the default parameters, 74.79 with `shown`."""
        if self.shown:
            return optimum_of_shown_channel(self.arrival, self.change, self.battery)
        return optimum_of_hidden_channel(self.arrival, self.change, self.battery)

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 560, 3] of the queue, the channel and the last slots."""
        return draw_radio(self)


BACKGROUND = (246, 247, 248)
GREY = (188, 194, 200)
GREEN = (86, 162, 112)
RED = (206, 92, 80)
BLUE = (84, 128, 186)
ACTION_NAMES = ("sleep", "listen", "send")
SEEN_NAMES = ("not seen", "bad", "good")


def draw_radio(env: BatteryRadio) -> NDArray[np.uint8]:
    """Return a picture u8[400, 560, 3]: the queue, the channel, the agent's view, and the last 60 slots."""
    picture = np.full((400, 560, 3), BACKGROUND, np.uint8)
    _draw_queue(picture, env.queue)
    _draw_antenna(picture, env)
    write_text(picture, f"delivered {env.delivered}", (30, 180), 0.6)
    write_text(picture, f"score {env.score:.2f}", (210, 180), 0.6)
    write_text(picture, f"slot {env.slot}", (400, 180), 0.6)
    _draw_history(picture, env)
    return picture


def _draw_queue(picture: NDArray[np.uint8], queue: int) -> None:
    """Draw the ten places of the queue, the waiting packets in blue."""
    write_text(picture, f"queue {queue}", (30, 40), 0.6)
    for place in range(QUEUE_SIZE):
        left = 30 + 25 * place
        color = BLUE if place < queue else (226, 230, 234)
        cv2.rectangle(picture, (left, 60), (left + 19, 110), color, -1, cv2.LINE_AA)


def _draw_antenna(picture: NDArray[np.uint8], env: BatteryRadio) -> None:
    """Draw an antenna. Its waves have the colour of the channel's state; they are thick if the radio sends."""
    action = env.history[-1][1] if env.history else SLEEP
    color = GREEN if env.channel == GOOD else RED
    cv2.line(picture, (340, 130), (340, 66), INK, 4, cv2.LINE_AA)
    cv2.circle(picture, (340, 62), 7, INK, -1, cv2.LINE_AA)
    for radius in (20, 34, 48):
        cv2.ellipse(picture, (340, 62), (radius, radius), 0, -50, 50, color, 5 if action == SEND else 2, cv2.LINE_AA)
    write_text(picture, f"channel {SEEN_NAMES[env.channel]}", (410, 60), 0.6)
    write_text(picture, f"agent: {SEEN_NAMES[env._obs()[1]]}", (410, 90), 0.6)
    write_text(picture, ACTION_NAMES[action] if env.history else "", (410, 120), 0.6)


def _draw_history(picture: NDArray[np.uint8], env: BatteryRadio) -> None:
    """Draw the last slots: the channel as a band, and above it the actions as bars, deliveries in green."""
    write_text(picture, "send", (12, 250), 0.45)
    write_text(picture, "listen", (12, 286), 0.45)
    write_text(picture, "channel", (12, 341), 0.45)
    first_slot = env.slot - len(env.history)
    for place, (channel, action, delivery) in enumerate(env.history):
        left = 80 + 7 * place
        cv2.rectangle(picture, (left, 325), (left + 6, 345), GREEN if channel == GOOD else RED, -1)
        if action == LISTEN:
            cv2.rectangle(picture, (left, 276), (left + 5, 306), GREY, -1)
        if action == SEND:
            cv2.rectangle(picture, (left, 230), (left + 5, 306), GREEN if delivery else INK, -1)
    cv2.line(picture, (80, 308), (80 + 7 * HISTORY, 308), GREY, 1)
    write_text(picture, str(first_slot), (80, 370), 0.4)
    write_text(picture, "green bars: delivered, black bars: sent in vain", (80, 392), 0.4)
