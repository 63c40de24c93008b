"""From poses as a file has them to a checked trajectory: convention, units, time, doubts, and what it was taken for."""

from __future__ import annotations

import dataclasses

import numpy as np

from worldkv.errors import SpecError
from worldkv.pose import Array
from worldkv.trajectory.anomalies import rate_of
from worldkv.trajectory.axes import inverted, to_opencv
from worldkv.trajectory.format_spec import LENGTHS, FormatSpec
from worldkv.trajectory.formats.doubts import axes_note, direction_note
from worldkv.trajectory.formats.format import Format
from worldkv.trajectory.formats.frame_stamps import seconds_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.read_as import ReadAs
from worldkv.trajectory.resample import interpolate
from worldkv.trajectory.trajectory import DEFAULT_FIELD_OF_VIEW, Trajectory
from worldkv.trajectory.validate import checked, checked_rotations

ASSUMED = "90 x 60 degrees assumed"
"""What is told of the field of view of a file without intrinsics."""

FRAMES_PER_LATENT = 4
"""Video frames of a latent frame of the models that write one pose a latent (the temporal stride of their VAE)."""


def check_options(format: Format, name: str, spec: FormatSpec) -> None:
    """Refuse an option that the format has no use for.

    Raises:
        SpecError: there is one.
    """
    odd = next((option for option in spec.given() if option not in format.options), None)
    if odd is not None:
        takes = ", ".join(sorted(format.options)) or "none"
        raise SpecError(f"format {name} takes no {odd} (it takes {takes}); leave it out")


def assembled(raw: RawPath | Trajectory, format: Format, name: str, spec: FormatSpec) -> Trajectory:
    """The trajectory of what a reader found, with what it was taken for.

    Args:
        raw: the poses as they are written; a reader of actions or recordings gives a whole trajectory.
        format: its row of the table.
        name: its name there.
        spec: what the user said, which goes before the file and the table.

    Raises:
        TrajectoryError: see `checked` and `seconds_of`.
    """
    told_by = "content" if spec.name is None else "--format"
    if isinstance(raw, Trajectory):
        return dataclasses.replace(raw, read_as=_read_as(raw, format, name, told_by))
    axes = spec.axes or raw.axes or format.axes
    direction = spec.direction or raw.direction or format.direction
    length_unit = spec.length_unit or raw.length_unit or format.length_unit
    positions, rotations, notes = raw.positions, raw.rotations, raw.notes
    if length_unit not in (None, "m"):
        with np.errstate(over="ignore"):
            positions = positions * LENGTHS[length_unit]
    place = raw.place or (lambda frame: f"frame {frame}")
    if direction == "w2c":
        # Judged as written: the inverse of a matrix that is no rotation would be blamed on the wrong numbers.
        rotations, mended = checked_rotations(rotations, raw.source, place)
        positions, rotations = inverted(positions, rotations)
        notes += mended
    positions, rotations = to_opencv(positions, rotations, axes)
    stamps: Array | None = None
    frame_rate = raw.rate
    if raw.stamps is not None:
        unit, is_given = spec.time_unit or raw.time_unit, spec.time_unit is not None
        stamps, stamp_notes = seconds_of(raw.stamps, unit, raw.source, is_given=is_given)
        notes += stamp_notes
        frame_rate = None if stamps is None else rate_of(stamps)
    angles = spec.fov or raw.field_of_view
    trajectory = checked(
        Trajectory(
            raw.name,
            positions,
            rotations,
            frames_per_second=frame_rate,
            field_of_view=angles or DEFAULT_FIELD_OF_VIEW,
            notes=notes,
            timestamps=stamps,
        ),
        raw.source,
        place,
    )
    doubt = _doubt(trajectory, format, spec, direction)
    if doubt is not None:
        trajectory = dataclasses.replace(trajectory, notes=(*trajectory.notes, doubt))
    if raw.per_latent:
        trajectory = _at_video_rate(trajectory)
    if spec.fov is not None:
        view = "given"
    elif raw.field_of_view is None:
        view = ASSUMED
    else:
        view = format.field_of_view.partition(", else")[0]
    is_own = spec.length_unit is None and raw.length_unit in (None, format.length_unit)
    read_as = dataclasses.replace(
        _read_as(trajectory, format, name, told_by),
        axes=axes,
        direction=direction,
        rotation=raw.rotation or format.rotation,
        rate=_rate_words(frame_rate, "by the time stamps" if stamps is not None else format.rate),
        field_of_view=view,
    )
    if not is_own:
        read_as = dataclasses.replace(read_as, units=f"positions in {length_unit}, read as metres")
    if raw.per_latent:
        read_as = dataclasses.replace(read_as, poses="one a latent frame, interpolated to four video frames")
    return dataclasses.replace(trajectory, read_as=read_as)


def _read_as(trajectory: Trajectory, format: Format, name: str, told_by: str) -> ReadAs:
    """What the table says of a format."""
    return ReadAs(
        format=name,
        told_by=told_by,
        axes=format.axes,
        direction=format.direction,
        rotation=format.rotation,
        units=f"positions in {'its own units' if format.units == 'its own' else format.units}",
        rate=_rate_words(trajectory.frames_per_second, format.rate),
        field_of_view=format.field_of_view,
    )


def _doubt(trajectory: Trajectory, format: Format, spec: FormatSpec, direction: str) -> str | None:
    """The most likely misreading, where nothing settles the convention."""
    positions, rotations = trajectory.positions, trajectory.rotations
    note = None
    if "direction" in format.doubts and spec.direction is None:
        note = direction_note(positions, rotations, "w2c" if direction == "w2c" else "c2w")
    if note is None and "axes" in format.doubts and spec.axes is None:
        note = axes_note(positions, rotations)
    return note


def _at_video_rate(trajectory: Trajectory) -> Trajectory:
    """One pose a video frame of one a latent frame: the latents' own poses, and three between each two of them."""
    latents = np.arange(trajectory.num_frames, dtype=np.float64)
    times: Array = np.arange(FRAMES_PER_LATENT * (trajectory.num_frames - 1) + 1) / FRAMES_PER_LATENT
    positions, rotations = interpolate(latents, trajectory.positions, trajectory.rotations, times)
    positions[::FRAMES_PER_LATENT] = trajectory.positions
    rotations[::FRAMES_PER_LATENT] = trajectory.rotations
    return dataclasses.replace(trajectory, positions=positions, rotations=rotations)


def _rate_words(rate: float | None, source: str) -> str:
    return "frame rate unknown" if rate is None else f"{rate:.4g} fps ({source})"
