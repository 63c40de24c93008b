"""Spec strings: parsed, printed back, refused with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import (
    ActionIndex,
    AgePenalty,
    AnchorPenalty,
    FovOverlap,
    FrustumIndex,
    Hysteresis,
    Novelty,
    PoseIndex,
    RefreshInterval,
    ScoredTokens,
    SinkRecent,
    Spread,
    WorldCompression,
)
from worldkv.policies import Composed, DropOldest, FullKV, Oracle, RandomRetrieval, SlidingWindow, WorldKV
from worldkv.policy import CachePolicy
from worldkv.specs.names import policy_classes
from worldkv.specs.parse import in_frames, parse_geometry, parse_policy, spec_of

LINGBOT = PRESETS["lingbot-world-fast-480p"]


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("full-kv", FullKV()),
        ("worldkv", WorldKV()),
        (
            "worldkv:keep_ratio=0.5,rotation_mean=chordal,pooled=true",
            WorldKV(keep_ratio=0.5, rotation_mean="chordal", pooled=True),
        ),
        ("worldkv:retrieved_chunks=4,keep_ratio=0.25", WorldKV(retrieved_frames=12)),
        ("sliding-window:recent_frames=21,sink_frames=3", SlidingWindow(21, 3)),
        ("random:seed=7", RandomRetrieval(seed=7)),
        ("drop-oldest:budget_tokens=9000", DropOldest(9000)),
        ("oracle", Oracle()),
        ("composed:index=action,rotation_mean=chordal", Composed(ActionIndex("chordal"))),
        (
            "composed:selector=spread,least_gap_chunks=4,compression=world-compression,keep_ratio=0.5,recent_frames=9",
            Composed(selector=Spread(4), compression=WorldCompression(0.5), eviction=SinkRecent(3, 9)),
        ),
        ("pose", Composed(PoseIndex())),
        (
            "composed:compression=worldkv,keep_ratio=0.5,wrappers=hysteresis+age-penalty,margin=0.1,penalty=0.3",
            Composed(compression=WorldCompression(0.5), wrappers=(Hysteresis(0.1), AgePenalty(0.3))),
        ),
        (
            "composed:index=fov,compression=worldkv,keep_ratio=0.25,wrappers=refresh-interval+hysteresis,refresh_steps=4",
            Composed(FovOverlap(), None, SinkRecent(), WorldCompression(), 18, (RefreshInterval(4), Hysteresis())),
        ),
        (
            "composed:index=frustum,compression=worldkv,frustum.keep_ratio=0.9,worldkv.keep_ratio=0.5",
            Composed(FrustumIndex(keep_ratio=0.9), compression=WorldCompression(0.5)),
        ),
        (
            "composed:wrappers=hysteresis+age-penalty+hysteresis,hysteresis#2.margin=0.3,age-penalty.penalty=1",
            Composed(wrappers=(Hysteresis(), AgePenalty(1.0), Hysteresis(0.3))),
        ),
        (
            "composed:compression=scored-tokens,scorer=anchor-penalty,anchor-penalty#1.base=anchor-penalty,"
            "anchor-penalty#2.base=novelty",
            Composed(compression=ScoredTokens(AnchorPenalty(AnchorPenalty(Novelty())))),
        ),
        (
            "composed:sink-recent.sink_chunks=2,recent_chunks=1",
            Composed(eviction=SinkRecent(6, 3)),
        ),
    ],
)
def test_a_spec_names_a_policy_and_the_policy_prints_a_spec(spec: str, policy: CachePolicy) -> None:
    assert parse_policy(spec, LINGBOT) == policy
    assert parse_policy(spec_of(policy)) == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("worldvk", "unknown policy 'worldvk'; did you mean worldkv?"),
        ("worldkv:keep_ration=0.5", "has no parameter 'keep_ration'; did you mean keep_ratio?"),
        ("worldkv:keep_ratio=0", r"keep_ratio must be in \(0, 1\], got 0.0"),
        ("worldkv:keep_ratio=1.5", r"keep_ratio must be in \(0, 1\], got 1.5"),
        ("worldkv:keep_ratio=half", "keep_ratio must be a number, got 'half'"),
        ("worldkv:retrieved_frames=1.5", "retrieved_frames must be a whole number"),
        ("worldkv:retrieved_frames", "is not key=value"),
        ("worldkv:pooled=maybe", "pooled must be true or false"),
        ("worldkv:index=gps", "index must be one of pose, action"),
        ("worldkv:keep_ratio=1,keep_ratio=1", "given twice"),
        ("worldkv:sink_frames=-3", "sink_frames must be at least 0"),
        ("composed:index=gps", r"index must name a part that fits, or pkg.mod:Class, got 'gps'"),
        ("composed:index=posse", "did you mean pose"),
        ("composed:index=pose,margin=0.1", "has no parameter 'margin'"),
        ("composed:index=pose,selector=greedy-coverage", "gives scores but GreedyCoverage takes coverage; use top-k"),
        ("no.such.module:Thing", "cannot import 'no.such.module'"),
        ("worldkv.policies:WorldVK", "has no policy or index 'WorldVK'; did you mean WorldKV?"),
        ("missing.py:Mine", "no such file: missing.py"),
        ("sliding-window:retrieved_chunks=1", "has no parameter 'retrieved_frames'"),
        ("composed:wrappers=hysteresis+histeresis", "wrappers must name a part that fits.*did you mean hysteresis"),
        ("composed:wrappers=hysteresis,margin=-1", "margin must be at least 0"),
        (
            "composed:compression=scored-tokens,scorer=anchor-penalty,wrappers=age-penalty,penalty=0.3",
            "penalty may be anchor-penalty.penalty or age-penalty.penalty; write anchor-penalty.penalty=0.3 for",
        ),
        ("composed:index=frustum,compression=worldkv,keep_ratio=1", "may be frustum.keep_ratio or world-compression.k"),
        (
            "composed:wrappers=hysteresis+hysteresis,margin=1",
            "margin may be hysteresis#1.margin or hysteresis#2.margin",
        ),
        ("composed:wrappers=hysteresis,hysteresis.margin=1,margin=2", "margin is given twice"),
        ("composed:compression=quantised,inner=quantised", "inner may be quantised#1.inner or quantised#2.inner"),
        ("composed:wrappers=hysteresis,histeresis.margin=1", "has no part 'histeresis'; did you mean hysteresis?"),
        (
            "composed:wrappers=hysteresis,hysteresis.margins=1",
            "hysteresis has no parameter 'margins'; did you mean mar",
        ),
        ("composed:wrappers=hysteresis,hysteresis#2.margin=1", "the number in hysteresis#2.margin must be 1 to 1"),
        ("composed:composed.retrieved_frames=3", "has no part 'composed'"),
    ],
)
def test_what_cannot_be_parsed_says_why_and_what_would_do(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_policy(spec, LINGBOT)


def test_an_index_in_a_file_of_ones_own_is_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from worldkv.policy import Index\n"
        "@dataclass(frozen=True)\n"
        "class Oldest(Index):\n"
        "    power: float = 1.0\n"
        "    def scores(self, query, bank):\n"
        "        return bank.ages ** self.power\n"
    )
    policy = parse_policy(f"{file}:Oldest:power=2,retrieved_frames=6")
    assert isinstance(policy, Composed)
    assert policy.retrieved_frames == 6
    assert type(policy.index).__name__ == "Oldest"
    assert policy.index.power == 2.0  # type: ignore[union-attr]
    file.write_text("1 / 0")
    with pytest.raises(SpecError, match="failed while it was loaded: ZeroDivisionError"):
        parse_policy(f"{file}:Oldest")


def test_a_parameter_of_ones_own_index_may_count_chunks(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom worldkv.policy import Index\n\n\n"
        "@dataclass(frozen=True)\nclass Reaching(Index):\n    reach_chunks: int = 2\n\n"
        "    def scores(self, query, bank):\n        return -abs(bank.ages - self.reach_chunks)\n"
    )
    spec = f"{file}:Reaching:reach_chunks=5,recent_chunks=3"
    policy = parse_policy(spec, LINGBOT)
    assert policy.index.reach_chunks == 5 and policy.eviction.recent_frames == 9  # type: ignore[attr-defined]
    assert in_frames(spec, LINGBOT) == f"{file}:Reaching:reach_chunks=5,recent_frames=9"
    assert repr(parse_policy(in_frames(spec, LINGBOT))) == repr(policy), "the file is loaded anew"


def test_sizes_in_frames() -> None:
    assert in_frames("full-kv", LINGBOT) == "full-kv"
    assert (
        in_frames("worldkv:retrieved_chunks=4,keep_ratio=0.5", LINGBOT) == "worldkv:retrieved_frames=12,keep_ratio=0.5"
    )


def test_every_installed_policy_has_defaults_that_work() -> None:
    for name, cls in policy_classes().items():
        policy = parse_policy(name)
        assert isinstance(policy, cls)
        assert spec_of(policy) == name


def test_geometries() -> None:
    assert parse_geometry("tiny") is PRESETS["tiny"]
    changed = parse_geometry("matrix-game-2:frames_per_chunk=4,itemsize=1")
    assert (changed.frames_per_chunk, changed.itemsize, changed.layers) == (4, 1, 30)
    for spec, message in (
        ("tinny", "unknown geometry 'tinny'; did you mean tiny?"),
        ("tiny:layer=3", "no parameter 'layer'; did you mean layers?"),
        ("tiny:layers=0", "layers must be a whole number of at least 1"),
        ("tiny:heads=3", "heads must be a multiple of kv_heads"),
    ):
        with pytest.raises(SpecError, match=message):
            parse_geometry(spec)


FOUR = parse_geometry("tiny:frames_per_chunk=4")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("worldkv:sink_frames=3", "WorldKV.sink_frames must be whole chunks of 4 latent frames, got 3; take 0 or 4"),
        ("composed:retrieved_frames=18", "Composed.retrieved_frames must be whole chunks of 4 latent frames, got 18"),
        ("composed:recent_frames=6", "SinkRecent.recent_frames must be whole chunks of 4 latent frames, got 6"),
        ("composed:eviction=token-pool,token-pool.pool_frames=9", "TokenPool.pool_frames must be whole chunks of 4"),
        ("r-swa:references=0-2", r"ReferenceWindow.references must fit chunks of 4 .* got 0-2; take 0-3"),
    ],
)
def test_a_default_that_was_typed_is_refused_where_it_does_not_fit(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_policy(spec, FOUR)
    assert parse_policy(spec) == parse_policy(spec, LINGBOT), "without that geometry it is as good as left out"


def test_a_default_part_s_own_value_is_a_default_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom worldkv.parts import SinkRecent\n"
        "from worldkv.policy import EvictionRule\nfrom worldkv.policies import FullKV\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(FullKV):\n    eviction: EvictionRule = SinkRecent(6, 8)\n"
    )
    for spec in (f"{file}:Mine:sink_frames=6", f"{file}:Mine:sink_frames=3"):
        with pytest.raises(SpecError, match=r"SinkRecent.sink_frames must be whole chunks of 4 latent frames"):
            parse_policy(spec, FOUR)
    assert parse_policy(f"{file}:Mine", FOUR).eviction.sink_frames == 6, "the engine rounds it"  # type: ignore[attr-defined]


def test_what_fits_may_be_typed() -> None:
    for spec in ("worldkv:sink_chunks=1", "worldkv:sink_frames=4,recent_frames=8", "r-swa:references=0-3"):
        assert parse_policy(spec, FOUR) == parse_policy(in_frames(spec, FOUR))
    assert parse_policy("worldkv", FOUR) == parse_policy("worldkv"), "what is left out is the engine's to round"
