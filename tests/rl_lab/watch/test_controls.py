"""What keys do to a show, and how long a picture stands."""

import time

import pytest

from rl_lab.watch.controls import KEYS, SPEEDS, Controls


def test_each_key_does_what_it_says():
    controls = Controls(saliencies=("off", "occlusion"))
    assert set(KEYS) == set(" .+-rscq")
    controls.press("+")
    assert controls.speed == 2
    for _ in range(20):
        controls.press("-")
    assert controls.speed == SPEEDS[0]
    controls.press("s")
    assert controls.saliency == "occlusion"
    controls.press("s")
    assert controls.saliency == "off"
    controls.press(" ")
    assert controls.paused
    controls.press("c")
    assert controls.checkpoint == "next"
    controls.press("r")
    controls.press("q")
    assert controls.restart
    assert controls.quit
    controls.press("x")
    controls.press("")


@pytest.mark.parametrize(("speed", "seconds"), [("", 0.2), ("+", 0.1)])
def test_pictures_come_at_the_speed_asked_for(speed, seconds):
    controls = Controls()
    controls.press(speed)
    controls.stay(0.2, lambda: None)  # the first one starts the clock
    start = time.monotonic()
    for _ in range(3):
        assert not controls.stay(0.2, lambda: None)
    assert time.monotonic() - start == pytest.approx(3 * seconds, abs=0.12)


def test_a_pause_lasts_until_something_is_asked():
    """One step is one picture; a wish that changes the picture has it drawn again; play goes on."""
    controls, calls = Controls(saliencies=("off", "grad-cam")), []

    def press_later(key):
        calls.clear()

        def idle():
            calls.append(1)
            if len(calls) == 5:
                controls.press(key)

        return idle

    controls.press(" ")
    assert controls.stay(0.001, press_later("s")), "the same moment with its saliency"
    assert not controls.stay(0.001, press_later("."))
    assert controls.paused
    assert not controls.stay(0.001, press_later(" "))
    assert not controls.paused
    assert len(calls) >= 5
