"""Tests of the watchdog that ends a process whose environments hang."""

import time

import pytest

from rl_lab.system.watchdog import Watchdog

SECONDS = 0.02


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Watchdog]:
    """Return the watchdogs that have ended the process, which goes on in the test."""
    watchdogs: list[Watchdog] = []
    monkeypatch.setattr(Watchdog, "_end_process", lambda watchdog: watchdogs.append(watchdog))
    return watchdogs


def wait_for(watchdogs: list[Watchdog]) -> None:
    """Wait until the list has an entry."""
    deadline = time.monotonic() + 60
    while not watchdogs:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_watchdog_ends_the_process_without_a_reset(ended: list[Watchdog]):
    watchdog = Watchdog(SECONDS, lambda: "")
    with watchdog:
        wait_for(ended)
    assert ended[0] is watchdog


def test_paused_watchdog_does_not_end_the_process(ended: list[Watchdog]):
    watchdog = Watchdog(SECONDS, lambda: "")
    with watchdog.paused(), watchdog:
        time.sleep(20 * SECONDS)
        assert not ended
    assert watchdog.silent_ticks == 0


def test_watchdog_goes_on_after_a_pause_that_an_error_ended(ended: list[Watchdog]):
    watchdog = Watchdog(SECONDS, lambda: "")
    with pytest.raises(OSError, match="the disk is full"), watchdog.paused():
        raise OSError("the disk is full")
    with watchdog:
        wait_for(ended)
