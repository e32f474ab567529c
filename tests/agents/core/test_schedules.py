"""Tests of the schedules."""

from agents.core.schedules import linear_schedule


def test_linear_schedule_falls_in_a_straight_line():
    assert [linear_schedule(1.0, 0.0, 4, t) for t in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_linear_schedule_without_steps_is_at_its_end():
    assert linear_schedule(1.0, 0.1, 0, 0) == 0.1


def test_linear_schedule_holds_start():
    values = [linear_schedule(1.0, 0.0, 6, t, hold=2) for t in (0, 1, 2, 3, 5, 6, 9)]
    assert values == [1.0, 1.0, 1.0, 0.75, 0.25, 0.0, 0.0]


def test_linear_schedule_with_hold_beyond_its_end_jumps():
    assert [linear_schedule(1.0, 0.1, 2, t, hold=4) for t in (0, 3, 4)] == [1.0, 1.0, 0.1]
