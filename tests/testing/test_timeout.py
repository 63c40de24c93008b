"""A policy that never answers fails after the time limit and does not hold up the kit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.testing.right import Right
from worldkv import Retrieval
from worldkv.testing import examine
from worldkv.testing.timeout import TimedOut, time_limit
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class Hangs(Right):
    """Draws until it has three chunks, of a bank that may hold one."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        chosen: set[int] = set()
        while len(chosen) < 3:
            chosen.add(int(bank.ids[len(chosen) % len(bank)]))
        return Retrieval(tuple(chosen))


def test_what_hangs_fails_once_and_the_rest_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldkv.testing.timeout.TIME_LIMIT_SECONDS", 1.0)
    monkeypatch.setattr("worldkv.testing.policy_under_test._FILL_SECONDS", 0.5)
    first, second, third = examine(
        Hangs(), only=["answers_on_every_path", "evict_names_residents", "retrieve_names_banked"]
    ).findings
    assert first.status == "failed" and first.message == "nothing came back within 1 s; a loop that never ends?"
    assert first.replay is not None and "Hangs" in first.replay
    assert second.status == third.status == "blocked"


def test_in_time_nothing_happens() -> None:
    with time_limit(60.0):
        pass
    with pytest.raises(TimedOut, match="within 0.05 s"), time_limit(0.05):
        while True:
            pass
