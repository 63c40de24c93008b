"""Landmarks along a trajectory and the chunks that see them, for revisit recall."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError
from worldkv.pose import Array, frustum_tangents
from worldkv.trajectory.chunked import ChunkedTrajectory

Bits = NDArray[np.uint8]
"""Booleans over landmarks in numpy's `packbits` order, padded with zeros to whole 64-bit words."""

NORMAL_COSINE = 0.5
"""A landmark shows its face to cameras within 60 degrees of its normal."""

NEVER_RETURNS_SHARE = 0.025
"""Below this share of counted among seen landmarks a trajectory is taken never to come back."""

WALL_CLEARANCE = 1e-3
"""How far in front of a wall a landmark is put, as a share of its distance to the camera."""


@dataclass(frozen=True)
class Landmarks:
    """Points along a trajectory and what every latent frame saw of them.

    A landmark is seen where a latent frame has it in its frustum, within 60 degrees of its normal, and no
    wall stands between. It counts at a step when the chunk being generated sees it, some earlier chunk saw
    it, and neither the sink (chunk 0) nor the last two chunks did: only memory can know it then.

    Attributes:
        positions: world points `(landmarks, 3)` in the trajectory's unit, in the order of their chunks.
        normals: unit vectors towards the camera that each was placed from `(landmarks, 3)`.
        seen_by_frame: bits `(chunks, frames, bytes)`; bytes is a multiple of 8, so a uint64 view works.
        seen: bits `(chunks, bytes)`, seen by any of the chunk's latent frames.
        counted: bits `(chunks, bytes)`, what counts at the step that generates the chunk.
        num_counted: landmarks that count at each step `(chunks,)`.
        num_in_view: landmarks that each chunk sees `(chunks,)`.
    """

    positions: Array
    normals: Array
    seen_by_frame: Bits
    seen: Bits
    counted: Bits
    num_counted: NDArray[np.int64]
    num_in_view: NDArray[np.int64]

    def __repr__(self) -> str:
        chunks = len(self.seen)
        return f"Landmarks: {self.num_landmarks:,} over {chunks:,} chunks, {self.counted_share:.1%} of those seen count"

    @cached_property
    def seen_by_word(self) -> NDArray[np.uint64]:
        """The words of `seen` side by side `(words, chunks)`: what many chunks saw of few landmarks is read at once."""
        return np.ascontiguousarray(self.seen.view(np.uint64).T)

    @property
    def num_landmarks(self) -> int:
        """Landmarks in all."""
        return len(self.positions)

    @property
    def counted_share(self) -> float:
        """Counted among seen landmarks, over all steps; 0 where nothing is ever seen."""
        in_view = int(self.num_in_view.sum())
        return int(self.num_counted.sum()) / in_view if in_view else 0.0

    @property
    def never_returns(self) -> bool:
        """Whether too little ever comes back for recall to mean anything."""
        return self.counted_share < NEVER_RETURNS_SHARE


def place_landmarks(chunked: ChunkedTrajectory, *, seed: int = 0, per_chunk: int = 48, cap: int = 32_768) -> Landmarks:
    """Place landmarks along a trajectory and find the frames that see them; the same seed gives the same landmarks.

    Each lies on a ray through a random image point of one of its chunk's latent frames, at a distance uniform
    up to `view_distance` (Euclidean). An even density in space was tried too: it puts most landmarks far away,
    where most chunks of a small scene see them, and random retrieval then beats retrieval by pose on a real
    desk (TUM fr2_desk).

    Args:
        chunked: the trajectory, with its field of view and walls.
        seed: seed of the draw.
        per_chunk: landmarks placed from each chunk.
        cap: most landmarks in all; above it every chunk gets its even share.

    Raises:
        SpecError: `per_chunk` or `cap` is less than 1.
    """
    for name, value in (("per_chunk", per_chunk), ("cap", cap)):
        if value < 1:
            raise SpecError(f"{name} must be a whole number of at least 1, got {value!r}")
    positions, normals = _place(chunked, np.random.default_rng(seed), per_chunk, cap)
    seen_by_frame = _judge(chunked, positions, normals)
    seen: Bits = np.bitwise_or.reduce(seen_by_frame, axis=1)
    counted = _counted(seen)
    return Landmarks(positions, normals, seen_by_frame, seen, counted, _num_bits(counted), _num_bits(seen))


def _place(chunked: ChunkedTrajectory, rng: np.random.Generator, per_chunk: int, cap: int) -> tuple[Array, Array]:
    """Points and normals `(landmarks, 3)`."""
    chunks = chunked.num_chunks
    total = min(cap, per_chunk * chunks)
    # Even shares in whole numbers: chunk i gets those from i * total // chunks up to the next one's.
    chunk_ids = np.repeat(np.arange(chunks), np.diff(np.arange(chunks + 1) * total // chunks))
    frame_index = rng.integers(chunked.frames_per_chunk, size=total)
    tangent_x, tangent_y = frustum_tangents(chunked.trajectory.field_of_view)
    rays = np.ones((total, 3))
    rays[:, :2] = rng.uniform(-1.0, 1.0, (total, 2)) * (tangent_x, tangent_y)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    rays = np.einsum("nij,nj->ni", chunked.camera.frame_rotations[chunk_ids, frame_index], rays)
    cameras = chunked.camera.frame_positions[chunk_ids, frame_index]
    sight_lines = rays * rng.uniform(0.0, chunked.view_distance, (total, 1))
    if chunked.trajectory.walls is not None:
        sight_lines *= _share_before_walls(cameras, sight_lines, chunked.trajectory.walls)[:, None]
    return cameras + sight_lines, -rays


def _share_before_walls(cameras: Array, sight_lines: Array, walls: Array) -> Array:
    """Share of each sight line that lies in front of the first wall it meets; 1 where it meets none."""
    first = np.full(len(cameras), np.inf)
    qx, qz = sight_lines[:, 0], sight_lines[:, 2]
    # Seen from above, from the camera: the wall's ends lie on either side of the sight line q, which meets the wall's
    # line a + t (b - a) at `share` of its length. A wall along q divides by zero; the comparison then drops it.
    for (ax, az), (bx, bz) in walls:
        ax, az, bx, bz = ax - cameras[:, 0], az - cameras[:, 2], bx - cameras[:, 0], bz - cameras[:, 2]
        ends_apart = (qx * az - qz * ax) * (qx * bz - qz * bx) <= 0
        speed = (bx - ax) * qz - (bz - az) * qx
        with np.errstate(divide="ignore", invalid="ignore"):
            share = ((bx - ax) * az - (bz - az) * ax) / speed
        np.minimum(first, share, out=first, where=ends_apart & (share > 0))
    return np.where(first < 1, first * (1 - WALL_CLEARANCE), 1.0)


def _judge(chunked: ChunkedTrajectory, points: Array, normals: Array) -> Bits:
    """Which landmarks each latent frame sees, as bits `(chunks, frames, bytes)`."""
    positions = chunked.camera.frame_positions.reshape(-1, 3)
    view_distance, walls = chunked.view_distance, chunked.trajectory.walls
    sides = _frustum_sides(chunked)
    bits = np.zeros((len(positions), -(-len(points) // 64) * 8), np.uint8)
    row = np.zeros(bits.shape[1] * 8, np.bool_)
    axis = int(np.ptp(points, axis=0).argmax())  # sorted along the longest axis, most landmarks need no look
    order = np.argsort(points[:, axis], kind="stable")
    by_axis, along = points[order], points[order, axis]
    # Frames that stand close together share the list of landmarks and walls within reach of any of them, and judge that
    # alone: what is left out is too far away for all of them.
    for frames in _neighbourhoods(positions, view_distance / 4):
        centre = positions[frames].mean(axis=0)
        radius = np.linalg.norm(positions[frames] - centre, axis=1).max()
        reach = (view_distance + radius) * (1 + 1e-9)  # a hair more, so that rounding loses none
        low, high = np.searchsorted(along, (centre[axis] - reach, centre[axis] + reach))
        apart = by_axis[low:high] - centre
        near = np.sort(order[low:high][np.einsum("ij,ij->i", apart, apart) <= reach * reach])
        near_points, near_normals = points[near].T.copy(), normals[near].T.copy()
        near_walls = None if walls is None else _walls_within(walls, centre[[0, 2]], reach)
        for frame in frames:
            offsets = near_points - positions[frame][:, None]
            ids = np.flatnonzero((sides[frame] @ offsets >= 0).all(axis=0))
            offsets = offsets[:, ids]
            squared = np.einsum("ij,ij->j", offsets, offsets)
            facing = np.einsum("ij,ij->j", offsets, near_normals[:, ids]) <= -NORMAL_COSINE * np.sqrt(squared)
            seen = facing & (squared <= view_distance * view_distance) & (squared > 0)
            ids = near[ids[seen]]
            if near_walls is not None:
                ids = ids[_unhidden(positions[frame][[0, 2]], offsets[::2, seen], near_walls)]
            row[ids] = True
            bits[frame] = np.packbits(row)
            row[ids] = False  # all False again for the next frame, without touching the rest
    return bits.reshape(*chunked.camera.frame_positions.shape[:2], -1)


def _frustum_sides(chunked: ChunkedTrajectory) -> Array:
    """Inward normals of the four sides of each latent frame's frustum `(chunks * frames, 4, 3)`.

    A point on the inner side of all four is in front too, so one product says what
    `worldkv.pose.in_frustum` says.
    """
    axes = np.swapaxes(chunked.camera.frame_rotations.reshape(-1, 3, 3), 1, 2)
    x, y, z = axes[:, 0], axes[:, 1], axes[:, 2]
    tangent_x, tangent_y = frustum_tangents(chunked.trajectory.field_of_view)
    return np.stack([tangent_x * z - x, tangent_x * z + x, tangent_y * z - y, tangent_y * z + y], axis=1)


def _neighbourhoods(positions: Array, edge: float) -> list[NDArray[np.intp]]:
    """Indices of frames that stand in one cube of side `edge`: tests that are true of the cube are shared."""
    cubes = np.floor(positions / edge).astype(np.int64)
    _, cube_of = np.unique(cubes, axis=0, return_inverse=True)
    order = np.argsort(cube_of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(cube_of[order])) + 1)


def _walls_within(walls: Array, centre: Array, reach: float) -> Array:
    """Walls that come within `reach` of `centre` (2,), nearest first."""
    along = walls[:, 1] - walls[:, 0]
    length = np.einsum("ij,ij->i", along, along)
    share = np.einsum("ij,ij->i", centre - walls[:, 0], along) / np.where(length > 0, length, 1.0)
    nearest = walls[:, 0] + np.clip(share, 0.0, 1.0)[:, None] * along - centre
    distance = np.sqrt(np.einsum("ij,ij->i", nearest, nearest))
    order = np.argsort(distance, kind="stable")
    return np.asarray(walls[order[distance[order] <= reach]])


def _unhidden(camera: Array, offsets: Array, walls: Array) -> NDArray[np.intp]:
    """Indices of the points that no wall hides from `camera` (2,).

    Sight lines `offsets` (2, points) lead from the camera to the points, walls are `(walls, 2, 2)`. The
    nearest walls go first, a few at a time: they hide most, and what is hidden is not tested again.
    """
    left = np.arange(offsets.shape[1])
    ends = _walls_ahead(walls - camera, offsets)
    start, width = 0, 4
    while start < len(ends) and len(left):
        seen = ~_hides(ends[start : start + width], offsets).any(axis=0)
        left, offsets = left[seen], offsets[:, seen]
        start, width = start + width, width * 2
    return left


def _walls_ahead(ends: Array, offsets: Array) -> Array:
    """The walls that reach into the wedge of the sight lines; `ends` (walls, 2, 2) are seen from the camera."""
    middle = offsets.sum(axis=1)
    ahead = middle @ offsets
    if not len(ahead) or ahead.min() <= 0:  # nothing to hide, or sight lines all round: no wedge
        return ends
    slope = (middle[0] * offsets[1] - middle[1] * offsets[0]) / ahead
    (ux, uz), (vx, vz) = offsets[:, slope.argmin()], offsets[:, slope.argmax()]
    inwards = np.array([middle, (-uz, ux), (vz, -vx)])
    return np.asarray(ends[(ends @ inwards.T >= 0).any(axis=1).all(axis=1)])


def _hides(ends: Array, offsets: Array) -> NDArray[np.bool_]:
    """Whether each wall `(walls, 2, 2)`, seen from the camera, crosses each sight line: `(walls, points)`."""
    a, b = ends[:, 0], ends[:, 1]
    along = b - a
    # Camera and point lie on different sides of the wall's line, and its ends on different sides of the sight line. The
    # point is the camera plus the sight line, and a cross product is linear: its side is the camera's plus `wall`.
    side_of_camera = (along[:, 1] * a[:, 0] - along[:, 0] * a[:, 1])[:, None]
    # Cross products of the wall, and of its two ends, with every sight line: one product of matrices.
    turn = np.concatenate([along, a, b])[:, ::-1] * (-1.0, 1.0) @ offsets
    wall, end_a, end_b = turn.reshape(3, len(ends), -1)
    return (side_of_camera * (side_of_camera + wall) < 0) & (end_a * end_b <= 0)


def _counted(seen: Bits) -> Bits:
    """What counts at each step, as bits `(chunks, bytes)`, from what each chunk saw."""
    words = seen.view(np.uint64)
    counted = np.zeros_like(words)
    earlier = np.zeros_like(words[0])
    for step in range(1, len(words)):
        earlier |= words[step - 1]
        # What any policy's window holds without remembering: the sink and the last two chunks.
        in_window = words[0] | words[step - 1] | words[max(step - 2, 0)]
        counted[step] = words[step] & earlier & ~in_window
    return counted.view(np.uint8)


def _num_bits(bits: Bits) -> NDArray[np.int64]:
    """Bits set in each row of `(rows, bytes)`."""
    return np.asarray(np.bitwise_count(bits.view(np.uint64)).sum(axis=1, dtype=np.int64))
