"""Check the answers to the three questions: their types, their ids, their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldkv.answers import Eviction, Retrieval
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.judged_rollout import judged_rollout
from worldkv.testing.large_bank import large_bank
from worldkv.testing.policy_under_test import LONGEST_FILL, PolicyUnderTest, all_parts
from worldkv.testing.recording_policy import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial


@check(
    "It answers on every path: one chunk, no motion, turning on the spot, huge jumps, exact returns.",
    kind=CachePolicy,
    scenarios=scenarios,
    owns_errors=True,
    is_hard=True,
)
def answers_on_every_path(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """No exception, neither the policy's own nor the engine's."""
    Trial(under_test.fitted(scenario.geometry), scenario).run()


@check("evict names chunks at home in the window, each once.", kind=CachePolicy, scenarios=scenarios)
def evict_names_residents(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Bank, discard and shrink together name no chunk twice and none from elsewhere."""
    _refuse_the_unseen(under_test)
    judged_rollout(under_test, scenario, _judge_eviction)


@check("retrieve names banked chunks, each once.", kind=CachePolicy, scenarios=scenarios)
def retrieve_names_banked(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """So do `ids`, and so do `next_ids`."""
    _refuse_the_unseen(under_test)
    judged_rollout(under_test, scenario, _judge_retrieval)


@check("The same holds with 300 and 10,000 chunks.", kind=CachePolicy)
def right_in_a_large_bank(under_test: PolicyUnderTest) -> None:
    """Which chunks evict and retrieve name where ids are large, afresh and with something resident."""
    if Signal.LANDMARKS in under_test.needs:
        raise NotApplicable("it reads landmarks, which are not placed for so many chunks")
    policy = under_test.fitted(under_test.geometries[0])
    for chunks in (300, 10_000):
        for is_seasoned in (False, True):
            asked, window = large_bank(under_test, chunks, is_seasoned=is_seasoned)
            _judge_retrieval(Question("retrieve", chunks, asked, policy.retrieve(*asked)))
            _judge_eviction(Question("evict", chunks, window, policy.evict(*window)))


@check("What is not looked at afresh is what was there.", kind=CachePolicy, scenarios=scenarios)
def unrefreshed_repeats_the_last(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """`refreshed=False` comes with `query.resident`: the engine keeps the step of the last fresh look by it."""

    def judge(question: Question) -> None:
        answer = question.answer
        if question.kind != "retrieve" or not isinstance(answer, Retrieval) or answer.refreshed:
            return
        resident = question.shown[0].resident
        if tuple(answer.ids) != resident:
            raise CheckFailed(
                f"{question.name} says refreshed=False and answers {tuple(answer.ids)}, resident are {resident}; say "
                "refreshed=True for a new answer, or repeat query.resident"
            )

    judged_rollout(under_test, scenario, judge)


@check("What is discarded never comes back.", kind=CachePolicy, scenarios=scenarios)
def discarded_stays_away(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Neither retrieve nor evict names a chunk that evict discarded."""
    gone: set[int] = set()

    def judge(question: Question) -> None:
        answer = question.answer
        if question.kind == "retrieve" and isinstance(answer, Retrieval):
            named = {*answer.ids, *(() if answer.next_ids is None else answer.next_ids)}
        elif question.kind == "evict" and isinstance(answer, Eviction):
            named = {*answer.bank, *answer.shrink}
        else:
            return
        if back := named & gone:
            raise CheckFailed(
                f"{question.name} named chunk {min(back)}, which it had discarded; a discarded chunk is gone for good, "
                "send it to the bank if it may be wanted again"
            )
        if isinstance(answer, Eviction):
            gone.update(map(int, answer.discard))

    judged_rollout(under_test, scenario, judge)


@check("retrieve asks for at most what fits.", kind=CachePolicy, scenarios=scenarios)
def retrieve_fits(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """At most its `retrieved_frames`, where it has such a field; at most `query.room_tokens`, where it reads that."""
    per_chunk = scenario.geometry.frames_per_chunk
    policy = under_test.fitted(scenario.geometry)
    declared = [getattr(part, "retrieved_frames", None) for part in all_parts(policy)]
    most = next((frames // per_chunk for frames in declared if isinstance(frames, int)), None)
    if most is None:
        raise NotApplicable("it has no field retrieved_frames, and its window is judged by window_fits_its_budget")

    def judge(question: Question) -> None:
        if question.kind == "retrieve" and len(question.answer.ids) > most:
            raise CheckFailed(
                f"{question.name} asked for {len(question.answer.ids)} chunks, more than the {most} that its "
                f"retrieved_frames = {most * per_chunk} allow; cut the ranking before answering"
            )

    judged_rollout(under_test, scenario, judge)


def _refuse_the_unseen(under_test: PolicyUnderTest) -> None:
    """Skip a policy whose sizes let nothing go in the longest rollout tried."""
    if under_test.policy.is_bounded and not under_test.fill_chunks:
        raise NotApplicable(f"nothing left its window in {LONGEST_FILL} chunks; check it with smaller sizes")


def _judge_eviction(question: Question) -> None:
    if question.kind != "evict":
        return
    answer, (window,) = question.answer, question.shown
    if not isinstance(answer, Eviction):
        raise CheckFailed(f"{question.name} answered {type(answer).__name__}; answer an Eviction")
    fields = (("bank", answer.bank), ("discard", answer.discard), ("shrink", answer.shrink))
    named = [chunk for field, ids in fields for chunk in _listed(question, f"Eviction.{field}", ids)]
    _refuse_repeats(question, named, "once; a chunk either goes to the bank, or is discarded, or is shrunk")
    home = set(window.ids.tolist())
    for chunk in named:
        if chunk not in home:
            raise CheckFailed(
                f"{question.name} named chunk {chunk}, whose home is not the window {_told(window.ids.tolist())}; "
                "name only ids of `window.ids` (replicas are the engine's to drop)"
            )


def _judge_retrieval(question: Question) -> None:
    if question.kind != "retrieve":
        return
    answer, (_, bank) = question.answer, question.shown
    if not isinstance(answer, Retrieval):
        raise CheckFailed(f"{question.name} answered {type(answer).__name__}; answer a Retrieval")
    forecast = () if answer.next_ids is None else answer.next_ids
    banked = set(bank.ids.tolist())
    for field, named in (("ids", answer.ids), ("next_ids", forecast)):
        ids = _listed(question, f"Retrieval.{field}", named)
        _refuse_repeats(question, ids, f"once in {field}")
        for chunk in ids:
            if chunk not in banked:
                raise CheckFailed(
                    f"{question.name} named chunk {chunk} in {field}, which is not in the bank "
                    f"{_told(bank.ids.tolist())}; choose among `bank.ids` (rows are not ids)"
                )
    if answer.scores is not None and len(answer.scores) != len(bank):
        raise CheckFailed(
            f"{question.name} gave {len(answer.scores)} scores for {len(bank)} banked chunks; Retrieval.scores has one "
            "for each row of the bank (`worldkv explain` shows them), or is None"
        )


def _listed(question: Question, field: str, ids: Any) -> list[Any]:
    """The ids of an answer, whole numbers all."""
    if not isinstance(ids, tuple | list | np.ndarray | Mapping):
        raise CheckFailed(
            f"{question.name}: {field} must be a tuple of ids, got {type(ids).__name__}; write tuple(...)"
        )
    listed = list(ids)
    for chunk in listed:
        if not isinstance(chunk, int | np.integer):
            raise CheckFailed(f"{question.name} named {chunk!r} in {field}; ids are whole numbers")
    return listed


def _refuse_repeats(question: Question, named: Sequence[Any], rule: str) -> None:
    for chunk, times in Counter(named).items():
        if times > 1:
            raise CheckFailed(f"{question.name} named chunk {chunk} twice; name each chunk {rule}")


def _told(ids: list[int]) -> str:
    return f"({', '.join(map(str, ids[:8]))}{', ...' if len(ids) > 8 else ''})"
