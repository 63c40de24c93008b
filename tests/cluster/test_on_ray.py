"""Connecting to Ray's client server, on one that is written down here."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from worldkv.experiments.cluster import on_ray


class Server:
    """A stand-in for the module `ray` whose `init` raises these errors, one after another."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def init(self, address: str, **options: Any) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)


LATE = RuntimeError("Starting Ray client server failed.")


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "_POLL_SECONDS", 0.0)


def test_a_server_that_is_late_is_asked_again() -> None:
    server = Server(LATE, LATE)
    on_ray._connect(server, "ray://there:1")
    assert server.asked == 3


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (LATE, on_ray.MOST_CONNECTIONS),
        (RuntimeError("Python minor versions differ between client and server"), 1),
        (ConnectionError("ray client connection timeout"), 1),
    ],
)
def test_other_refusals_are_handed_on(error: Exception, asked: int) -> None:
    server = Server(*[error] * 10)
    with pytest.raises(type(error)):
        on_ray._connect(server, "ray://there:1")
    assert server.asked == asked


def test_the_handler_of_sigterm_stays() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with on_ray._same_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
