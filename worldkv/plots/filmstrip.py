"""Pictures of a painted world: a filmstrip of revisits, and all rollouts as an animated GIF with a map."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from worldkv.errors import OutputError
from worldkv.files import write_bytes
from worldkv.plots.path import CAMERA, MapProjection, draw_walls
from worldkv.plots.style import GREY, INK, new_figure
from worldkv.report.format import folded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from worldkv.pose import Array
    from worldkv.trajectory.loaded import LoadedPath
    from worldkv.worlds import Fidelity, PaintedWorld

_STRIP_REVISITS = 3
_COLUMNS = 4
_FRAMES_A_SECOND = 5
_MOST_FRAMES = 80
_PALETTE_PAGES = 12
_PANEL_INCHES = (1.9, 1.36)


class PolicyPictures(NamedTuple):
    """The pictures of one policy's rollout.

    Attributes:
        label: the policy.
        pictures: `(frames, rows, columns, 3)`, unlit.
        fidelity: their PSNR and SSIM, step by step.
    """

    label: str
    pictures: NDArray[np.float32]
    fidelity: Fidelity


def draw_filmstrip(world: PaintedWorld, rows: Sequence[PolicyPictures]) -> Figure:
    """Draw a row of pictures for each of a few revisits: the first visit, then the view as every policy shows it."""
    labels = [row.label for row in rows]
    frames = _revisits_to_show(world, rows)
    if not frames:
        figure = new_figure((7, 0.8), is_constrained=False)
        figure.text(0.5, 0.5, "no step of this path comes back to what left the window", ha="center", color=INK)
        return figure
    heads = ["first visit", "the view again,\nas it was", *(folded(label, 18).rstrip(":") for label in labels)]
    figure = new_figure((1.75 * len(heads), 0.75 + 1.55 * len(frames)))
    axes: Any = figure.subplots(len(frames), len(heads), squeeze=False)
    per_chunk = world.surface.frames_per_chunk
    for line, frame in zip(axes, frames, strict=False):
        visit, step = int(world.seen_before.visit[frame]), frame // per_chunk
        lit = world.light[frame, ..., None]
        first = world.truth[visit] * world.light[visit, ..., None]
        shown = [first, *(lit * video[frame] for video in [world.truth, *(row.pictures for row in rows)])]
        below = [f"chunk {visit // per_chunk}", f"chunk {step}", *(_decibels(row, step) for row in rows)]
        for axis, picture, text in zip(line, shown, below, strict=True):
            _show(axis, picture)
            axis.set_xlabel(text, fontsize=9, color=INK)
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=9, fontweight="bold", color=INK)
    return figure


def write_film(name: str, path: LoadedPath, world: PaintedWorld, rows: Sequence[PolicyPictures]) -> None:
    """Write all rollouts side by side as an animated GIF: the truth, every policy with its dB, and the camera on a map.

    Args:
        name: a GIF file.
        path: the trajectory through the world.
        world: the world.
        rows: one a policy.

    Raises:
        OutputError: it cannot be written.
    """
    if not name.lower().endswith(".gif"):
        raise OutputError(f"{name} must end in .gif; take a name such as film.gif")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    labels = ["first seen", *(row.label for row in rows)]
    videos = [world.truth, *(row.pictures for row in rows)]
    lines = -(-len(videos) // _COLUMNS)
    wide, tall = _PANEL_INCHES
    figure = new_figure((wide * (_COLUMNS + 1.3), tall * lines + 0.3))
    canvas: Any = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(lines, _COLUMNS + 1, width_ratios=[1.0] * _COLUMNS + [1.3])
    panels: list[tuple[AxesImage, Any]] = []
    for place, (label, video) in enumerate(zip(labels, videos, strict=True)):
        axis = figure.add_subplot(grid[place // _COLUMNS, place % _COLUMNS])
        axis.set_title(folded(label, 30), fontsize=8, fontweight="bold", color=INK)
        panels.append((_show(axis, video[0]), axis.set_xlabel(" ", fontsize=8)))
    camera = _draw_map(figure.add_subplot(grid[:, -1]), path)
    per_chunk, stride = world.surface.frames_per_chunk, max(1, -(-world.surface.num_frames // _MOST_FRAMES))
    pages = []
    for frame in range(0, world.surface.num_frames, stride):
        for (image, text), video, row in zip(panels, videos, [None, *rows], strict=True):
            image.set_data(np.clip(video[frame] * world.light[frame, ..., None], 0, 1))
            text.set_text(f"chunk {frame // per_chunk}" if row is None else _decibels(row, frame // per_chunk))
        camera(frame)
        canvas.draw()
        pages.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    sampled = np.concatenate([np.asarray(page) for page in pages[:: max(1, len(pages) // _PALETTE_PAGES)]])
    palette = Image.fromarray(sampled[::3, ::3]).quantize(128)
    buffer = io.BytesIO()
    first, *rest = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=1000 // _FRAMES_A_SECOND,
        loop=0,
        optimize=True,
    )
    write_bytes(name, buffer.getvalue())


def _revisits_to_show(world: PaintedWorld, rows: Sequence[PolicyPictures]) -> list[int]:
    """Frames of a few revisits, spread over the rollout, that see much again and on which policies differ."""
    surface, counted = world.surface, world.seen_before.is_compared.mean(axis=(1, 2))
    steps = np.flatnonzero(np.isfinite(rows[0].fidelity.psnr_visit))
    best = {}
    for step in steps.tolist():
        frames = surface.of_chunk(step)
        best[step] = frames.start + int(counted[frames].argmax())
    if not best:
        return []
    psnr = np.array([row.fidelity.psnr_visit for row in rows])
    spread = {step: float(np.ptp(psnr[:, step])) for step in best}
    most, widest = max(counted[list(best.values())]), max(spread.values())
    full = [step for step in best if counted[best[step]] >= 0.7 * most and spread[step] >= 0.5 * widest]
    full = full or [max(best, key=lambda step: spread[step])]
    chosen = np.unique(np.linspace(0, len(full) - 1, min(_STRIP_REVISITS, len(full))).round().astype(int))
    return [best[full[place]] for place in chosen]


def _decibels(row: PolicyPictures, step: int) -> str:
    value = row.fidelity.psnr_visit[step]
    return f"{value:.1f} dB" if np.isfinite(value) else " "


def _show(axes: Axes, picture: Array | Any) -> AxesImage:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GREY)
    return axes.imshow(np.clip(picture, 0, 1), interpolation="nearest", aspect="auto")


def _draw_map(axes: Axes, path: LoadedPath) -> Any:
    """Draw walls and trajectory from above; return a function that moves the camera to a frame."""
    views = path.chunked
    projection = MapProjection.of(path)
    draw_walls(axes, path, projection)
    positions: Array = views.camera.frame_positions.reshape(-1, 3)[:, [projection.across, projection.along]]
    headings: Array = views.camera.frame_rotations.reshape(-1, 3, 3)[:, [projection.across, projection.along], 2]
    axes.plot(*positions.T, color=GREY, linewidth=1)
    (line,) = axes.plot([], [], color=CAMERA, linewidth=2)
    (dot,) = axes.plot([], [], "o", color=CAMERA, markersize=6)
    walls = views.trajectory.walls
    shown = (
        positions if walls is None else np.concatenate([positions, walls.reshape(-1, 2)[:, _wall_order(projection)]])
    )
    low, high = shown.min(axis=0) - 0.5, shown.max(axis=0) + 0.5
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    length = 0.08 * float((high - low).max())

    def move(frame: int) -> None:
        ahead = positions[frame] + length * headings[frame]
        dot.set_data(positions[frame, :1], positions[frame, 1:])
        line.set_data([positions[frame, 0], ahead[0]], [positions[frame, 1], ahead[1]])

    return move


def _wall_order(projection: Any) -> list[int]:
    return [0, 1] if projection.across == 0 else [1, 0]
