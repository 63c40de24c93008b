"""Summarise a trajectory: length, extent, revisits and anomalies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldkv.trajectory.anomalies import RotationJump, gaps_in, rotation_jumps
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.formats.doubts import motion_in_camera
from worldkv.trajectory.read_as import ReadAs
from worldkv.trajectory.revisits import Revisits, find_revisits

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the revisits that the reported gaps stay within."""


@dataclass(frozen=True)
class PathSummary:
    """A trajectory in numbers.

    Attributes:
        name: the trajectory's name.
        frames: its video frames.
        frames_per_second: its rate; None where unknown.
        seconds: its length in time; None where unknown.
        chunks: chunks it is cut into.
        length: way travelled over all frames, in the trajectory's unit.
        extent: diagonal of the box that holds the chunks' centre positions.
        view_distance: how far the camera is taken to see.
        field_of_view: full horizontal and vertical degrees.
        revisit_share: share of chunks whose centre pose lies within a tenth of the extent and 45 degrees of that
            of a chunk more than 7 chunks ago.
        return_share: share of chunks for which such a chunk lies before a stretch in which the camera was away;
            less than `revisit_share` where the camera lingers or the trajectory is long and slow.
        never_returns: nothing to retrieve: `return_share` is 0.
        median_gap: median over revisiting chunks of the chunks since the latest such earlier chunk; None without.
        gap_quantiles: those gaps at 10, 25, 50, 75 and 90 %; empty without.
        time_gaps: start and length in seconds of stretches without samples, bridged by resampling or still there.
        rotation_jumps: single-frame rotation jumps, largest first.
        num_walls: wall segments of the trajectory's world; None in the open.
        notes: what the reader mended or wants known.
        forward_motion: median cosine between the viewing direction and the motion, over the frames that move: 1 ahead,
            0 sideways, -1 backwards; None for a standing camera.
        read_as: what the trajectory's file was taken for; None where it was made here.
    """

    name: str
    frames: int
    frames_per_second: float | None
    seconds: float | None
    chunks: int
    length: float
    extent: float
    view_distance: float
    field_of_view: tuple[float, float]
    revisit_share: float
    return_share: float
    never_returns: bool
    median_gap: float | None
    gap_quantiles: tuple[float, ...]
    time_gaps: tuple[tuple[float, float], ...]
    rotation_jumps: tuple[RotationJump, ...]
    num_walls: int | None
    notes: tuple[str, ...]
    forward_motion: float | None = None
    read_as: ReadAs | None = None

    def __repr__(self) -> str:
        return (
            f"PathSummary {self.name}: {self.frames:,} frames, {self.chunks:,} chunks, "
            f"{self.revisit_share:.0%} of chunks come back"
        )


def revisits_of(chunked: ChunkedTrajectory) -> tuple[float, Revisits]:
    """The extent of the chunks' centre positions, and the revisits among their centre poses within a tenth of it."""
    centre = chunked.frames_per_chunk // 2
    positions = chunked.camera.frame_positions[:, centre]
    extent = float(np.linalg.norm(np.ptp(positions, axis=0)))
    return extent, find_revisits(positions, chunked.camera.frame_rotations[:, centre], radius=0.1 * extent)


def describe(chunked: ChunkedTrajectory) -> PathSummary:
    """The numbers of a trajectory that was cut into chunks."""
    path = chunked.trajectory
    extent, revisits = revisits_of(chunked)
    gaps = revisits.gaps[revisits.gaps > 0]
    rate = path.frames_per_second
    motion = motion_in_camera(path.positions, path.rotations)
    seconds = None if rate is None else path.num_frames / rate
    stamps = path.timestamps
    if stamps is not None:
        seconds = float(stamps[-1] - stamps[0])
    return PathSummary(
        name=path.name,
        frames=path.num_frames,
        frames_per_second=rate,
        seconds=seconds,
        chunks=chunked.num_chunks,
        length=float(np.linalg.norm(np.diff(path.positions, axis=0), axis=1).sum()),
        extent=extent,
        view_distance=chunked.view_distance,
        field_of_view=path.field_of_view,
        revisit_share=len(gaps) / chunked.num_chunks,
        return_share=float(revisits.returns.mean()),
        never_returns=not revisits.returns.any(),
        median_gap=float(np.median(gaps)) if len(gaps) else None,
        gap_quantiles=tuple(float(gap) for gap in np.quantile(gaps, QUANTILES)) if len(gaps) else (),
        time_gaps=path.time_gaps + (() if stamps is None else gaps_in(stamps)),
        rotation_jumps=rotation_jumps(path.rotations),
        num_walls=None if path.walls is None else len(path.walls),
        notes=path.notes,
        forward_motion=None if motion is None else float(motion[2]),
        read_as=path.read_as,
    )
