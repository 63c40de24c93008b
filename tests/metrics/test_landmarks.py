"""Landmarks: where they are put, who sees them, and which of them count."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tests.metrics import brute_force
from tests.metrics.paths import FRAMES, chunked, flags, random_landmarks, stroll, wander
from worldkv.errors import SpecError
from worldkv.metrics.landmarks import Landmarks, place_landmarks

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40)
@given(
    seed=seeds,
    num_chunks=st.integers(1, 8),
    num_walls=st.none() | st.integers(0, 40),
    view_distance=st.sampled_from([0.7, 4.0, 30.0]),
    origin=st.sampled_from([0.0, -3000.0]),
)
def test_sight_and_counting_equal_brute_force(
    seed: int, num_chunks: int, num_walls: int | None, view_distance: float, origin: float
) -> None:
    path = wander(seed, num_chunks, num_walls=num_walls, view_distance=view_distance, origin=origin)
    landmarks = place_landmarks(path, seed=seed)
    total = landmarks.num_landmarks
    expected = brute_force.sees(path, landmarks.positions, landmarks.normals)
    seen = np.asarray(expected.any(axis=1))
    counted = brute_force.counts(seen)
    np.testing.assert_array_equal(flags(landmarks.seen_by_frame, total), expected)
    np.testing.assert_array_equal(flags(landmarks.seen, total), seen)
    np.testing.assert_array_equal(flags(landmarks.counted, total), counted)
    np.testing.assert_array_equal(landmarks.num_in_view, seen.sum(axis=1))
    np.testing.assert_array_equal(landmarks.num_counted, counted.sum(axis=1))


@settings(max_examples=40)
@given(seed=seeds, num_walls=st.none() | st.integers(0, 12))
def test_every_landmark_faces_and_is_seen_by_the_chunk_it_belongs_to(seed: int, num_walls: int | None) -> None:
    path = wander(seed, 6, num_walls=num_walls, view_distance=5.0)
    landmarks = place_landmarks(path, seed=seed)
    np.testing.assert_allclose(np.linalg.norm(landmarks.normals, axis=1), 1.0, rtol=1e-12)
    owner = np.repeat(np.arange(6), 48)
    assert flags(landmarks.seen, landmarks.num_landmarks)[owner, np.arange(len(owner))].all()
    towards = path.camera.frame_positions[owner] - landmarks.positions[:, None]
    distance = np.linalg.norm(towards, axis=2)
    straight = np.isclose(np.einsum("nfi,ni->nf", towards, landmarks.normals), distance, rtol=1e-9)
    assert (straight & (distance <= 5.0)).any(axis=1).all()


def test_landmarks_are_spread_evenly_over_range_image_and_latents() -> None:
    path = stroll(np.array([0.0, 100.0, 200.0]), view_distance=10.0)
    landmarks = place_landmarks(path, per_chunk=30_000)
    latent = np.rint(landmarks.positions[:, 2] / 100).clip(0, 2)
    np.testing.assert_allclose(np.bincount(latent.astype(int)) / 30_000, 1 / 3, atol=0.015)
    local = landmarks.positions - np.stack([0 * latent, 0 * latent, 100 * latent], axis=1)
    ranges = np.linalg.norm(local, axis=1) / 10
    across = local[:, 0] / local[:, 2]
    down = local[:, 1] / local[:, 2] / np.tan(np.radians(30))
    tenths = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(ranges, tenths), tenths, atol=0.015)
    np.testing.assert_allclose(np.quantile(across, tenths), 2 * tenths - 1, atol=0.03)
    np.testing.assert_allclose(np.quantile(down, tenths), 2 * tenths - 1, atol=0.03)


def test_walls_stop_landmarks_and_sight() -> None:
    # Two cameras look at each other from z = 0 and z = 4 through a wall at z = 2 and one behind it at z = 3.
    positions = np.zeros((6, 3))
    positions[3:, 2] = 4.0
    yaw = np.repeat([0.0, np.pi], 3)
    walls = np.array([[[-99.0, 2.0], [99.0, 2.0]], [[-99.0, 3.0], [99.0, 3.0]]])
    open_path = chunked(positions, yaw, view_distance=3.5)
    walled_path = chunked(positions, yaw, view_distance=3.5, walls=walls)
    in_the_open, walled = place_landmarks(open_path), place_landmarks(walled_path)
    depth, stopped = in_the_open.positions[:48, 2], walled.positions[:48, 2]
    assert (depth > 2).any()
    np.testing.assert_array_equal(stopped[depth < 2], depth[depth < 2])
    np.testing.assert_allclose(stopped[depth > 2], 2 * (1 - 1e-3), rtol=1e-12)
    assert (walled.positions[48:, 2] > 3).all()
    # What lies between the walls faces one of the cameras, and neither sees the other's.
    assert walled.num_in_view.tolist() == [48, 48]


@settings(max_examples=25)
@given(seed=seeds, num_walls=st.integers(1, 12))
def test_only_landmarks_beyond_a_wall_are_moved_and_only_up_to_it(seed: int, num_walls: int) -> None:
    walled_path = wander(seed, 1, num_walls=num_walls, view_distance=8.0)
    walls = walled_path.trajectory.walls
    open_path = dataclasses.replace(walled_path, trajectory=dataclasses.replace(walled_path.trajectory, walls=None))
    in_the_open, walled = place_landmarks(open_path, seed=seed), place_landmarks(walled_path, seed=seed)
    np.testing.assert_array_equal(walled.normals, in_the_open.normals)
    for intended, normal, placed in zip(in_the_open.positions, in_the_open.normals, walled.positions, strict=True):
        towards = walled_path.camera.frame_positions[0] - intended
        camera = intended + towards[np.argmax(towards @ normal / np.linalg.norm(towards, axis=1))]
        if brute_force.is_hidden(camera, intended, walls):
            # In front of the wall, and a hair further would be beyond it.
            assert not brute_force.is_hidden(camera, placed, walls)
            assert brute_force.is_hidden(camera, camera + (placed - camera) * 1.002, walls)
        else:
            np.testing.assert_array_equal(placed, intended)


def test_a_wall_hides_a_landmark_that_would_be_in_view() -> None:
    # Chunk 1 stands further back on the same line of sight; the wall between the two is what makes the difference.
    z = np.array([0.0, 0.0, 0.0, -1.0, -1.0, -1.0])
    positions = np.stack([0 * z, 0 * z, z], axis=1)
    wall = np.array([[[-9.0, -0.5], [9.0, -0.5]]])
    seen = [
        place_landmarks(chunked(positions, 0 * z, view_distance=5.0, walls=walls)).seen
        for walls in (None, np.zeros((0, 2, 2)), wall)
    ]
    shared = [int(np.bitwise_count(rows[0] & rows[1]).sum()) for rows in seen]
    assert shared[0] == shared[1] > 20
    assert shared[2] == 0


def test_bits_are_padded_with_zeros_to_whole_words() -> None:
    landmarks = place_landmarks(wander(3, 7, num_walls=None, view_distance=4.0), per_chunk=11)
    assert landmarks.num_landmarks == 77
    assert landmarks.seen_by_frame.shape == (7, FRAMES, 16)
    assert landmarks.seen.shape == landmarks.counted.shape == (7, 16)
    assert not np.unpackbits(landmarks.seen_by_frame, axis=-1)[..., 77:].any()
    assert landmarks.seen.view(np.uint64).shape == (7, 2)


@pytest.mark.parametrize(("cap", "shares"), [(100, [14, 14, 14, 15, 14, 14, 15]), (7, [1] * 7), (336, [48] * 7)])
def test_the_cap_is_spread_evenly_over_the_chunks(cap: int, shares: list[int]) -> None:
    path = stroll(np.arange(7.0).repeat(FRAMES) * 100.0, view_distance=5.0)
    landmarks = place_landmarks(path, cap=cap)
    owner = np.floor(landmarks.positions[:, 2] / 100)
    assert sorted(np.bincount(owner.astype(int), minlength=7)) == sorted(shares)
    assert (np.diff(owner) >= 0).all()


def test_fewer_landmarks_than_chunks() -> None:
    assert place_landmarks(wander(0, 9, num_walls=None, view_distance=4.0), cap=4).num_landmarks == 4


def test_the_seed_decides_everything() -> None:
    path = wander(5, 6, num_walls=4, view_distance=5.0)
    first, again, other = (place_landmarks(path, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(first.seen_by_frame, again.seen_by_frame)
    assert not np.isclose(first.positions, other.positions).any()


def test_a_walk_ahead_never_returns_and_a_pendulum_does() -> None:
    ahead = place_landmarks(stroll(np.arange(90.0), view_distance=4.0))
    assert ahead.counted_share == 0.0
    assert ahead.never_returns
    turns = np.repeat(np.tile([0.0, np.pi / 2, np.pi, -np.pi / 2], 4), FRAMES)
    back = place_landmarks(stroll(np.zeros(len(turns)), turns, view_distance=4.0))
    # Of 16 quarter turns the first sees nothing again; 1, 2, 3 are new; 0's view is the sink's for ever.
    assert back.num_counted.tolist() == [0] * 5 + [48 * 4] * 3 + [0] + [48 * 4] * 3 + [0] + [48 * 4] * 3
    assert back.counted_share == 9 / 16
    assert not back.never_returns


@pytest.mark.parametrize(("counted", "never"), [(24, True), (25, False)])
def test_never_returns_below_two_and_a_half_percent(counted: int, never: bool) -> None:
    drawn = random_landmarks(0, 2, 8, 0.5)
    landmarks = Landmarks(
        drawn.positions,
        drawn.normals,
        drawn.seen_by_frame,
        drawn.seen,
        drawn.counted,
        np.array([0, counted]),
        np.array([500, 500]),
    )
    assert landmarks.never_returns is never


def test_nothing_in_view_is_no_return() -> None:
    assert random_landmarks(0, 3, 8, 0.0).counted_share == 0.0


@pytest.mark.parametrize("wrong", [{"per_chunk": 0}, {"cap": 0}])
def test_refuses_no_landmarks(wrong: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(wrong))} must be a whole number of at least 1, got 0"):
        place_landmarks(wander(0, 2, num_walls=None, view_distance=1.0), **wrong)
