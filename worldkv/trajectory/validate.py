"""Check what a reader found, and mend what is slightly off: positions, rotations, time stamps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array, orthonormalise
from worldkv.trajectory.trajectory import Trajectory

REFUSED_ORTHONORMALITY = 1e-2
"""A rotation off by more (largest entry of R^T R - 1) is refused."""

MENDED_ORTHONORMALITY = 1e-3
"""A rotation off by more is projected to the nearest one with a note; by less, silently."""

MAX_COORDINATE = 1e12
"""No world is larger; squares of larger numbers would run out of range."""

SLOWEST_RATE, FASTEST_RATE = 1e-3, 1e6
"""Frames a second that a file may claim."""

DUPLICATE_SHARE = 1e-3
"""Stamps closer than this share of the median interval are the same instant, recorded twice."""


def checked(trajectory: Trajectory, source: str, place: Callable[[int], str] | None = None) -> Trajectory:
    """The trajectory with orthonormal rotations, or a sentence on what is wrong with it.

    Args:
        trajectory: as read: positions `(frames, 3)`, rotations `(frames, 3, 3)`, timestamps `(frames,)`.
        source: the file, for messages.
        place: where a frame stands in it; `frame i` where None.

    Raises:
        TrajectoryError: empty, wrong shape, NaN or infinite, mirrored, not orthonormal, unsorted time stamps.
    """
    place = place or (lambda frame: f"frame {frame}")
    rate = trajectory.frames_per_second
    if rate is not None and not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise TrajectoryError(
            f"{source}: {rate:.3g} frames a second is no camera's rate ({SLOWEST_RATE:g} to {FASTEST_RATE:,.0f}); "
            "mend it"
        )
    positions = checked_positions(trajectory.positions, source, place)
    rotations, notes = checked_rotations(trajectory.rotations, source, place)
    if len(positions) != len(rotations):
        raise TrajectoryError(
            f"{source} has {len(positions)} positions but {len(rotations)} rotations; save one of each a frame"
        )
    mended = dataclasses.replace(trajectory, positions=positions, rotations=rotations, notes=trajectory.notes + notes)
    return mended if mended.timestamps is None else _sorted_in_time(mended, source, place)


def checked_positions(positions: Array, source: str, place: Callable[[int], str]) -> Array:
    """Positions `(frames, 3)` as contiguous float64.

    Raises:
        TrajectoryError: empty, wrong shape, NaN, infinite or beyond `MAX_COORDINATE`.
    """
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise TrajectoryError(f"{source}: positions have shape {positions.shape}; they must be (frames, 3)")
    if not len(positions):
        raise TrajectoryError(f"{source} holds no poses; record at least one frame")
    bad = ~(np.abs(positions) <= MAX_COORDINATE).all(axis=1)
    if bad.any():
        frame = int(bad.argmax())
        raise TrajectoryError(
            f"{source}, {place(frame)}: position {positions[frame].tolist()} is NaN, infinite or beyond "
            f"{MAX_COORDINATE:g}; delete that pose or record it again"
        )
    return np.ascontiguousarray(positions, dtype=np.float64)


def checked_rotations(rotations: Array, source: str, place: Callable[[int], str]) -> tuple[Array, tuple[str, ...]]:
    """Rotations `(frames, 3, 3)` projected to orthonormal, and a note where that moved them visibly.

    Raises:
        TrajectoryError: wrong shape, NaN, mirrored (negative determinant), off by more than 1e-2.
    """
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3):
        raise TrajectoryError(f"{source}: rotations have shape {rotations.shape}; they must be (frames, 3, 3)")
    bad = ~(np.abs(rotations) <= 1e6).all(axis=(1, 2))
    if bad.any():
        frame = int(bad.argmax())
        raise TrajectoryError(
            f"{source}, {place(frame)}: the rotation holds NaN or infinity; delete that pose or record it again"
        )
    with np.errstate(all="ignore"):  # of numbers near the smallest, which the next check refuses
        mirrored = np.linalg.det(rotations) < 0
    if mirrored.any():
        frame = int(mirrored.argmax())
        raise TrajectoryError(
            f"{source}, {place(frame)}: the rotation is mirrored (determinant < 0, {int(mirrored.sum())} "
            "frames); flip one axis so that x right, y down, z forward is right-handed"
        )
    off = np.abs(np.einsum("nji,njk->nik", rotations, rotations) - np.eye(3)).max(axis=(1, 2))
    worst = int(off.argmax())
    if off[worst] > REFUSED_ORTHONORMALITY:
        raise TrajectoryError(
            f"{source}, {place(worst)}: the rotation is off orthonormal by {off[worst]:.2g} (more than "
            f"{REFUSED_ORTHONORMALITY:g}); take scale and shear out of it, and check the order of the columns"
        )
    notes: tuple[str, ...] = ()
    if off[worst] > MENDED_ORTHONORMALITY:
        count = int((off > MENDED_ORTHONORMALITY).sum())
        notes = (f"{count} rotations projected to orthonormal: off by {off[worst]:.2g} at {place(worst)}",)
    return np.ascontiguousarray(orthonormalise(np.asarray(rotations, dtype=np.float64))), notes


def _sorted_in_time(trajectory: Trajectory, source: str, place: Callable[[int], str]) -> Trajectory:
    """Refuse stamps that run backwards; keep the first of poses recorded at the same instant."""
    stamps = trajectory.timestamps
    if stamps is None or stamps.shape != (trajectory.num_frames,):
        shape = None if stamps is None else stamps.shape
        raise TrajectoryError(
            f"{source}: time stamps have shape {shape} for {trajectory.num_frames} poses; save one a pose"
        )
    finite = np.isfinite(stamps)
    if not finite.all():
        raise TrajectoryError(f"{source}, {place(int((~finite).argmax()))}: the time stamp is NaN or infinite; mend it")
    steps = np.diff(stamps)
    if (steps < 0).any():
        frame = int((steps < 0).argmax()) + 1
        raise TrajectoryError(
            f"{source}, {place(frame)}: time runs backwards ({stamps[frame - 1]:.6f} s then {stamps[frame]:.6f} "
            "s); sort the poses by time stamp"
        )
    if not len(steps):
        return trajectory
    median = float(np.median(steps))
    keep = np.concatenate([[True], steps > DUPLICATE_SHARE * median])
    if not median:
        raise TrajectoryError(f"{source}: most time stamps are equal; give every pose its own, or leave them out")
    if keep.all():
        return trajectory
    dropped = int((~keep).sum())
    note = (
        f"{dropped} poses with the time stamp of the pose before them left out, first at {place(int((~keep).argmax()))}"
    )
    return dataclasses.replace(
        trajectory,
        positions=trajectory.positions[keep],
        rotations=trajectory.rotations[keep],
        timestamps=stamps[keep],
        notes=(*trajectory.notes, note),
    )
