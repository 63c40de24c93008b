"""Summarise a trajectory: `describe` and its result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.experiments.inputs import GeometryLike, as_geometry, as_path
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.result import Result
from worldkv.files import finite
from worldkv.geometry import DEFAULT_GEOMETRY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.report.printer import Printer
    from worldkv.trajectory import PathSummary
    from worldkv.trajectory.loaded import LoadedPath


@dataclass(frozen=True, repr=False, eq=False)
class Description(Result):
    """A trajectory in numbers.

    Attributes:
        path: the trajectory cut into chunks, and its summary.
    """

    path: LoadedPath

    @property
    def summary(self) -> PathSummary:
        """Length, frame rate, view, revisits and irregularities."""
        return self.path.summary

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The document as the only row."""
        return [self.to_dict()]

    def to_dict(self) -> dict[str, Any]:
        """The document of `worldkv trajectory --json`."""
        from worldkv.report.trajectory_summary import path_document

        document: dict[str, Any] = finite(path_document(self.path))
        return document

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.trajectory_summary import write_path

        write_path(out, self.path)

    def plot(self, file: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the trajectory from above.

        Args:
            file: where it is saved too; the suffix says png, svg or pdf.

        Raises:
            OutputError: it cannot be written.
        """
        from worldkv.plots.style import saved
        from worldkv.plots.track import draw_track

        figure = draw_track(self.path)
        return saved(figure, file)

    def __repr__(self) -> str:
        summary = self.summary
        return (
            f"Description of {summary.name}: {summary.frames:,} frames, {summary.chunks:,} chunks, "
            f"{summary.revisit_share:.0%} of chunks come back"
        )


def describe(
    trajectory: TrajectoryLike,
    *,
    geometry: GeometryLike = DEFAULT_GEOMETRY,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    progress: Progress = SILENT,
) -> Description:
    """Summarise a trajectory: length, view, revisits, irregularities.

    Args:
        trajectory: see `compare`.
        geometry: the model's cache shape, which says how long a chunk is.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        fps: resample to this rate.
        format: a file's format; detected where None.
        progress: where progress is reported.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
    """
    shape = as_geometry(geometry)
    return Description(
        as_path(trajectory, shape, format=format, fps=fps, view_distance=view_distance, progress=progress)
    )
