"""Budgets: what their words mean, and that rows at a budget are rows of policies sized by hand."""

from __future__ import annotations

import pytest

from worldkv.config import CacheConfig
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.landmarks import place_landmarks
from worldkv.policies import RandomRetrieval
from worldkv.sim import Candidate, ComparisonSetup, load_machine, simulate
from worldkv.sim.at_budgets import compare_at_budgets
from worldkv.sim.budgets import parse_budget, parse_budgets
from worldkv.specs.parse import parse_geometry, parse_policy
from worldkv.trajectory import cut, load_trajectory

TINY = parse_geometry("tiny")
CHUNK = TINY.chunk_tokens


def setup(chunks: int = 30) -> ComparisonSetup:
    """A short loop on the tiny geometry, judged against the oracle."""
    chunked = cut(load_trajectory(f"generate:loop:chunks={chunks}"), TINY)
    machine = load_machine("worldkv-project-page")
    return ComparisonSetup(chunked, TINY, machine, CacheConfig(), place_landmarks(chunked), parse_policy("oracle"))


def candidate(spec: str, geometry: CacheGeometry = TINY) -> Candidate:
    return Candidate.parsed(spec, spec, geometry)


@pytest.mark.parametrize(
    ("word", "chunks", "tokens"),
    [
        ("10%", 40, 4 * CHUNK),
        ("10%", 49, 4 * CHUNK),
        ("10%", 50, 5 * CHUNK),
        (
            "7%",
            100,
            7 * CHUNK,
        ),  # 0.07 * 100 is 7.000000000000001 in floating point, and 0.29 * 100 is 28.999999999999996
        ("29%", 100, 29 * CHUNK),
        ("2.5%", 40, CHUNK),
        ("0.1%", 40, CHUNK),
        ("100%", 40, 40 * CHUNK),
        ("7chunks", 40, 7 * CHUNK),
        ("1 chunk", 40, CHUNK),
        (f"{CHUNK}", 40, CHUNK),
        (f"{CHUNK + 1} tokens", 40, CHUNK + 1),
    ],
)
def test_a_word_is_so_many_tokens(word: str, chunks: int, tokens: int) -> None:
    assert parse_budget(word).tokens(TINY, chunks) == tokens


@pytest.mark.parametrize(
    "word",
    [
        "",
        "%",
        "0%",
        "101%",
        "-5%",
        "ten",
        "0",
        "0chunks",
        "1.5chunks",
        "32760.5",
        "5 %%",
        "7 frames",
        "1e3",
        "9" * 99,
    ],
)
def test_what_is_no_budget_is_refused(word: str) -> None:
    with pytest.raises(SpecError, match="budget"):
        parse_budget(word)


@pytest.mark.parametrize("word", ["１０%", "٣chunks"])
def test_digits_are_those_of_a_keyboard(word: str) -> None:
    with pytest.raises(SpecError, match="a budget is a share such as 10%"):
        parse_budget(word)


def test_tokens_that_do_not_hold_a_chunk_are_refused() -> None:
    with pytest.raises(SpecError, match="does not hold the chunk being generated"):
        parse_budget(f"{CHUNK - 1}").tokens(TINY, 40)


def test_budgets_keep_their_order_and_come_once() -> None:
    assert [budget.word for budget in parse_budgets("20%, 5%,20 %,7chunks")] == ["20%", "5%", "7chunks"]
    assert [budget.word for budget in parse_budgets("7chunk,7chunks,480,480tokens,5.0%,5%")] == [
        "7chunk",
        "480",
        "5.0%",
    ]


def test_a_number_that_is_too_large_is_told_the_largest() -> None:
    with pytest.raises(SpecError, match=r"counts whole tokens, 1 to 1,099,511,627,776, got"):
        parse_budget("9" * 23)


@pytest.mark.parametrize(
    ("spec", "by_hand"),
    [
        ("sliding-window:sink_frames=3", "sliding-window:sink_frames=3,recent_frames=15"),
        ("random", "random:retrieved_frames=9"),
        ("oracle", "oracle:retrieved_frames=18"),
        ("drop-oldest", f"drop-oldest:budget_tokens={7 * CHUNK}"),
    ],
)
def test_a_row_is_that_of_the_policy_sized_by_hand(spec: str, by_hand: str) -> None:
    shared = setup()
    (row,) = compare_at_budgets(shared, [candidate(spec)], parse_budgets("7chunks")).rows
    policy = parse_policy(by_hand)
    assert row.candidate.policy == policy
    assert row.is_matched
    alone = simulate(shared.chunked, policy, TINY, shared.machine, landmarks=shared.landmarks)
    assert row.rollout.recall == alone.recall
    assert row.rollout.engine.backend.traffic() == alone.engine.backend.traffic()
    assert int(row.rollout.attended_tokens.max()) == 7 * CHUNK == row.budget_tokens


def test_rows_come_budget_by_budget_and_own_sizes_first() -> None:
    candidates = [
        candidate("random"),
        candidate("full-kv"),
        candidate("sliding-window:recent_frames=6"),
        candidate("oracle"),
    ]
    rows = compare_at_budgets(setup(), candidates, parse_budgets("50%,7chunks")).rows
    assert [(row.candidate.label, row.budget and row.budget.word) for row in rows] == [
        ("full-kv", None),
        ("sliding-window:recent_frames=6", None),
        ("random", "50%"),
        ("oracle", "50%"),
        ("random", "7chunks"),
        ("oracle", "7chunks"),
    ]


def test_what_the_user_fixed_stays() -> None:
    budgets = parse_budgets("9chunks")
    (row,) = compare_at_budgets(setup(), [candidate("random:sink_frames=6")], budgets).rows
    assert row.candidate.policy == parse_policy("random:sink_frames=6,retrieved_frames=12")


def test_a_policy_that_cannot_be_so_small_is_named() -> None:
    found = compare_at_budgets(setup(), [candidate("pose-nms"), candidate("oracle")], parse_budgets("2chunks,6chunks"))
    assert [(left.label, left.budget.word, left.tokens) for left in found.left_out] == [
        ("pose-nms", "2chunks", 2 * CHUNK)
    ]
    assert [row.candidate.label for row in found.rows] == ["oracle", "pose-nms", "oracle"]


@pytest.mark.parametrize(
    ("chunks", "sink", "drawn", "recent"), [(2, 0, 1, 0), (3, 1, 1, 0), (4, 1, 1, 1), (5, 1, 1, 2), (6, 1, 2, 2)]
)
def test_chance_gives_up_recent_frames_then_the_sink(chunks: int, sink: int, drawn: int, recent: int) -> None:
    (row,) = compare_at_budgets(setup(), [candidate("random")], parse_budgets(f"{chunks}chunks")).rows
    assert row.candidate.policy == RandomRetrieval(3 * sink, 3 * drawn, 3 * recent)
    assert int(row.rollout.attended_tokens.max()) == chunks * CHUNK


def test_chance_gives_up_where_nothing_can_be_drawn() -> None:
    found = compare_at_budgets(
        setup(), [candidate("random"), candidate("random:sink_frames=3")], parse_budgets("1chunk")
    )
    assert not found.rows and len(found.left_out) == 2
    fixed = compare_at_budgets(setup(), [candidate("random:sink_frames=3")], parse_budgets("2chunks"))
    assert not fixed.rows, "what the user fixed is not given up"


def test_share_of_oracle_is_against_the_oracle_of_the_same_budget() -> None:
    candidates = [candidate("random"), candidate("oracle")]
    rows = compare_at_budgets(setup(), candidates, parse_budgets("20%,40%")).rows
    for chance, best in (rows[:2], rows[2:]):
        assert best.rollout.recall is not None and chance.rollout.recall is not None
        assert chance.share_of_oracle == chance.rollout.recall / best.rollout.recall
