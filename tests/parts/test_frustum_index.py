"""The frustum index against views whose answer is plain, and against its rule told point by point."""

from __future__ import annotations

import itertools
import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.parts.bank import bank_of
from worldkv.errors import SpecError
from worldkv.parts.index.frustum_index import COLUMNS, SPARE, FrustumIndex
from worldkv.parts.selector.select import GreedyCoverage, packed
from worldkv.parts.visibility.visible_pairs import visible_pairs
from worldkv.views import BankView, Query

Frame = tuple[np.ndarray, np.ndarray]


def heading(degrees: float) -> np.ndarray:
    return np.tile(Rotation.from_euler("y", degrees, degrees=True).as_matrix(), (3, 1, 1))


def picked(
    positions: list[tuple[float, float, float]], degrees: list[float], chunks: int, **kwargs: float
) -> list[int]:
    """Rows fetched for the last pose, best first."""
    frames = np.array([[place] * 3 for place in positions], float)
    query, bank = bank_of(frames, np.stack([heading(d) for d in degrees]), view_distance=5.0)
    coverage = FrustumIndex(**kwargs).coverage(query, bank)  # type: ignore[arg-type]
    assert coverage.shape[0] == len(positions) - 1
    return [int(row) for row in GreedyCoverage().select(coverage, query, bank, chunks)]


def test_the_same_pose_comes_first_and_the_opposite_never_before_it() -> None:
    origin = (0.0, 0.0, 0.0)
    assert picked([origin, origin, origin, origin], [180, 0, 90, 0], 1) == [1]


def test_two_that_complete_each_other_beat_two_alike() -> None:
    origin = (0.0, 0.0, 0.0)
    found = picked([origin] * 5, [-40, -42, -41, 40, 0], 2)
    assert sorted(d > 2 for d in found) == [False, True], "one from the left and one from the right, not two lefts"


def test_what_is_out_of_sight_covers_nothing_but_may_fill_up() -> None:
    near, far = (0.0, 0.0, 0.0), (1_000.0, 0.0, 0.0)
    frames = np.array([[far] * 3, [near] * 3, [near] * 3])
    query, bank = bank_of(frames, np.stack([heading(0)] * 3), view_distance=5.0)
    coverage = FrustumIndex().coverage(query, bank)
    assert not coverage[0].any() and coverage[1].any()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), ratio=st.floats(0.05, 1.0))
def test_coverage_is_pure_and_does_not_depend_on_the_world_frame(seed: int, ratio: float) -> None:
    draw = np.random.default_rng(seed)
    frames = draw.normal(size=(9, 3, 3))
    rotations = Rotation.random(27, rng=draw).as_matrix().reshape(9, 3, 3, 3)
    turn, shift = Rotation.random(rng=draw).as_matrix(), draw.normal(size=3)
    index = FrustumIndex(points=200, keep_ratio=ratio)
    first = index.coverage(*bank_of(frames, rotations, view_distance=3.0))
    assert (first == index.coverage(*bank_of(frames, rotations, view_distance=3.0))).all()
    moved = index.coverage(*bank_of(frames @ turn.T + shift, turn @ rotations, view_distance=3.0))
    assert (first != moved).mean() < 0.01, "up to points on an edge"


def test_a_query_costs_rows_near_it_only() -> None:
    frames = np.zeros((400, 3, 3))
    query, bank = bank_of(frames, np.tile(np.eye(3), (400, 3, 1, 1)))
    assert FrustumIndex(nearest_chunks=16).coverage(query, bank).any(axis=1).sum() <= 16


def sees(frame: Frame, point: np.ndarray, query: Query) -> bool:
    """Within the query's field of view and within its reach."""
    x, y, z = frame[1].T @ (point - frame[0])
    across, down = (2 * math.degrees(math.atan2(abs(side), z)) for side in (x, y))
    is_near = math.dist(point, frame[0]) <= query.view_distance
    return bool(across <= query.field_of_view[0] and down <= query.field_of_view[1] and is_near)


def towards(point: np.ndarray, frame: Frame) -> np.ndarray:
    return np.asarray((frame[0] - point) / math.dist(frame[0], point))


def within(degrees: float, a: np.ndarray, b: np.ndarray) -> bool:
    return math.degrees(math.acos(min(1.0, max(-1.0, float(a @ b))))) <= degrees


def told_point_by_point(index: FrustumIndex, query: Query, bank: BankView) -> np.ndarray:
    """The rule as its docstring has it."""
    assert query.pose is not None
    reach, draw = query.view_distance, np.random.default_rng(index.seed)
    here = list(zip(query.pose.frame_positions, query.pose.frame_rotations, strict=True))
    window, past = (
        [list(zip(*chunk, strict=True)) for chunk in zip(poses.frame_positions, poses.frame_rotations, strict=True)]
        for poses in (query.window.poses, bank.poses)
    )
    shown = list(itertools.chain(*window))
    middle = query.pose.position + 0.5 * reach * query.pose.rotation[:, 2]
    centres = bank.poses.positions + 0.5 * reach * bank.poses.rotations[:, :, 2]
    apart = [math.dist(place, query.pose.position) for place in bank.poses.positions]
    within_reach = [row for row in range(len(bank)) if apart[row] <= 2.2 * reach]
    nearest = sorted(within_reach, key=lambda row: math.dist(centres[row], middle))[: index.nearest_chunks]
    tangents = [math.tan(math.radians(angle / 2)) for angle in query.field_of_view]
    shift, root = draw.uniform(size=3), 1.2207440846057596
    kept: list[tuple[np.ndarray, np.ndarray, float]] = []
    for number in range(index.points * index.draws):
        across, down, deep = ((shift[axis] + (number + 1) / root ** (axis + 1)) % 1 for axis in range(3))
        ray = np.array([(2 * across - 1) * tangents[0], (2 * down - 1) * tangents[1], 1.0])
        place, turn = here[number % len(here)]
        sight = turn @ ray / math.hypot(*ray)
        point = place + sight * deep * reach
        hidden = any(sees(frame, point, query) and within(30, towards(point, frame), -sight) for frame in shown)
        if not hidden and len(kept) < index.points:
            kept.append((point, sight, deep * reach))
    luck = draw.uniform(size=(index.normals, len(kept)))
    flags: list[list[list[bool]]] = []
    weights: list[float] = []
    for which, number in itertools.product(range(index.normals), range(len(kept))):
        point, sight, deep = kept[number]
        saw = [frame for row in nearest for frame in past[row] if sees(frame, point, query)]
        ways = [(math.dist(point, frame[0]) ** -2, towards(point, frame)) for frame in saw] + [(deep**-2, -sight)]
        total = sum(share for share, _ in ways)
        level = (which + luck[which, number]) / index.normals * total
        ladder = itertools.accumulate(share for share, _ in ways)
        facing = next(way for rung, (_, way) in zip(ladder, ways, strict=True) if rung >= level)
        is_shown = any(sees(frame, point, query) and within(60, towards(point, frame), facing) for frame in shown)
        if saw and within(60, facing, -sight) and not is_shown:
            sides = [
                [row in nearest and sees(f, point, query) and within(60, towards(point, f), facing) for f in chunk]
                for row, chunk in enumerate(past)
            ]
            flags.append(sides)
            weights.append(total * deep**2)
    covered = np.zeros((len(bank), COLUMNS + SPARE * (SPARE + 1) // 2), bool)
    spare = [row for rank, row in enumerate(nearest[:SPARE]) for _ in range(SPARE - rank)]
    covered[spare, COLUMNS + np.arange(len(spare))] = True
    if not flags:
        return covered
    by_chunk = np.array(flags)
    columns = np.concatenate([by_chunk[:, :, 0], by_chunk.any(axis=2)])
    worth = [(1 - index.keep_ratio) * one for one in weights] + [index.keep_ratio * one for one in weights]
    ladder_of = list(itertools.accumulate(worth))
    place_of = 0
    for column in range(COLUMNS):
        while ladder_of[place_of] < (column + 0.5) / COLUMNS * ladder_of[-1]:
            place_of += 1
        covered[:, column] = columns[place_of]
    return covered


@given(seed=st.integers(0, 2**32 - 1), points=st.integers(1, 4), at_once=st.sampled_from((1, 20, 1 << 16)))
def test_visible_pairs_are_those_of_every_frame_at_every_point(seed: int, points: int, at_once: int) -> None:
    draw = np.random.default_rng(seed)
    places, spots = draw.normal(size=(40, 1, 3)), draw.normal(size=(points, 3))
    turns = Rotation.random(40, rng=draw).as_matrix()[:, None]
    query, _ = bank_of(places[:2, [0] * 3], turns[:2, [0] * 3], view_distance=2.0)
    with mock.patch("worldkv.parts.visibility.visible_pairs._AT_ONCE", at_once):
        found = visible_pairs(spots.T, places, turns, query)
    frames = list(zip(places[:, 0], turns[:, 0], strict=True))
    seen = [(f, p) for f, frame in enumerate(frames) for p, spot in enumerate(spots) if sees(frame, spot, query)]
    assert list(zip(found.frames.tolist(), found.points.tolist(), strict=True)) == seen
    for pair, (frame, spot) in enumerate(seen):
        assert found.to_camera[:, pair] == pytest.approx(towards(spots[spot], frames[frame]), abs=1e-12)
        assert found.squared_distances[pair] == pytest.approx(math.dist(spots[spot], frames[frame][0]) ** 2)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from((0.0, 0.3, 1.0, 4.0)),
    turned=st.sampled_from((20.0, 180.0)),
    in_window=st.integers(0, 3),
    index=st.builds(
        FrustumIndex,
        points=st.integers(1, 30),
        draws=st.integers(1, 3),
        normals=st.integers(1, 4),
        nearest_chunks=st.sampled_from((3, 6, 256)),
        keep_ratio=st.sampled_from((0.25, 0.6, 1.0)),
        seed=st.integers(0, 5),
    ),
    field_of_view=st.sampled_from(((90.0, 60.0), (70.0, 80.0))),
)
def test_it_is_the_rule_told_point_by_point(
    seed: int,
    spread: float,
    turned: float,
    in_window: int,
    index: FrustumIndex,
    field_of_view: tuple[float, float],
) -> None:
    draw = np.random.default_rng(seed)
    frames = 100.0 + spread * draw.normal(size=(11, 1, 3)) + 0.02 * draw.normal(size=(11, 3, 3))
    looks = Rotation.from_euler("yx", draw.uniform(-1, 1, size=(33, 2)) * (turned, 20), degrees=True)
    turns = looks.as_matrix().reshape(11, 3, 3, 3)
    query, bank = bank_of(frames, turns, view_distance=2.0, in_window=in_window, field_of_view=field_of_view)
    assert np.array_equal(index.coverage(query, bank), told_point_by_point(index, query, bank))


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_packing_keeps_every_flag(points: int, rows: int, seed: int) -> None:
    flags = np.random.default_rng(seed).random((rows, points)) < 0.3
    bits = packed(flags)
    assert bits.shape[1] % 8 == 0
    assert (np.unpackbits(bits, axis=1)[:, :points].astype(bool) == flags).all()


@pytest.mark.parametrize("wrong", [{"points": 0}, {"points": 1001}, {"draws": 0}, {"keep_ratio": 0.0}, {"seed": -1}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SpecError):
        FrustumIndex(**wrong)
