"""One list of all policies, each at an easy and a hard setting; every contract test runs over it."""

from __future__ import annotations

from tests.policies.weight_files import anchor_direction, utility_weights
from worldkv.parts import (
    Admission,
    AgePenalty,
    AnchorPenalty,
    AttentionNeed,
    AttentionReceived,
    FovOverlap,
    FovScore,
    FrustumIndex,
    Hysteresis,
    KeyDiff,
    LearnedUtility,
    Lookahead,
    NeverEvict,
    PoseIndex,
    PredictedPose,
    QuantisedBank,
    Rebased,
    RefreshInterval,
    ScoredTokens,
    SinkRecent,
    Spread,
    Threshold,
    UnlikeAnchor,
    WorldCompression,
)
from worldkv.policies import (
    H2O,
    ArkVale,
    AttentionOracle,
    Belady,
    Composed,
    ContextAsMemory,
    DeepForcing,
    DropOldest,
    FlashMemory,
    FrugalCoverage,
    FrustumCoverage,
    FullKV,
    KeyDiffKV,
    MeanKeyRetrieval,
    MemFlowPrototypes,
    NoveltyAdmission,
    Oracle,
    PoseNms,
    QuestBounds,
    RandomRetrieval,
    ReferenceWindow,
    RelicSubsample,
    SelfPrunedKV,
    SlidingWindow,
    SnapKV,
    StreamingLLM,
    WorldKV,
    WorldMem,
    WorldPlay,
)
from worldkv.policy import CachePolicy

EVERY: dict[str, CachePolicy] = {
    "full-kv": FullKV(),
    "drop-oldest": DropOldest(budget_tokens=48 * 5),
    "drop-oldest, to the token": DropOldest(budget_tokens=48 + 17),
    "sliding-window": SlidingWindow(),
    "sliding-window, nothing recent": SlidingWindow(recent_frames=0, sink_frames=3),
    "worldkv": WorldKV(),
    "worldkv, hard": WorldKV(
        sink_frames=0,
        retrieved_frames=30,
        recent_frames=0,
        keep_ratio=0.01,
        pooled=True,
        rotation_mean="chordal",
        positions=Rebased(),
    ),
    "worldkv, by actions": WorldKV(index="action"),
    "random": RandomRetrieval(),
    "random, alone": RandomRetrieval(sink_frames=0, retrieved_frames=9, recent_frames=0, seed=3),
    "frustum-coverage": FrustumCoverage(points=100),
    "frustum-coverage, whole": FrustumCoverage(
        sink_frames=0, retrieved_frames=12, recent_frames=3, keep_ratio=1.0, points=50, seed=5
    ),
    "frugal-coverage": FrugalCoverage(points=100),
    "frugal-coverage, dear": FrugalCoverage(
        sink_frames=0, retrieved_frames=9, recent_frames=3, keep_ratio=1.0, fetch_cost=2.0, points=50, seed=1
    ),
    "r-swa": ReferenceWindow(),
    "r-swa, two places": ReferenceWindow(references="0-5+18-23", recent_frames=6),
    "streaming-llm": StreamingLLM(),
    "streaming-llm, nothing recent": StreamingLLM(sink_frames=6, recent_frames=0),
    "relic-subsample": RelicSubsample(),
    "worldmem": WorldMem(points=500),
    "worldmem, age alone": WorldMem(
        sink_frames=0, retrieved_frames=9, recent_frames=3, age_penalty=5.0, points=200, seed=2
    ),
    "worldplay": WorldPlay(points=500),
    "context-as-memory": ContextAsMemory(),
    "context-as-memory, any": ContextAsMemory(sink_frames=0, retrieved_frames=30, recent_frames=3, least_overlap=-1.0),
    "pose-nms": PoseNms(),
    "pose-nms, far apart": PoseNms(sink_frames=3, retrieved_frames=9, recent_frames=3, least_apart=2.0),
    "flash-memory": FlashMemory(index=FovScore(FovOverlap(points=500))),
    "flash-memory, by keys": FlashMemory(
        sink_frames=0,
        retrieved_frames=9,
        recent_frames=3,
        refresh_steps=3,
        least_score=0.5,
        most_pages=1,
        index=Lookahead(layers=1, weight=2.0, bias=0.5),
    ),
    "mean-key": MeanKeyRetrieval(),
    "mean-key, rebased": MeanKeyRetrieval(sink_frames=0, retrieved_frames=9, recent_frames=3, positions=Rebased()),
    "quest-bounds": QuestBounds(),
    "arkvale": ArkVale(),
    "arkvale, box": ArkVale(sink_frames=3, retrieved_frames=6, recent_frames=3, volume="box"),
    "memflow-prototypes": MemFlowPrototypes(),
    "memflow-prototypes, all": MemFlowPrototypes(
        sink_frames=0, prototype_chunks=9, recent_frames=3, chunks_per_prototype=1
    ),
    "h2o": H2O(),
    "h2o, no pool": H2O(recent_frames=6, heavy_frames=0),
    "h2o, by keys": H2O(recent_frames=3, heavy_frames=6, scorer=KeyDiff()),
    "snapkv": SnapKV(),
    "snapkv, few": SnapKV(
        sink_frames=0, retrieved_frames=9, recent_frames=3, keep_ratio=0.3, scorer=AttentionReceived()
    ),
    "keydiff": KeyDiffKV(keep_ratio=0.3),
    "deep-forcing": DeepForcing(),
    "deep-forcing, no sink": DeepForcing(sink_frames=0, middle_frames=3, recent_frames=6),
    "sp-kv": SelfPrunedKV(),
    "sp-kv, trained": SelfPrunedKV(recent_frames=3, least_utility=0.5, utility=LearnedUtility(utility_weights())),
    "novelty-admission": NoveltyAdmission(),
    "novelty-admission, nothing": NoveltyAdmission(recent_frames=3, least_utility=1.0),
    "attention-oracle": AttentionOracle(),
    "belady": Belady(),
    "belady, one chunk": Belady(retrieved_frames=3, least_share=0.5, horizon_steps=4),
    "belady, by attention": Belady(retrieved_frames=12, least_share=0.05, horizon_steps=8, need=AttentionNeed()),
    "oracle": Oracle(),
    "oracle, one chunk": Oracle(retrieved_frames=3),
    "composed": Composed(),
    "composed, spread": Composed(
        index=PoseIndex(rotation_mean="chordal"),
        selector=Spread(least_gap_chunks=3),
        eviction=SinkRecent(sink_frames=3, recent_frames=3),
        compression=WorldCompression(keep_ratio=0.5),
    ),
    "composed, threshold": Composed(selector=Threshold(least_score=-0.1), retrieved_frames=12),
    "composed, frustum": Composed(
        index=FrustumIndex(points=64), eviction=SinkRecent(sink_frames=0, recent_frames=3), retrieved_frames=6
    ),
    "composed, never": Composed(eviction=NeverEvict()),
    "composed, hysteresis and age": Composed(wrappers=(Hysteresis(margin=0.2), AgePenalty(penalty=0.3))),
    "composed, coverage with both": Composed(
        index=FrustumIndex(points=64), wrappers=(Hysteresis(margin=0.2), AgePenalty())
    ),
    "composed, refreshed": Composed(wrappers=(RefreshInterval(refresh_steps=3),)),
    "composed, stale by one": Composed(wrappers=(RefreshInterval(refresh_steps=2, is_stale=True), Hysteresis())),
    "composed, forecast": Composed(wrappers=(PredictedPose(),)),
    "composed, admission": Composed(eviction=Admission(recent_frames=3, least_utility=0.5)),
    "composed, penalised": Composed(
        compression=ScoredTokens(AnchorPenalty(base=KeyDiff(), penalty=0.7, direction=anchor_direction())),
        retrieved_frames=9,
    ),
    "composed, world compression penalised": Composed(
        compression=WorldCompression(
            keep_ratio=0.4,
            pooled=True,
            scorer=AnchorPenalty(base=UnlikeAnchor(), penalty=-2.0, direction=anchor_direction()),
        )
    ),
    "composed, quantised": Composed(
        compression=QuantisedBank(inner=WorldCompression(keep_ratio=0.5), stored_as="fp8"), retrieved_frames=9
    ),
}
