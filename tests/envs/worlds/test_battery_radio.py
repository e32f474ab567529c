"""Tests of the radio against linear equations and simulation. The oracles share no code with the world's solver."""

import itertools
import math

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.errors import EnvError
from envs.worlds.battery_radio import BAD, GOOD, UNSEEN, BatteryRadio
from envs.worlds.battery_radio_optimum import LISTEN, SEND, SLEEP, score_of_discounted_optimum

MOST_SLOTS = 60  # after which the channel is as good as unknown: 0.8^60 = 2e-6


def send_if_queue(queue, last_seen, slots):
    return SEND if queue else SLEEP


def retry_after_four_slots(queue, last_seen, slots):
    """Send if the channel was good when last seen, or if four slots have gone by."""
    return SEND if queue and (last_seen == GOOD or slots >= 4) else SLEEP


State = tuple[int, int, int]


def outcomes(queue, last_seen, slots, action, battery, change=0.1):
    """Yield probability, reward and next state (queue, last_seen, slots) of a slot. Ended batteries are left out."""
    memory = (1 - 2 * change) ** slots
    good_probability = (1 + memory) / 2 if last_seen == GOOD else (1 - memory) / 2
    lasts = math.exp(-(0.01, 0.2, 1.0)[action] / battery)
    for channel, delivered, arrived in itertools.product((BAD, GOOD), (False, True), (False, True)):
        if delivered and queue == 0:
            continue
        success = 0.0
        if action == SEND and queue > 0:
            success = 0.95 if channel == GOOD else 0.05
        probability = good_probability if channel == GOOD else 1 - good_probability
        probability *= success if delivered else 1 - success
        probability *= 0.3 if arrived else 0.7
        left = queue - delivered
        after = min(left + arrived, 10)
        state = (after, channel, 1)
        if action == SLEEP:
            state = (after, last_seen, min(slots + 1, MOST_SLOTS))
        yield probability, delivered - 0.02 * left, lasts, state


STATES: list[State] = list(itertools.product(range(11), (BAD, GOOD), range(1, MOST_SLOTS + 1)))
NUMBERS = {state: number for number, state in enumerate(STATES)}


def expected_score(choose, battery=100.0):
    """Return the expected score of a policy: probabilities of the actions, or one action, by state. A linear solve."""
    matrix = np.eye(len(STATES))
    rewards = np.zeros(len(STATES))
    for state in STATES:
        chosen = choose(*state)
        shares = [float(action == chosen) for action in range(3)] if np.isscalar(chosen) else chosen
        for action in range(3):
            if shares[action]:
                for probability, reward, lasts, after in outcomes(*state, action, battery):
                    rewards[NUMBERS[state]] += shares[action] * probability * reward
                    matrix[NUMBERS[state], NUMBERS[after]] -= shares[action] * probability * lasts
    values = np.linalg.solve(matrix, rewards)
    return np.mean([values[NUMBERS[0, channel, MOST_SLOTS]] for channel in (BAD, GOOD)])


@pytest.mark.parametrize(
    ("policy", "score"),
    [(send_if_queue, 34.355), (retry_after_four_slots, 47.948), (lambda *state: [1 / 3] * 3, 2.292)],
)
def test_rules_give_the_published_scores_of_simple_policies(policy, score):
    assert expected_score(policy) == pytest.approx(score, abs=0.001)


def test_optimum_is_that_of_the_published_table():
    assert BatteryRadio().optimum() == pytest.approx(52.10, abs=0.005)
    assert BatteryRadio(shown=True).optimum() == pytest.approx(74.79, abs=0.005)


def optimal_policy(battery, gamma=1.0):
    """Return an optimal action for each state and the value of the start, by policy iteration."""
    policy: dict[State, int] = dict.fromkeys(STATES, SEND)
    tables = {
        (state, action): list(outcomes(*state, action, battery)) for state in STATES for action in (SLEEP, LISTEN, SEND)
    }
    while True:
        matrix = np.eye(len(STATES))
        rewards = np.zeros(len(STATES))
        for state in STATES:
            for probability, reward, lasts, after in tables[state, policy[state]]:
                rewards[NUMBERS[state]] += probability * reward
                matrix[NUMBERS[state], NUMBERS[after]] -= gamma * probability * lasts
        values = np.linalg.solve(matrix, rewards)
        better = {}
        for state in STATES:
            gains: list[float] = [
                sum(
                    p * (reward + gamma * lasts * values[NUMBERS[after]])
                    for p, reward, lasts, after in tables[state, action]
                )
                for action in range(3)
            ]
            gains[policy[state]] += 1e-9  # keeps the action among equal ones
            better[state] = int(np.argmax(gains))
        if better == policy:
            return policy, np.mean([values[NUMBERS[0, channel, MOST_SLOTS]] for channel in (BAD, GOOD)])
        policy = better


@pytest.mark.parametrize(("gamma", "score"), [(0.95, 34.35), (0.99, 43.52)])
def test_a_policy_that_is_optimal_for_a_discount_scores_less(gamma, score):
    policy, _ = optimal_policy(100.0, gamma)
    assert expected_score(lambda *state: policy[state]) == pytest.approx(score, abs=0.01)
    assert score_of_discounted_optimum(0.3, 0.1, 100.0, gamma=gamma) == pytest.approx(score, abs=0.01)


def simulated_scores(policy, episodes, battery):
    """Return the scores of episodes in the environment. The policy knows what it has seen, and when."""
    env = BatteryRadio(battery=battery)
    scores = []
    for seed in range(episodes):
        (queue, _), _ = env.reset(seed=seed)
        last_seen, slots = GOOD, MOST_SLOTS
        score, terminated = 0.0, False
        while not terminated:
            (queue, seen), reward, terminated, _, _ = env.step(policy(int(queue), last_seen, slots))
            score += reward
            last_seen, slots = (last_seen, min(slots + 1, MOST_SLOTS)) if seen == UNSEEN else (int(seen), 1)
        scores.append(score)
    return np.array(scores)


def test_environment_plays_as_the_solver_assumes():
    """An optimal policy of the test's own reaches the optimum, in the equations and in the environment."""
    policy, value = optimal_policy(battery=10.0)
    assert BatteryRadio(battery=10.0).optimum() == pytest.approx(value, abs=1e-4)
    scores = simulated_scores(lambda *state: policy[state], 2000, battery=10.0)
    assert abs(scores.mean() - value) < 4 * scores.std() / math.sqrt(len(scores))
    assert scores.std() / math.sqrt(len(scores)) < 0.04 * value


def test_observation_shows_the_channel_of_the_slot_only_after_listening_and_sending():
    env = BatteryRadio(battery=1000.0)
    obs, _ = env.reset(seed=3)
    assert obs.tolist() == [0, UNSEEN]
    rng = np.random.default_rng(0)
    for _ in range(300):
        action = int(rng.integers(3))
        channel = env.channel
        obs, _, terminated, _, _ = env.step(action)
        assert obs[1] == (UNSEEN if action == SLEEP else channel)
        if terminated:
            env.reset()


def test_only_packets_that_are_left_after_sending_cost():
    env = BatteryRadio(battery=1000.0)
    env.reset(seed=0)
    rewards = set()
    for _ in range(100):
        env.queue, env.channel = 3, GOOD
        _, reward, *_ = env.step(SEND)
        rewards.add(round(reward, 6))
    assert rewards == {1 - 0.02 * 2, -0.02 * 3}
    assert env.delivered > 80


def test_shown_channel_is_the_channel_of_the_next_slot():
    env = BatteryRadio(shown=True, battery=1000.0)
    obs, _ = env.reset(seed=0)
    for _ in range(100):
        assert obs[1] == env.channel
        obs, *_ = env.step(SLEEP)


@pytest.mark.parametrize("shown", [False, True])
def test_gymnasium_accepts_the_environment(shown):
    check_env(gymnasium.make("BatteryRadio-v0", shown=shown, render_mode="rgb_array").unwrapped)


def test_picture_is_an_image():
    env = BatteryRadio()
    env.reset(seed=0)
    env.step(SEND)
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((400, 560, 3), np.uint8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"arrival": 1.5}, "arrival is 1.5; it must be a number from 0 to 1"),
        ({"change": 0.0}, "change is 0.0; it must be a number from 0.02 to 0.5"),
        ({"battery": float("nan")}, "battery is nan; it must be a number from 1 to 1000"),
        ({"battery": "full"}, "battery is 'full'; it must be a number from 1 to 1000"),
    ],
)
def test_bad_parameters_get_one_line(parameters, message):
    with pytest.raises(EnvError, match=message):
        BatteryRadio(**parameters)
