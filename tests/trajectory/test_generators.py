"""Generated paths: no walls crossed, a human pace, and the revisits that were asked for."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.trajectory import GENERATORS, PathSummary, Trajectory, cut, describe, load_trajectory
from worldkv.trajectory.generators import Tour
from worldkv.trajectory.generators.floor_plan import DOOR_WIDTH, draw_plan

SOURCES = [f"generate:{name}" for name in GENERATORS] + [
    "generate:tour:rooms=2,seed=3",
    "generate:tour:rooms=30,seed=5,chunks=300,revisit=0.9,look=1",
    "generate:out-and-back:turn=false,trips=3",
    "generate:random-walk:radius=2,turning=30",
]


def summary(path: Trajectory) -> PathSummary:
    return describe(cut(path, PRESETS["wan-1.3b-480p"]))


def crossings(path: Trajectory) -> int:
    """Steps of the camera that meet a wall, by the sides each end lies on."""
    assert path.walls is not None
    floor = path.positions[:, [0, 2]]
    starts, ends = floor[:-1, None], floor[1:, None]
    a, b = path.walls[:, 0], path.walls[:, 1]

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        along, to = q - p, r - p
        return np.asarray(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])

    meets = (side(starts, ends, a) * side(starts, ends, b) <= 0) & (side(a, b, starts) * side(a, b, ends) <= 0)
    moved = (starts != ends).any(axis=-1)
    return int((meets & moved).sum())


@pytest.mark.parametrize("source", SOURCES)
def test_pace_height_and_smooth_turns(source: str) -> None:
    path = load_trajectory(source)
    assert path.name == source
    assert path.frames_per_second == 16
    speeds = 16 * np.linalg.norm(np.diff(path.positions, axis=0), axis=1)
    assert speeds.max() <= 1 + 1e-5
    assert (0.1 if "rounds" in source else 0.5) < speeds.mean()  # a guard stands still to look round
    assert (path.positions[:, 1] == -1.6).all()
    assert_allclose(path.rotations[:, 1], np.tile([0, 1, 0], (path.num_frames, 1)), atol=1e-12)  # level
    yaw = np.unwrap(np.arctan2(path.rotations[:, 0, 2], path.rotations[:, 2, 2]))
    assert np.rad2deg(np.abs(np.diff(yaw))).max() < 8


@pytest.mark.parametrize("source", SOURCES)
def test_same_parameters_same_path(source: str) -> None:
    one, two = load_trajectory(source), load_trajectory(source)
    assert np.array_equal(one.positions, two.positions) and np.array_equal(one.rotations, two.rotations)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("chunks", [1, 2, 31])
def test_chunks_are_what_was_asked_for(name: str, chunks: int) -> None:
    path = load_trajectory(f"generate:{name}:chunks={chunks}")
    assert path.num_frames == 12 * chunks
    assert cut(path, PRESETS["wan-1.3b-480p"]).num_chunks == chunks


@settings(max_examples=25)
@given(
    rooms=st.integers(2, 40),
    seed=st.integers(0, 10_000),
    revisit=st.sampled_from([0.0, 0.5, 1.0]),
    doors=st.sampled_from([0.0, 0.3, 1.0]),
    speed=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_no_tour_goes_through_a_wall(rooms: int, seed: int, revisit: float, doors: float, speed: float) -> None:
    path = load_trajectory(
        f"generate:tour:rooms={rooms},seed={seed},revisit={revisit},doors={doors},speed={speed},chunks=60"
    )
    assert crossings(path) == 0


@pytest.mark.parametrize("rooms", [2, 4, 7])
def test_a_guard_sees_every_look_round_again(rooms: int) -> None:
    path = load_trajectory(f"generate:rounds:rooms={rooms},seed=3,chunks=400")
    assert crossings(path) == 0
    chunked = cut(path, PRESETS["trained"])
    views = np.concatenate([chunked.camera.frame_positions, chunked.camera.frame_rotations[..., 2]], axis=-1)
    returns = 0
    for chunk in range(len(views)):
        apart = np.abs(views[: max(0, chunk - 3)] - views[chunk]).max(axis=(1, 2))
        returns += bool((apart < 1e-9).any())
    assert returns >= 10 * rooms, "all of a second round at least"


def test_a_wall_across_a_door_would_be_noticed() -> None:
    path = load_trajectory("generate:tour:rooms=2,chunks=60")
    assert path.walls is not None
    door = path.walls[:2].reshape(4, 2)  # the two halves of the only inner wall
    blocked = Trajectory("x", path.positions, path.rotations, walls=door[[1, 2]][None])
    assert crossings(blocked) > 0


def test_long_tour_stays_in_its_building() -> None:
    path = load_trajectory("generate:tour:chunks=3000,rooms=9,seed=2")
    assert crossings(path) == 0
    assert path.walls is not None
    low, high = path.walls.reshape(-1, 2).min(axis=0), path.walls.reshape(-1, 2).max(axis=0)
    floor = path.positions[:, [0, 2]]
    assert (floor > low + 0.5).all() and (floor < high - 0.5).all()


@given(rooms=st.integers(2, 60), seed=st.integers(0, 1000), extra=st.sampled_from([0.0, 0.5, 1.0]))
def test_every_room_can_be_reached_and_doors_are_open(rooms: int, seed: int, extra: float) -> None:
    plan = draw_plan(rooms, extra, np.random.default_rng(seed))
    assert nx.is_connected(plan.graph) and plan.graph.number_of_nodes() == rooms
    if extra == 0:
        assert plan.graph.number_of_edges() == rooms - 1
    for _, _, data in plan.graph.edges(data=True):
        a, b = plan.walls[:, 0], plan.walls[:, 1]
        along = np.clip(((data["door"] - a) * (b - a)).sum(1) / ((b - a) ** 2).sum(1), 0, 1)
        distances = np.linalg.norm(a + along[:, None] * (b - a) - data["door"], axis=1)
        assert distances.min() == pytest.approx(DOOR_WIDTH / 2)
    # Every side of every room is wall but for the doors; inner walls are shared by two rooms.
    sides = 2 * (plan.rooms[:, 1] - plan.rooms[:, 0]).sum()
    walls = np.linalg.norm(plan.walls[:, 1] - plan.walls[:, 0], axis=1).sum()
    outer = _outer_length(plan.rooms)
    assert walls == pytest.approx((sides + outer) / 2 - DOOR_WIDTH * plan.graph.number_of_edges())


def _outer_length(rooms: np.ndarray) -> float:
    """Length of the sides that no other room shares."""
    total = 0.0
    for i, (low, high) in enumerate(rooms):
        for axis in range(2):
            other = 1 - axis
            for edge, facing in ((low, 1), (high, 0)):
                shared = any(
                    j != i and rooms[j, facing, axis] == edge[axis] and rooms[j, 0, other] == low[other]
                    for j in range(len(rooms))
                )
                total += 0.0 if shared else float(high[other] - low[other])
    return total


def test_revisit_controls_do_something() -> None:
    rare = [summary(load_trajectory(f"generate:tour:rooms=60,chunks=250,revisit=0,seed={s}")) for s in range(4)]
    often = [summary(load_trajectory(f"generate:tour:rooms=60,chunks=250,revisit=0.9,seed={s}")) for s in range(4)]
    assert np.mean([p.return_share for p in often]) > np.mean([p.return_share for p in rare]) + 0.2
    one = [load_trajectory(f"generate:tour:rooms=20,chunks=300,look={p}") for p in (0, 1)]
    stops = [(np.linalg.norm(np.diff(path.positions, axis=0), axis=1) == 0).mean() for path in one]
    assert stops[1] > stops[0]


@pytest.mark.parametrize(("gap", "goals"), [(20, {2, 3}), (60, {3}), (1000, {3}), (0, {1, 2, 3})])
def test_known_rooms_are_left_alone_for_a_while(gap: int, goals: set[int]) -> None:
    random, now = np.random.default_rng(0), 12 * 100
    visits = {0: now, 1: now - 12 * 5, 2: now - 12 * 50, 3: now - 12 * 80}
    tour = Tour(rooms=6, revisit=1.0, gap=gap)
    assert {tour._next_goal(0, visits, now, random) for _ in range(60)} == goals
    curious = Tour(rooms=6, revisit=0.0, gap=gap)
    assert {curious._next_goal(0, visits, now, random) for _ in range(60)} == {4, 5}


def test_loop_laps_coincide() -> None:
    path = load_trajectory("generate:loop:chunks=90,laps=3")
    assert_allclose(path.positions[:360], path.positions[360:720], atol=1e-9)
    assert_allclose(path.rotations[:360], path.rotations[720:], atol=1e-9)
    centre = path.positions.mean(axis=0)
    radii = np.linalg.norm(path.positions - centre, axis=1)
    assert_allclose(radii, radii[0], rtol=1e-9)
    ahead = np.einsum("ni,ni->n", np.diff(path.positions, axis=0), path.rotations[:-1, :, 2])
    assert (ahead > 0.999 * np.linalg.norm(np.diff(path.positions, axis=0), axis=1)).all()
    assert centre[0] > 0  # to the right


def test_out_and_back_comes_home() -> None:
    path = load_trajectory("generate:out-and-back:trips=2")
    assert np.abs(path.positions[[0, 720, 1439], 2]).max() < 0.5
    assert path.positions[:, 2].max() > 15
    quarter = path.rotations[[100, 460, 820], :, 2]
    assert_allclose(quarter, [[0, 0, 1], [0, 0, -1], [0, 0, 1]], atol=1e-9)
    backwards = load_trajectory("generate:out-and-back:turn=false")
    assert np.ptp(backwards.rotations, axis=0).max() == 0


def test_spiral_looks_ahead_and_grows() -> None:
    path = load_trajectory("generate:spiral")
    moves = np.diff(path.positions, axis=0)
    ahead = np.einsum("ni,ni->n", moves, path.rotations[:-1, :, 2]) / np.linalg.norm(moves, axis=1)
    assert ahead.min() > 0.99
    assert (np.diff(np.linalg.norm(path.positions[:, [0, 2]], axis=1)) > 0).all()


def test_random_walk_stays_near() -> None:
    path = load_trajectory("generate:random-walk:radius=5,chunks=1000,seed=9")
    assert np.linalg.norm(path.positions[:, [0, 2]], axis=1).max() < 5 + 2 * 2.5
    other = load_trajectory("generate:random-walk:radius=5,chunks=1000,seed=10")
    assert not np.allclose(path.positions, other.positions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tuor", "did you mean tour"),
        ("", "known: loop"),
        ("tour:romms=3", "did you mean rooms"),
        ("tour:rooms=1", "rooms must be 2 to 400, got 1"),
        ("tour:rooms=2.5", "whole number"),
        ("tour:revisit=nan", "revisit must be 0 to 1"),
        ("tour:chunks=0", "chunks must be"),
        ("tour:rooms", "name=value"),
        ("loop:seed=3", "no parameter 'seed'"),
        ("out-and-back:turn=maybe", "true or false"),
        ("spiral:turns=4", "turns must be 0.1 to 3"),
        ("loop:speed=-1", "speed"),
    ],
)
def test_errors_name_the_cure(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_trajectory(f"generate:{text}")
