"""Signs that a file was read in another convention than it was written in; each costs a note that names the cure."""

from __future__ import annotations

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.axes import inverted
from worldkv.trajectory.format_spec import Direction

ALONG_AN_AXIS = 0.85
"""Median cosine from which on a camera is said to move along one of its axes."""

SHORTER, SMOOTHER = 0.85, 0.5
"""A path whose inverse is so much shorter, and bends so much less, was probably written the other way round."""

TURNED_DEGREES = 20.0
"""Two frames that differ by more tell whether motion goes with the camera."""

SAMPLES = 120
"""Frames that the order of quaternions is judged by."""


def motion_in_camera(positions: Array, rotations: Array) -> Array | None:
    """Median cosines `(3,)` of the motion to camera axes x right, y down, z forward; None for a standing camera.

    Args:
        positions: `(frames, 3)`.
        rotations: camera-to-world `(frames, 3, 3)`.
    """
    steps = np.diff(positions, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    moves = lengths > 1e-9 * (1 + np.abs(positions).max())
    if not moves.any():
        return None
    steps, lengths = steps[moves], lengths[moves]
    return np.asarray(
        np.median(np.einsum("nji,nj->ni", rotations[:-1][moves], steps) / lengths[:, None], axis=0), dtype=np.float64
    )


def axes_note(positions: Array, rotations: Array) -> str | None:
    """A note where a camera moves sideways, up or backwards throughout, as it does in another program's axes."""
    motion = motion_in_camera(positions, rotations)
    if motion is None or len(positions) < 3:
        return None
    side, down, ahead = (float(value) for value in motion)
    if abs(side) > ALONG_AN_AXIS:
        where, cosine = "sideways, as robots do whose x points forward", side
        cure = "ros (x forward, y left, z up) or ned" if side > 0 else "lub or another three letters"
    elif abs(down) > ALONG_AN_AXIS:
        where, cosine = f"{'down' if down > 0 else 'up'}", down
        cure = "rfu (x right, y forward, z up) or another three letters" if down > 0 else "three letters such as rbd"
    elif ahead < -ALONG_AN_AXIS:
        where, cosine, cure = "backwards, as cameras of OpenGL and Blender look along -z", ahead, "opengl"
    else:
        return None
    return (
        f"the camera moves {where} (cosine {abs(cosine):.2f} in the median); if its axes are not x right, y down, "
        f"z forward, add --axes {cure}"
    )


def direction_note(positions: Array, rotations: Array, direction: Direction) -> str | None:
    """A note where the path would be much smoother the other way round.

    Turning a pose written the wrong way swings it about the origin. A camera that circles the origin and looks at it
    stands still in its own frame, and is no sign of anything.

    Args:
        positions: camera positions as read `(frames, 3)`.
        rotations: camera-to-world, likewise.
        direction: which of the two the file was taken for.
    """
    if len(positions) < 3:
        return None
    other, _ = inverted(positions, rotations)
    way, other_way = (float(np.linalg.norm(np.diff(p, axis=0), axis=1).sum()) for p in (positions, other))
    bends, other_bends = (float(np.linalg.norm(np.diff(p, n=2, axis=0), axis=1).sum()) for p in (positions, other))
    if other_way >= SHORTER * way or other_bends >= SMOOTHER * bends or _looks_at_origin(positions, rotations):
        return None
    read, instead = ("camera-to-world", "w2c") if direction == "c2w" else ("world-to-camera", "c2w")
    return (
        f"poses are taken as {read}, but the other way round the path is smoother, {other_way / way:.0%} as long; "
        f"if they are {'world-to-camera' if instead == 'w2c' else 'camera-to-world'}, add --direction {instead}"
    )


def _looks_at_origin(positions: Array, rotations: Array) -> bool:
    """Whether the camera keeps its distance from the origin and looks at it."""
    distances = np.linalg.norm(positions, axis=1)
    inward = -np.einsum("ni,ni->n", positions, rotations[:, :, 2])
    return bool(np.median(inward) > 0.95 * np.median(distances) and np.std(distances) < 0.2 * np.mean(distances))


def moves_with_camera(positions: Array, rotations: Array) -> float | None:
    """How alike motion is, seen from the camera, at frames between which it turned: 1 where it always goes ahead.

    None where the camera does not turn by 20 degrees, or stands.
    """
    stride = max(1, len(positions) // SAMPLES)
    places, looks = positions[::stride], rotations[::stride]
    steps = np.diff(places, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    moves = lengths > 0.2 * float(np.median(lengths)) if len(lengths) else np.zeros(0, dtype=bool)
    if moves.sum() < 8:
        return None
    steps, looks = steps[moves] / lengths[moves, None], looks[:-1][moves]
    seen = np.einsum("nji,nj->ni", looks, steps)
    first, second = np.triu_indices(len(seen), 1)
    near = second - first <= max(5, len(seen) // 8)
    first, second = first[near], second[near]
    traces = np.einsum("nij,nij->n", looks[first], looks[second])
    turned = traces < 1 + 2 * np.cos(np.deg2rad(TURNED_DEGREES))
    if turned.sum() < 10:
        return None
    return float(np.einsum("ni,ni->n", seen[first[turned]], seen[second[turned]]).mean())
