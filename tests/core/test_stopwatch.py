"""The stopwatch against a clock that is turned by hand."""

from __future__ import annotations

import pytest

from worldkv import stopwatch
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch


class HandClock:
    """`time.perf_counter` that moves only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    hand = HandClock()
    monkeypatch.setattr(stopwatch, "time", hand)
    return hand


def test_an_inner_span_stops_the_outer_one(clock: HandClock) -> None:
    watch = Stopwatch()
    with watch.span("policy"):
        clock.now += 1
        with watch.span("compression"):
            clock.now += 10
        clock.now += 2
        with watch.span("transfer"):
            clock.now += 20
    clock.now += 400  # between spans nothing is counted
    with watch.span("policy"):
        clock.now += 4
    assert watch.lap() == {"policy": 7, "compression": 10, "transfer": 20}
    assert watch.lap() == {}


def test_a_span_that_fails_is_counted_and_closed(clock: HandClock) -> None:
    watch = Stopwatch()
    with watch.span("policy"):
        with pytest.raises(KeyError), watch.span("transfer"):
            clock.now += 3
            raise KeyError
        clock.now += 5
    assert watch.lap() == {"transfer": 3, "policy": 5}


def test_started_work_is_finished_before_the_time_is_read(clock: HandClock) -> None:
    def finish() -> None:
        clock.now += 8 * is_busy

    is_busy, watch = False, Stopwatch(finish)
    with watch.span("attention"):
        is_busy = True
    assert watch.lap() == {"attention": 8}


def test_no_stopwatch_counts_nothing() -> None:
    with NO_STOPWATCH.span("policy"):
        pass
    assert NO_STOPWATCH.lap() == {}
