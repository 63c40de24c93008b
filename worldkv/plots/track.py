"""The figure of a trajectory alone: from above, coloured by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.plots.path import MapProjection, draw_walls, xy
from worldkv.plots.style import GREY, INK, STYLE, new_figure
from worldkv.trajectory.loaded import LoadedPath, revisiting_chunks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TICKS = 160
"""Camera directions drawn at most."""


def draw_track(path: LoadedPath) -> Figure:
    """Draw a trajectory from above: time as colour, viewing directions, and where it comes back."""
    import numpy as np
    from matplotlib import rc_context
    from matplotlib.collections import LineCollection

    projection, summary, returns = MapProjection.of(path), path.summary, revisiting_chunks(path)
    with rc_context(STYLE):
        figure = new_figure((10, 7.6))
        axes = figure.add_subplot()
        draw_walls(axes, path, projection)
        if returns.any():
            axes.scatter(
                *xy(projection.centres[returns]),
                s=90,
                facecolors="none",
                edgecolors=INK,
                linewidths=0.9,
                zorder=3,
                label=f"comes back ({summary.revisit_share:.0%} of chunks)",
            )
        per_chunk = path.chunked.frames_per_chunk
        segments = np.stack([projection.positions[:-1], projection.positions[1:]], axis=1)
        track = LineCollection(list(segments), cmap="viridis", linewidths=2.6, zorder=2, capstyle="round")
        track.set_array(np.arange(len(segments)) / per_chunk)
        axes.add_collection(track)
        every = max(1, -(-path.chunked.num_chunks // MAX_TICKS))
        reach = 0.025 * float(np.hypot(*np.ptp(projection.positions, axis=0))) or 0.1 * summary.view_distance
        axes.quiver(
            *xy(projection.centres[::every]),
            *xy(projection.headings[::every] * reach),
            color=GREY,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.0018,
            headwidth=0,
            headlength=0,
            headaxislength=0,
            zorder=4,
        )
        axes.scatter(*xy(projection.positions[:1]), s=60, marker="s", color=INK, zorder=5, label="start")
        axes.scatter(*xy(projection.positions[-1:]), s=70, marker="X", color="#d55e00", zorder=5, label="end")
        axes.legend(loc="best", fontsize=9, frameon=True, framealpha=0.85, edgecolor="none")
        figure.colorbar(track, ax=axes, label="chunk", shrink=0.8, pad=0.01)
        walls = path.chunked.trajectory.walls
        shown = projection.positions if walls is None else np.concatenate([projection.positions, walls.reshape(-1, 2)])
        projection.frame(axes, shown, 2 * reach)
        caption = "it never comes back" if summary.never_returns else "ticks show where the camera looks"
        axes.set_title(f"{summary.name}, {summary.chunks:,} chunks\nfrom above; {caption}")
    return figure
