"""Exact expected scores of optimal policies for `BatteryRadio`, by value iteration, and the world's constants.

Let e(a) be the energy of an action and w the cost of a waiting packet. The slot after action a is played with
probability g(a) = exp(-e(a) / battery). So with b the knowledge about the channel, and q the queue,

    V(q, b) = max over a of E[delivery - w q' + g(a) V(q'', b')],

where q' is the queue after the action, and q'' the queue after an arrival.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SLEEP, LISTEN, SEND = range(3)
QUEUE_SIZE = 10
ENERGY = (0.01, 0.2, 1.0)
"""Energy that each action takes."""
DELIVERY_PROBABILITY_BAD = 0.05
DELIVERY_PROBABILITY_GOOD = 0.95
WAITING_COST = 0.02
"""Negative reward for each packet that waits, in each slot."""

TOLERANCE = 1e-8
"""Value iteration ends if no value changes by more."""
FORGOTTEN = 1e-6
"""The last observation is forgotten if it changes the probability of a good channel by less."""

Values = NDArray[np.float64]


def optimum_of_hidden_channel(arrival: float, change: float, battery: float) -> float:
    """Return the expected score of an optimal policy that sees the channel only by listening and sending.

    Args:
        arrival: Probability of a new packet in a slot.
        change: Probability that the channel changes its state in a slot.
        battery: Expected energy of the battery.
    """
    return score_of_discounted_optimum(arrival, change, battery, gamma=1.0)


def score_of_discounted_optimum(arrival: float, change: float, battery: float, *, gamma: float) -> float:
    """Return the expected score, without discount, of the policy that is optimal for a discount of gamma per slot.

    The channel is hidden. The knowledge is the last observation and the number of slots since. After n slots, the
    channel has the observed state with probability (1 + (1 - 2 change)^n) / 2.

    Args:
        arrival: Probability of a new packet in a slot.
        change: Probability that the channel changes its state in a slot.
        battery: Expected energy of the battery.
        gamma: Discount of an agent.
    """
    most_slots = 1 if change == 0.5 else math.ceil(math.log(FORGOTTEN) / math.log(1 - 2 * change))
    slots = np.arange(1, most_slots + 1)
    memory = (1 - 2 * change) ** slots
    good_probability = np.concatenate([(1 + memory) / 2, (1 - memory) / 2])  # last seen good, last seen bad
    later = np.minimum(slots, most_slots - 1)  # index after one more slot
    later = np.concatenate([later, most_slots + later])
    shape = (QUEUE_SIZE + 1, 2 * most_slots)

    def action_values(values: Values, discount: float) -> Values:
        seen_good = values[:, [0]]
        seen_bad = values[:, [most_slots]]
        survival = discount * np.exp(-np.array(ENERGY) / battery)
        return _action_values(values[:, later], seen_good, seen_bad, good_probability, arrival, survival)

    discounted = _fixed_point(lambda values: action_values(values, gamma).max(0), shape)
    best_action = action_values(discounted, gamma).argmax(0)[None]
    scores = _fixed_point(lambda values: np.take_along_axis(action_values(values, 1.0), best_action, 0)[0], shape)
    # Before the first observation the probability is 1/2, as long after any observation.
    return float(scores[0, [most_slots - 1, -1]].mean())


def optimum_of_shown_channel(arrival: float, change: float, battery: float) -> float:
    """Return the expected score of an optimal policy that always sees the channel.

    Args:
        arrival: Probability of a new packet in a slot.
        change: Probability that the channel changes its state in a slot.
        battery: Expected energy of the battery.
    """
    transition = np.array([[1 - change, change], [change, 1 - change]])
    good_probability = np.array([1.0, 0.0])
    survival = np.exp(-np.array(ENERGY) / battery)

    def improve(values: Values) -> Values:
        later = values @ transition
        return _action_values(later, later, later, good_probability, arrival, survival).max(0)

    return float(_fixed_point(improve, (QUEUE_SIZE + 1, 2))[0].mean())


def _fixed_point(improve: Callable[[Values], Values], shape: tuple[int, ...]) -> Values:
    """Return the values that a function leaves unchanged, by repeated calls that begin with values of 0."""
    values = np.zeros(shape)
    while True:
        improved = improve(values)
        difference = np.abs(improved - values).max()
        values = improved
        if difference < TOLERANCE:
            return values


def _action_values(
    unseen: Values,
    seen_good: Values,
    seen_bad: Values,
    good_probability: Values,
    arrival: float,
    survival: Values,
) -> Values:
    """Return the values of the actions, f64[3, 11, states of knowledge].

    Args:
        unseen: Values of the next slot after sleeping, f64[11, states of knowledge], by the queue of the next slot.
        seen_good: Those after an observation of a good channel, f64[11, 1 or states of knowledge].
        seen_bad: Those after an observation of a bad channel, f64[11, 1 or states of knowledge].
        good_probability: Probability of a good channel for each state of knowledge.
        arrival: Probability of a new packet.
        survival: Factor of the next slot's value after each action, f64[3].
    """
    waiting = -WAITING_COST * np.arange(QUEUE_SIZE + 1)[:, None]
    unseen, seen_good, seen_bad = (_after_arrival(values, arrival) for values in (unseen, seen_good, seen_bad))
    good = good_probability
    bad = 1 - good_probability
    sleep = waiting + survival[SLEEP] * unseen
    listen = waiting + survival[LISTEN] * (good * seen_good + bad * seen_bad)
    send = good * _send(waiting + survival[SEND] * seen_good, DELIVERY_PROBABILITY_GOOD)
    send = send + bad * _send(waiting + survival[SEND] * seen_bad, DELIVERY_PROBABILITY_BAD)
    return np.stack([sleep, listen, send])


def _after_arrival(values: Values, arrival: float) -> Values:
    """Return the expected values before a possible arrival, by the queue before the arrival."""
    one_more = np.concatenate([values[1:], values[-1:]])
    return arrival * one_more + (1 - arrival) * values


def _send(values: Values, probability: float) -> Values:
    """Return the expected values before a packet is sent, by the queue. `values` are those after sending."""
    result = (1 - probability) * values
    result[0] = values[0]
    result[1:] += probability * (1 + values[:-1])
    return result
