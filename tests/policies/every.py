"""One list of all policies, each at an easy and a hard setting; every contract test runs over it."""

from __future__ import annotations

from worldkv.parts import FrustumIndex, NeverEvict, PoseIndex, SinkRecent, Spread, Threshold, WorldCompression
from worldkv.policies import (
    Composed,
    DropOldest,
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
    "oracle": Oracle(),
    "oracle, one chunk": Oracle(3),
    "composed": Composed(),
    "composed, spread": Composed(PoseIndex("chordal"), Spread(3), SinkRecent(3, 3), WorldCompression(0.5)),
    "composed, threshold": Composed(selector=Threshold(-0.1), retrieved_frames=12),
    "composed, frustum": Composed(FrustumIndex(points=64), eviction=SinkRecent(0, 3), retrieved_frames=6),
    "composed, never": Composed(eviction=NeverEvict()),
}
