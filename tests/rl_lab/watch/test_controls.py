"""Tests of the controls: keys, and the display time of a frame."""

import time
from collections.abc import Callable

import pytest

from rl_lab.watch.controls import KEYS, SPEEDS, Controls


def test_each_key_has_its_effect():
    controls = Controls(saliency_methods=("off", "occlusion"))
    assert set(KEYS) == set(" .+-rscq")
    controls.press("+")
    assert controls.speed == 2
    for _ in range(20):
        controls.press("-")
    assert controls.speed == SPEEDS[0]
    controls.press("s")
    assert controls.saliency_method == "occlusion"
    controls.press("s")
    assert controls.saliency_method == "off"
    controls.press(" ")
    assert controls.paused
    controls.press("c")
    assert controls.checkpoint == "next"
    controls.press("r")
    controls.press("q")
    assert controls.restart
    assert controls.quit


def test_unknown_keys_have_no_effect():
    controls = Controls()
    before = dict(vars(controls))
    controls.press("x")
    controls.press("")
    assert vars(controls) == before


@pytest.mark.parametrize(("key", "seconds"), [("", 0.2), ("+", 0.1)])
def test_frames_are_held_for_their_duration_at_the_selected_speed(key, seconds):
    controls = Controls()
    controls.press(key)
    controls.hold_frame(0.2, lambda: None)  # the first frame starts the clock
    start = time.monotonic()
    for _ in range(3):
        assert not controls.hold_frame(0.2, lambda: None)
    assert time.monotonic() - start == pytest.approx(3 * seconds, abs=0.12)


def test_paused_frame_is_held_until_a_key_is_pressed():
    controls = Controls(saliency_methods=("off", "grad-cam"))
    num_polls = 0

    def press_at_fifth_poll(key: str) -> Callable[[], None]:
        nonlocal num_polls
        num_polls = 0

        def poll() -> None:
            nonlocal num_polls
            num_polls += 1
            if num_polls == 5:
                controls.press(key)

        return poll

    controls.press(" ")
    assert controls.hold_frame(0.001, press_at_fifth_poll("s")), "the step must be drawn again, with its saliency map"
    assert not controls.hold_frame(0.001, press_at_fifth_poll("."))
    assert controls.paused
    assert not controls.hold_frame(0.001, press_at_fifth_poll(" "))
    assert not controls.paused
    assert num_polls >= 5
