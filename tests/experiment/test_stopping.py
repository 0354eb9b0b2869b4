"""Signals set a flag; a second one ends at once; the handlers of before are restored."""

import signal
import time

import pytest

from helpers.experiment import stopping
from helpers.experiment.stopping import FLAG, SIGNALS, watching


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_sets_the_flag_and_handlers_are_restored(number):
    before = [signal.getsignal(each) for each in SIGNALS]
    with watching() as stop:
        assert (stop.requested, stop.exit_code) == (False, 0)
        signal.raise_signal(number)
        assert (stop.requested, stop.number, stop.exit_code) == (True, number, 128 + number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_second_signal_raises_keyboard_interrupt_and_restores_handlers():
    before = signal.getsignal(signal.SIGINT)
    with watching():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
    with watching() as stop:
        assert not stop.requested


def test_signal_soon_after_that_of_the_block_before_raises():
    with watching():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), watching():
        signal.raise_signal(signal.SIGINT)
    FLAG.time = time.monotonic() - stopping.AGAIN  # later, it is a first one again
    with watching() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested


def test_ignored_signal_stays_ignored():
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with watching() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGTERM, before)
