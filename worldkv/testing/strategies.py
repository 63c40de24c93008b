"""Hypothesis strategies: cache shapes, poses, paths, room in the tiers, policies composed of parts.

Use them in tests of your own: `@given(strategies.scenarios(MyPolicy()))`, then `Trial(policy, scenario).run()`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from worldkv.config import CacheConfig
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.pose import ChunkPose
from worldkv.testing.motion_script import Back, Coordinates, MotionScript, Move
from worldkv.testing.policy_under_test import GEOMETRIES, PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.tiers import TierLimits

STEPS = (0.0, 1.0, 0.25, -1.0, 2.5)
TURNS = (0.0, 30.0, -45.0, 90.0, 12.5, 180.0)
HUGE = (1e4, -3e5)


def geometries() -> SearchStrategy[CacheGeometry]:
    """Small cache shapes: one to three frames a chunk, grouped heads, two branches, odd token counts."""
    return st.sampled_from(GEOMETRIES)


def moves(*, can_return: bool = True, steps: Sequence[float] = STEPS) -> SearchStrategy[Move | Back]:
    """What a camera does during one chunk; `can_return` lets it stand exactly where it stood before."""
    going = st.builds(Move, st.sampled_from(steps), st.sampled_from(TURNS), st.sampled_from((0.0, 15.0, -40.0)))
    return st.one_of(going, st.builds(Back, st.integers(1, 12))) if can_return else going


def motion_scripts(least: int = 1, most: int = 24) -> SearchStrategy[MotionScript]:
    """Paths of `least` to `most` chunks: with and without revisits, still, turning on the spot, with huge jumps."""

    def of(move: SearchStrategy[Move | Back], at_least: int = least) -> SearchStrategy[MotionScript]:
        return st.lists(move, min_size=at_least, max_size=most).map(lambda found: MotionScript(tuple(found)))

    # Lists come out short; what comes back comes back late, so most alternatives are long from the start.
    late, long = max(least, most - 4), st.integers(max(least, (most + 1) // 2), most)
    length = st.one_of(st.integers(least, most), long, long)
    still = length.map(lambda chunks: MotionScript((Move(),) * chunks))
    spin = st.builds(lambda chunks, turn: MotionScript((Move(turn=turn),) * chunks), length, st.sampled_from(TURNS))
    out_and_back = long.map(out_and_back_script)
    jumps = moves(steps=(*STEPS, *HUGE))
    onward = moves(can_return=False)
    return st.one_of(
        of(moves()),
        of(moves(), late),
        of(onward),
        of(onward, late),
        still,
        spin,
        out_and_back,
        of(jumps),
        of(jumps, late),
    )


def out_and_back_script(chunks: int) -> MotionScript:
    """Out for half of the chunks, then the same views in reverse."""
    out = (chunks + 1) // 2
    return MotionScript((Move(1.0),) * out + tuple(Back(1 + 2 * chunk) for chunk in range(chunks - out)))


def generic_motion_scripts(least: int = 8, most: int = 24) -> SearchStrategy[MotionScript]:
    """Paths without symmetry, on which no two scores are equal by construction and none lies on an edge."""
    return st.builds(_generic, st.integers(least, most), st.integers(0, 10_000))


def _generic(chunks: int, seed: int) -> MotionScript:
    import numpy as np

    draw = np.random.default_rng(seed)
    found: list[Move | Back] = []
    for chunk in range(chunks):
        if chunk > 5 and draw.random() < 0.3:
            found.append(Back(int(draw.integers(3, chunk + 1))))
        else:
            ahead, turn, tilt = draw.normal((0.7, 11.0, 1.0), (0.5, 25.0, 6.0))
            found.append(Move(round(float(ahead), 4), round(float(turn), 4), round(float(tilt), 4)))
    return MotionScript(tuple(found))


def poses() -> SearchStrategy[ChunkPose]:
    """Where a camera stands during one chunk of three latent frames."""

    def of(script: MotionScript) -> ChunkPose:
        return script.chunked(GEOMETRIES[0]).camera[-1]

    return motion_scripts(1, 6).map(of)


def coordinates() -> SearchStrategy[Coordinates]:
    """Other coordinates for the same path: turned and shifted, lengths as they are."""
    angle, length = st.sampled_from((0.3, -1.1, 2.0)), st.sampled_from((5.3, -40.7, 0.0))
    return st.builds(Coordinates, st.tuples(angle, angle, angle), st.tuples(length, length, length))


def budgets(geometry: CacheGeometry, least_chunks: int = 1, most_chunks: int = 12) -> SearchStrategy[int]:
    """Window budgets in bytes, whole chunks and odd numbers."""
    whole = st.integers(least_chunks, most_chunks).map(lambda chunks: chunks * geometry.chunk_bytes)
    return st.one_of(whole, st.integers(least_chunks * geometry.chunk_bytes, most_chunks * geometry.chunk_bytes))


def tiers(geometry: CacheGeometry) -> SearchStrategy[TierLimits]:
    """Room for the bank: none, too little, enough, unlimited; a full one forgets its oldest chunks."""
    room = st.sampled_from((None, 0, 2 * geometry.chunk_bytes, 7 * geometry.chunk_bytes + 3))
    return st.builds(TierLimits, room, room, st.just("forget-oldest"))


def configs(geometry: CacheGeometry) -> SearchStrategy[CacheConfig]:
    """Whole configurations of a cache without a window budget."""
    return st.builds(
        CacheConfig,
        limits=tiers(geometry),
        staging_chunks=st.integers(0, 3),
        rewind_chunks=st.sampled_from((0, 2, 9)),
    )


def policies() -> SearchStrategy[CachePolicy]:
    """Policies of this package at easy and hard settings, compositions of parts among them."""
    from worldkv.policies import FullKV, RandomRetrieval, SlidingWindow, WorldKV

    ratio = st.sampled_from((1.0, 0.25, 0.5, 0.01))
    frames = st.sampled_from((3, 0, 6, 18))
    return st.one_of(
        st.just(FullKV()),
        st.builds(SlidingWindow, frames, st.sampled_from((6, 3, 0))),
        st.builds(WorldKV, frames, frames, st.sampled_from((6, 3, 0)), ratio, st.booleans()),
        st.builds(RandomRetrieval, frames, frames, st.sampled_from((6, 0)), seed=st.integers(0, 9)),
        compositions(),
    )


def compositions() -> SearchStrategy[CachePolicy]:
    """`composed` of every index, selector, eviction and compression of this package that go together."""
    from worldkv.parts import (
        FrustumIndex,
        NeverEvict,
        PoseIndex,
        SinkRecent,
        Spread,
        Threshold,
        TopK,
        WholeChunk,
        WorldCompression,
    )
    from worldkv.policies import Composed

    index = st.sampled_from((PoseIndex(), PoseIndex("chordal"), FrustumIndex(points=32)))
    selector = st.sampled_from((None, TopK(), Spread(2), Threshold(-0.5)))
    eviction = st.sampled_from((SinkRecent(), SinkRecent(0, 3), NeverEvict()))
    compression = st.sampled_from((WholeChunk(), WorldCompression(), WorldCompression(0.5, True)))
    frames = st.sampled_from((18, 3, 6))

    def put_together(i: object, s: object, e: object, c: object, n: int) -> CachePolicy:
        fits = not isinstance(i, FrustumIndex)
        return Composed(i, s if fits else None, e, c, n)  # type: ignore[arg-type]

    return st.builds(put_together, index, selector, eviction, compression, frames)


def hard_scenarios(policy: CachePolicy | PolicyUnderTest) -> list[Scenario]:
    """Rollouts on which rules fail that work elsewhere, the same every time.

    One chunk; standing still; out and back, also in coordinates that no axis is along; huge jumps between small steps;
    a bank that forgets; a spin on the spot.
    """
    under_test = policy if isinstance(policy, PolicyUnderTest) else PolicyUnderTest(policy)
    most = under_test.fill_chunks + 12
    shape, has_keys = under_test.geometries[0], under_test.is_data_dependent
    turned = Coordinates((0.3, -1.1, 2.0), (5.3, -40.7, 11.0))
    jump = tuple(Move(3e5 if chunk % 5 == 4 else 0.25, 11.0) for chunk in range(most))
    return [
        Scenario(MotionScript((Move(1.0),)), shape, has_keys=has_keys),
        Scenario(MotionScript((Move(),) * most), shape, has_keys=has_keys),
        Scenario(out_and_back_script(most), shape, has_keys=has_keys),
        Scenario(out_and_back_script(most), shape, turned, has_keys=has_keys),
        Scenario(MotionScript(jump), shape, has_keys=has_keys),
        Scenario(MotionScript((Move(1.0, 20.0),) * most), shape, host_chunks=1.5, disk_chunks=0, has_keys=has_keys),
        Scenario(MotionScript((Move(turn=30.0),) * most), under_test.geometries[-1], has_keys=has_keys),
    ]


def scenarios(
    policy: CachePolicy | PolicyUnderTest, *, can_go_back: bool = False, beyond: int = 12, is_generic: bool = False
) -> SearchStrategy[Scenario]:
    """Rollouts that `policy` can start, long enough that its window fills and something comes back.

    Args:
        policy: a policy, or the policy under test made of it.
        can_go_back: whether the engine is to remember steps for `rewind`.
        beyond: chunks after the window is full.
        is_generic: without symmetric paths, see `generic_motion_scripts`.
    """
    under_test = policy if isinstance(policy, PolicyUnderTest) else PolicyUnderTest(policy)
    most = under_test.fill_chunks + beyond
    room = st.sampled_from((None, None, 0, 1.5, 4))
    return st.builds(
        Scenario,
        script=generic_motion_scripts(max(3, most - beyond), most) if is_generic else motion_scripts(1, most),
        geometry=st.sampled_from(under_test.geometries),
        host_chunks=room,
        disk_chunks=st.sampled_from((None, None, 3)),
        staging_chunks=st.integers(0, 2),
        rewind_chunks=st.sampled_from((3, 8)) if can_go_back else st.just(0),
        has_keys=st.just(True) if under_test.is_data_dependent else st.booleans(),
        seed=st.integers(0, 99),
        spare_chunks=st.sampled_from((None, None, 1.5, 3)),
    )
