"""Policies made of parts: which parts, and that every parameter reaches the one it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldkv.errors import SpecError
from worldkv.parts import (
    Absolute,
    AgePenalty,
    AnchorPenalty,
    AttentionReceived,
    DistinctPoses,
    FovOverlap,
    FovScore,
    Frugal,
    FrustumIndex,
    GreedyCoverage,
    Hysteresis,
    KeyBounds,
    KeyDiff,
    MeanKey,
    OnePerRun,
    PlanarCones,
    PoseIndex,
    Rebased,
    RefreshInterval,
    ScoredTokens,
    SinkRecent,
    ThresholdPages,
    TopK,
    WholeChunk,
    WorldCompression,
)
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.scorer.anchor_penalty import save_direction
from worldkv.policies import (
    ArkVale,
    Composed,
    ContextAsMemory,
    FlashMemory,
    FrugalCoverage,
    FrustumCoverage,
    KeyDiffKV,
    MeanKeyRetrieval,
    PoseNms,
    QuestBounds,
    SnapKV,
    WorldMem,
    WorldPlay,
)
from worldkv.specs.parse import parse_policy

SIZES = SinkRecent(6, 9)
MADE: list[tuple[FromParts, PolicyParts]] = [
    (
        WorldMem(sink_frames=6, retrieved_frames=3, recent_frames=9, age_penalty=0.3, points=50, seed=2),
        PolicyParts(SIZES, FovOverlap(50, seed=2), GreedyCoverage(), WholeChunk(), (AgePenalty(0.3),)),
    ),
    (
        WorldPlay(sink_frames=6, retrieved_frames=3, recent_frames=9, points=70, seed=4),
        PolicyParts(SIZES, FovScore(FovOverlap(70, seed=4)), TopK(), WholeChunk()),
    ),
    (
        ContextAsMemory(sink_frames=6, retrieved_frames=3, recent_frames=9, least_overlap=0.4),
        PolicyParts(SIZES, PlanarCones(), OnePerRun(0.4), WholeChunk()),
    ),
    (
        PoseNms(sink_frames=6, retrieved_frames=3, recent_frames=9, least_apart=0.7),
        PolicyParts(SIZES, PoseIndex(), DistinctPoses(0.7), WholeChunk()),
    ),
    (
        MeanKeyRetrieval(sink_frames=6, retrieved_frames=3, recent_frames=9),
        PolicyParts(SIZES, MeanKey(), TopK(), WholeChunk()),
    ),
    (
        QuestBounds(sink_frames=6, retrieved_frames=3, recent_frames=9),
        PolicyParts(SIZES, KeyBounds("box"), TopK(), WholeChunk()),
    ),
    (
        ArkVale(sink_frames=6, retrieved_frames=3, recent_frames=9),
        PolicyParts(SIZES, KeyBounds("ball"), TopK(), WholeChunk()),
    ),
    (
        SnapKV(sink_frames=6, retrieved_frames=3, recent_frames=9, keep_ratio=0.2, scorer=AttentionReceived(5)),
        PolicyParts(SIZES, PoseIndex(), TopK(), ScoredTokens(AttentionReceived(5), 0.2)),
    ),
    (
        KeyDiffKV(sink_frames=6, retrieved_frames=3, recent_frames=9, keep_ratio=0.2),
        PolicyParts(SIZES, PoseIndex(), TopK(), ScoredTokens(KeyDiff(), 0.2)),
    ),
    (
        FlashMemory(
            sink_frames=6,
            retrieved_frames=3,
            recent_frames=9,
            refresh_steps=5,
            least_score=0.6,
            most_pages=3,
            index=PoseIndex(),
        ),
        PolicyParts(SIZES, PoseIndex(), ThresholdPages(0.6, 2, 3), WholeChunk(), (RefreshInterval(5, is_stale=True),)),
    ),
    (
        FrustumCoverage(sink_frames=6, retrieved_frames=3, recent_frames=9, keep_ratio=0.5, points=40, seed=7),
        PolicyParts(SIZES, FrustumIndex(40, keep_ratio=0.5, seed=7), GreedyCoverage(), WorldCompression(0.5)),
    ),
    (
        FrugalCoverage(
            sink_frames=6, retrieved_frames=3, recent_frames=9, keep_ratio=0.5, fetch_cost=0.9, points=40, seed=7
        ),
        PolicyParts(SIZES, FrustumIndex(40, keep_ratio=0.5, seed=7), Frugal(0.9), WorldCompression(0.5)),
    ),
]


@pytest.mark.parametrize(("policy", "parts"), MADE, ids=[type(policy).__name__ for policy, _ in MADE])
def test_every_parameter_reaches_its_part(policy: FromParts, parts: PolicyParts) -> None:
    assert policy.policy_parts == parts
    assert policy.retrieved_frames == 3
    assert set(policy.parts()) == {parts.eviction, parts.index, parts.selector, parts.compression, *parts.wrappers} | (
        {policy.positions} if policy.positions.moves else set()
    )


def test_who_is_asked_late_and_who_is_rebased() -> None:
    late = {type(policy) for policy, _ in MADE if policy.asked_at == "first_pass"}
    assert late == {MeanKeyRetrieval, QuestBounds, ArkVale}
    assert WorldPlay().positions == MeanKeyRetrieval(positions=Rebased()).positions == Rebased()
    assert MeanKeyRetrieval().positions == WorldMem().positions == Absolute()


def test_what_does_not_go_together_is_refused() -> None:
    for index, selector in ((FovOverlap(), TopK()), (PoseIndex(), Frugal())):
        with pytest.raises(SpecError, match="takes"):
            Composed(index, selector)
    with pytest.raises(SpecError, match="retrieved_frames must be at least 0"):
        WorldMem(retrieved_frames=-3)


def test_a_scorer_goes_round_a_scorer_by_spec(tmp_path: Path) -> None:
    file = tmp_path / "direction.safetensors"
    save_direction(np.ones((2, 2, 4), np.float32), file)
    made = parse_policy(
        "composed:compression=scored-tokens,keep_ratio=0.5,scorer=anchor-penalty,base=attention-received,"
        f"penalty=0.3,direction={file}"
    )
    assert isinstance(made, Composed)
    assert made.compression == ScoredTokens(AnchorPenalty(AttentionReceived(), 0.3, str(file)), 0.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"index": WholeChunk()}, "Composed.index must be an object of class Index or CoverageIndex"),
        ({"index": FovOverlap}, "Composed.index must be an object of class Index or CoverageIndex"),
        ({"selector": FovOverlap()}, "Composed.selector must be an object of class Selector or CoverageSelector"),
        ({"eviction": FovOverlap()}, "Composed.eviction must be an object of class EvictionRule"),
        ({"compression": FovOverlap()}, "Composed.compression must be an object of class Compression"),
        ({"wrappers": Hysteresis()}, r"Composed.wrappers must be a tuple of wrappers, as in \(Hysteresis\(\),\)"),
        ({"wrappers": (FovOverlap(),)}, "Composed.wrappers must be a tuple of wrappers"),
        ({"retrieved_frames": "6"}, "Composed.retrieved_frames must be a whole number, got '6'"),
    ],
)
def test_what_is_of_another_kind_is_refused_when_it_is_put_together(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Composed(**wrong)
