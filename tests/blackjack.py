"""Blackjack with an infinite deck, by dynamic programming: the rules of Gymnasium's Blackjack-v1, written anew.

The player hits or sticks. The dealer draws up to 17. A win pays 1, a loss -1, a draw 0; naturals pay nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

CARDS = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}
STICK, HIT = 0, 1

State = tuple[int, int, bool]
"""Sum of the player's cards, the dealer's open card, and whether an ace of the player counts as 11."""


def add_card(total: int, usable: bool, card: int) -> tuple[int, bool]:
    """Return the sum and whether an ace counts as 11, after another card. A sum above 21 is a bust."""
    total += card
    if card == 1 and total + 10 <= 21:
        return total + 10, True
    if total > 21 and usable:
        return total - 10, False
    return total, usable


@cache
def dealer_outcomes(total: int, usable: bool) -> dict[int, float]:
    """Return the probabilities of the dealer's last sum; 0 stands for a bust."""
    if total > 21:
        return {0: 1.0}
    if total >= 17:
        return {total: 1.0}
    outcomes: dict[int, float] = {}
    for card, probability in CARDS.items():
        for outcome, share in dealer_outcomes(*add_card(total, usable, card)).items():
            outcomes[outcome] = outcomes.get(outcome, 0.0) + probability * share
    return outcomes


def value_of_sticking(total: int, dealer_card: int) -> float:
    """Return the expected reward of sticking."""
    value = 0.0
    for outcome, probability in dealer_outcomes(*add_card(0, False, dealer_card)).items():
        value += probability * ((total > outcome) - (total < outcome))
    return value


def solve(policy: Callable[[State], int] | None = None) -> tuple[float, dict[State, int]]:
    """Return the expected reward of a game, and the actions.

    Args:
        policy: The action of each state. None is the best policy.
    """
    actions: dict[State, int] = {}

    @cache
    def value(total: int, dealer_card: int, usable: bool) -> float:
        stick = value_of_sticking(total, dealer_card)
        hit = 0.0
        for card, probability in CARDS.items():
            new_total, new_usable = add_card(total, usable, card)
            hit += probability * (-1.0 if new_total > 21 else value(new_total, dealer_card, new_usable))
        state = (total, dealer_card, usable)
        if policy is not None:
            actions[state] = policy(state)
        else:
            actions[state] = HIT if hit > stick else STICK
        return hit if actions[state] == HIT else stick

    expected = 0.0
    for dealer_card, dealer_probability in CARDS.items():
        for first, first_probability in CARDS.items():
            for second, second_probability in CARDS.items():
                hand = add_card(*add_card(0, False, first), second)
                probability = dealer_probability * first_probability * second_probability
                expected += probability * value(hand[0], dealer_card, hand[1])
    return expected, actions
