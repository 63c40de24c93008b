"""Panels of a trajectory from above: where it comes back, and the chunks that one step fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldkv.plots.style import GREY, INK, PALE, REVISIT
from worldkv.trajectory.loaded import LoadedPath, revisiting_chunks

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from worldkv.plots.moment import Moment
    from worldkv.pose import Array

_AXES = "xyz"

_PANEL_RATIO = 1.4
"""Width of a panel over its height."""

CAMERA = "#d55e00"
"""The camera of the step in question."""


@dataclass(frozen=True)
class MapProjection:
    """The plane that a trajectory is drawn on: the one its cameras stand upright on.

    Attributes:
        across: world axis to the right of the page.
        along: world axis up the page.
        positions: camera positions at every latent frame `(frames, 2)`.
        centres: mean positions of every chunk `(chunks, 2)`.
        headings: where every chunk's camera looks, as unit vectors on the page `(chunks, 2)`.
        only_turns: the camera stands still; its positions are then where it looks, farther out the later.
    """

    across: int
    along: int
    positions: Array
    centres: Array
    headings: Array
    only_turns: bool

    @classmethod
    def of(cls, path: LoadedPath) -> MapProjection:
        """The plane of `path`; x to the right and z up the page where y points down, as in most camera paths."""
        import numpy as np

        camera = path.chunked.camera
        upright = -camera.rotations[:, :, 1].mean(axis=0)
        axis = int(np.argmax(np.abs(upright)))
        # Right-handed worlds seen from above: the page's two axes turn into the one that points at the reader.
        across, along = (axis + 1) % 3, (axis + 2) % 3
        if upright[axis] < 0:
            across, along = along, across
        page = [across, along]
        positions, centres = camera.frame_positions.reshape(-1, 3)[:, page], camera.positions[:, page]
        headings = _units(camera.rotations[:, :, 2][:, page])
        only_turns = path.summary.extent <= 1e-6 * path.summary.view_distance
        if only_turns:
            headings_by_frame = _units(camera.frame_rotations.reshape(-1, 3, 3)[:, :, 2][:, page])
            late = path.summary.view_distance * np.linspace(0.35, 1.0, len(headings_by_frame))[:, None]
            positions, centres = (
                headings_by_frame * late,
                headings * late[path.chunked.frames_per_chunk // 2 :: path.chunked.frames_per_chunk],
            )
        return cls(across, along, positions, centres, headings, only_turns)

    def frame(self, axes: Axes, shown: Array, margin: float) -> None:
        """Set equal scales round the points `shown` `(points, 2)` with a margin, and name the axes."""
        low, high = shown.min(axis=0) - margin, shown.max(axis=0) + margin
        wide, tall = high - low
        spare_x, spare_y = max(0.0, _PANEL_RATIO * tall - wide) / 2, max(0.0, wide / _PANEL_RATIO - tall) / 2
        axes.set_xlim(low[0] - spare_x, high[0] + spare_x)
        axes.set_ylim(low[1] - spare_y, high[1] + spare_y)
        axes.set_aspect("equal", adjustable="box")
        if self.only_turns:
            axes.set_xlabel("the camera only turns: drawn where it looks, farther out the later")
            axes.tick_params(labelbottom=False, labelleft=False)
        else:
            axes.set_xlabel(f"{_AXES[self.across]}, in the path's unit")
            axes.set_ylabel(f"{_AXES[self.along]}, in the path's unit")


def xy(points: Array) -> tuple[Array, Array]:
    """Points `(n, 2)` as the two rows that matplotlib takes."""
    return points[:, 0], points[:, 1]


def _units(vectors: Array) -> Array:
    """Vectors `(n, 2)` at length 1; those of no length stay."""
    import numpy as np

    length: Array = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def draw_walls(axes: Axes, path: LoadedPath, projection: MapProjection) -> None:
    """Draw the walls of a generated world, which stand on the x-z plane."""
    from matplotlib.collections import LineCollection

    walls = path.chunked.trajectory.walls
    if walls is not None and {projection.across, projection.along} == {0, 2}:
        ends = walls if projection.across == 0 else walls[:, :, ::-1]
        axes.add_collection(LineCollection(list(ends), colors=INK, linewidths=1.8, zorder=1))


def draw_path(axes: Axes, path: LoadedPath, moment: Moment | None) -> None:
    """Draw the whole trajectory, the places it comes back to, and the step of the other panel."""
    import numpy as np

    projection, returns = MapProjection.of(path), revisiting_chunks(path)
    draw_walls(axes, path, projection)
    axes.plot(*projection.positions.T, color=GREY, linewidth=1.2, zorder=2)
    if returns.any():
        axes.scatter(*xy(projection.centres[returns]), s=26, color=REVISIT, zorder=3, label="comes back", linewidths=0)
    axes.scatter(*xy(projection.positions[:1]), s=46, marker="s", color=INK, zorder=4, label="start")
    if moment is not None:
        axes.scatter(
            *xy(projection.centres[moment.step, None]),
            s=110,
            marker="*",
            color=CAMERA,
            zorder=5,
            label="the step at right",
        )
    axes.legend(loc="best", fontsize=9, frameon=True, framealpha=0.85, edgecolor="none")
    axes.set_title(f"The path from above: {path.summary.revisit_share:.0%} of chunks come back")
    walls = path.chunked.trajectory.walls
    shown = projection.positions if walls is None else np.concatenate([projection.positions, walls.reshape(-1, 2)])
    projection.frame(axes, shown, 0.04 * path.summary.extent or 0.1 * path.summary.view_distance)


def draw_moment(axes: Axes, path: LoadedPath, moment: Moment | None, palette: dict[str, str]) -> None:
    """Draw one step close up: the camera, its view, and the chunks fetched for it."""
    if moment is None:
        axes.axis("off")
        axes.text(0.5, 0.5, "no policy here retrieves anything", ha="center", va="center", transform=axes.transAxes)
        return
    import numpy as np

    projection, colour = MapProjection.of(path), palette[moment.label]
    here, fetched = projection.centres[moment.step], projection.centres[list(moment.retrieved)]
    draw_walls(axes, path, projection)
    per_chunk = path.chunked.frames_per_chunk
    axes.plot(*projection.positions[: moment.step * per_chunk].T, color=GREY, linewidth=1.2, zorder=2)
    axes.plot(*projection.positions[moment.step * per_chunk :].T, color=PALE, linewidth=1.2, zorder=2)
    _draw_view(axes, path, 0 * here if projection.only_turns else here, projection.headings[moment.step])
    for chunk, place, heading in zip(
        moment.retrieved, fetched, projection.headings[list(moment.retrieved)], strict=True
    ):
        axes.plot(*np.stack([here, place]).T, color=colour, linewidth=0.8, alpha=0.6, zorder=3)
        _draw_camera(axes, path, place, heading, colour, 5)
        axes.annotate(
            str(chunk),
            tuple(place),
            xytext=_beside(heading),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            ha="center",
            va="center",
            zorder=7,
            clip_on=True,
        )
    _draw_camera(axes, path, here, projection.headings[moment.step], CAMERA, 6)
    shown = np.concatenate([here[None], fetched])
    margin = max(0.8 * path.summary.view_distance, 0.15 * float(np.ptp(shown, axis=0).max()))
    held = (
        "" if moment.credit is None else f"\nwith sink and recent window that holds {moment.credit:.0%} of what counts"
    )
    axes.set_title(f"Step {moment.step}: the view (orange) and what {moment.label} fetched for it{held}")
    projection.frame(axes, shown, margin)


def _beside(heading: NDArray[np.float64]) -> tuple[float, float]:
    """Offset in points of a camera's label: at right angles to its view, up the page if possible."""
    across = (-heading[1], heading[0]) if heading[0] >= 0 else (heading[1], -heading[0])
    return 13 * float(across[0]), 13 * float(across[1])


def _draw_view(axes: Axes, path: LoadedPath, here: NDArray[np.float64], heading: NDArray[np.float64]) -> None:
    from matplotlib.patches import Wedge

    angle = _degrees(heading)
    half = path.summary.field_of_view[0] / 2
    reach = path.summary.view_distance
    axes.add_patch(Wedge(tuple(here), reach, angle - half, angle + half, color=CAMERA, alpha=0.10, zorder=1, lw=0))


def _draw_camera(
    axes: Axes, path: LoadedPath, place: NDArray[np.float64], heading: NDArray[np.float64], colour: str, layer: int
) -> None:
    """Draw a dot with a short arrow along its view."""
    axes.scatter(*xy(place[None]), s=48, color=colour, zorder=layer, edgecolors="white", linewidths=0.8)
    axes.annotate(
        "",
        tuple(place + 0.22 * path.summary.view_distance * heading),
        tuple(place),
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4, "shrinkA": 3, "shrinkB": 0},
        zorder=layer,
        annotation_clip=True,
    )


def _degrees(heading: NDArray[np.float64]) -> float:
    import numpy as np

    return float(np.rad2deg(np.arctan2(heading[1], heading[0])))
