"""The kit can fail: every wrong policy and part is caught by the check meant for it, and told what is wrong."""

from __future__ import annotations

import re

import pytest

from tests.testing import wrong_state
from tests.testing.right import Right
from tests.testing.wrong_answers import WRONG_ANSWERS
from tests.testing.wrong_keeps import WRONG_KEEPS, Strongest
from tests.testing.wrong_parts import WRONG_PARTS
from tests.testing.wrong_state import MEMORIES, WRONG_STATE
from worldkv.engine.banking import discard_chunk
from worldkv.engine.state import EngineState
from worldkv.policy import Part
from worldkv.testing import examine
from worldkv.testing.check import CHECKS

WRONG: tuple[tuple[Part, str, str], ...] = (*WRONG_ANSWERS, *WRONG_KEEPS, *WRONG_STATE, *WRONG_PARTS)
OF_THE_ENGINE = {"every_chunk_has_one_home", "tokens_and_bytes_add_up", "agrees_with_a_dictionary"}
"""Broken by engines alone, since the engine refuses such answers; see below and test_state_machine.py."""


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """What the gallery's policies keep in their modules is gone before each test, as in a fresh process."""
    for memory in MEMORIES:
        memory.clear()
    wrong_state.BEGUN.append(0)


@pytest.mark.parametrize(
    ("subject", "check", "message"), WRONG, ids=[f"{type(one[0]).__name__}-{one[1]}" for one in WRONG]
)
def test_the_check_meant_for_it_catches_it(subject: Part, check: str, message: str) -> None:
    (finding,) = examine(subject, only=[check]).findings
    assert finding.status == "failed", finding
    assert re.search(message, finding.message), finding.message


def test_the_right_policy_and_the_right_compression_pass_every_check() -> None:
    for subject in (Right(), Strongest()):
        report = examine(subject)
        assert report.passed, str(report)
        assert sum(finding.status == "passed" for finding in report.findings) >= 26


def test_every_check_catches_something() -> None:
    assert {one[1] for one in WRONG} == set(CHECKS) - OF_THE_ENGINE


def test_a_chunk_with_two_homes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineState, "release", lambda self, gone: None)
    (finding,) = examine(Right(), only=["every_chunk_has_one_home"]).findings
    assert finding.status == "failed" and "at home in the window are" in finding.message


def test_tokens_that_are_not_counted_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def discard(state: EngineState, table: object, chunk: int) -> None:
        before = state.counts.discarded
        discard_chunk(state, table, chunk)  # type: ignore[arg-type]
        state.counts.discarded = before

    monkeypatch.setattr("worldkv.engine.engine.discard_chunk", discard)
    (finding,) = examine("sliding-window", only=["tokens_and_bytes_add_up"]).findings
    assert finding.status == "failed" and "tokens produced: the books say" in finding.message
