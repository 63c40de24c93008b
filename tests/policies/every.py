"""One list of all policies, each at an easy and a hard setting; every contract test runs over it."""

from __future__ import annotations

from worldkv.parts import (
    AgePenalty,
    FrustumIndex,
    Hysteresis,
    NeverEvict,
    PoseIndex,
    PredictedPose,
    RefreshInterval,
    SinkRecent,
    Spread,
    Threshold,
    WorldCompression,
)
from worldkv.policies import (
    Composed,
    DropOldest,
    FrugalCoverage,
    FrustumCoverage,
    FullKV,
    Oracle,
    RandomRetrieval,
    SlidingWindow,
    WorldKV,
)
from worldkv.policy import CachePolicy

EVERY: dict[str, CachePolicy] = {
    "full-kv": FullKV(),
    "drop-oldest": DropOldest(48 * 5),
    "drop-oldest, to the token": DropOldest(48 + 17),
    "sliding-window": SlidingWindow(),
    "sliding-window, nothing recent": SlidingWindow(0, 3),
    "worldkv": WorldKV(),
    "worldkv, hard": WorldKV(0, 30, 0, 0.01, pooled=True, rotation_mean="chordal", rebase=True),
    "worldkv, by actions": WorldKV(index="action"),
    "random": RandomRetrieval(),
    "random, alone": RandomRetrieval(0, 9, 0, seed=3),
    "frustum-coverage": FrustumCoverage(points=100),
    "frustum-coverage, whole": FrustumCoverage(0, 12, 3, 1.0, points=50, seed=5),
    "frugal-coverage": FrugalCoverage(points=100),
    "frugal-coverage, dear": FrugalCoverage(0, 9, 3, 1.0, fetch_cost=2.0, points=50, seed=1),
    "oracle": Oracle(),
    "oracle, one chunk": Oracle(3),
    "composed": Composed(),
    "composed, spread": Composed(PoseIndex("chordal"), Spread(3), SinkRecent(3, 3), WorldCompression(0.5)),
    "composed, threshold": Composed(selector=Threshold(-0.1), retrieved_frames=12),
    "composed, frustum": Composed(FrustumIndex(points=64), eviction=SinkRecent(0, 3), retrieved_frames=6),
    "composed, never": Composed(eviction=NeverEvict()),
    "composed, hysteresis and age": Composed(wrappers=(Hysteresis(0.2), AgePenalty(0.3))),
    "composed, coverage with both": Composed(FrustumIndex(points=64), wrappers=(Hysteresis(0.2), AgePenalty())),
    "composed, refreshed": Composed(wrappers=(RefreshInterval(3),)),
    "composed, stale by one": Composed(wrappers=(RefreshInterval(2, is_stale=True), Hysteresis())),
    "composed, forecast": Composed(wrappers=(PredictedPose(),)),
}
