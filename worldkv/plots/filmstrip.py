"""Pictures of a painted world: a filmstrip of one revisit, and all rollouts in motion with the map."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from worldkv.files import write_bytes
from worldkv.plots.style import GREY, INK
from worldkv.report.format import folded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from worldkv.experiments.comparison import Outcome
    from worldkv.experiments.worlds import PaintedRollout, Painters
    from worldkv.pose import Array

_STRIP_REVISITS = 3
_COLUMNS = 4
_FRAMES_A_SECOND = 5
_MOST_FRAMES = 80
_PALETTE_PAGES = 12
_PANEL_INCHES = (1.9, 1.36)


def draw_filmstrip(name: str, outcome: Outcome) -> None:
    """A row of pictures for each of a few revisits: the first visit, then the same view as every policy has it now.

    Args:
        name: a PNG file.
        outcome: a comparison in a painted world.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    from worldkv.plots.comparison import save

    painters, rows = _painted(outcome)
    labels = [row.candidate.label for row in outcome.comparison.rows]
    frames = _told_revisits(painters, rows)
    if not frames:
        figure = Figure(figsize=(7, 0.8))
        figure.text(0.5, 0.5, "no step of this path comes back to what left the window", ha="center", color=INK)
        save(figure, name)
        return
    heads = ["first visit", "the view again,\nas it was", *(folded(label, 18).rstrip(":") for label in labels)]
    figure = Figure(figsize=(1.75 * len(heads), 0.75 + 1.55 * len(frames)), layout="constrained")
    axes: Any = figure.subplots(len(frames), len(heads), squeeze=False)
    per_chunk = painters.world.surface.frames_per_chunk
    for line, frame in zip(axes, frames, strict=False):
        visit, step = int(painters.world.seen_before.visit[frame]), frame // per_chunk
        lit = painters.world.light[frame, ..., None]
        first = painters.world.truth[visit] * painters.world.light[visit, ..., None]
        shown = [first, *(lit * film[frame] for film in [painters.world.truth, *(row.pictures for row in rows)])]
        below = [f"chunk {visit // per_chunk}", f"chunk {step}", *(_decibels(row, step) for row in rows)]
        for axis, picture, text in zip(line, shown, below, strict=True):
            _show(axis, picture)
            axis.set_xlabel(text, fontsize=9, color=INK)
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=9, fontweight="bold", color=INK)
    save(figure, name)


def draw_film(name: str, outcome: Outcome) -> None:
    """All rollouts side by side as an animated GIF: the truth, every policy with its dB, and where the camera is.

    Args:
        name: a GIF file.
        outcome: a comparison in a painted world.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    painters, rows = _painted(outcome)
    world = painters.world
    labels = ["first seen", *(row.candidate.label for row in outcome.comparison.rows)]
    films = [world.truth, *(row.pictures for row in rows)]
    lines = -(-len(films) // _COLUMNS)
    wide, tall = _PANEL_INCHES
    figure = Figure(figsize=(wide * (_COLUMNS + 1.3), tall * lines + 0.3), layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(lines, _COLUMNS + 1, width_ratios=[1.0] * _COLUMNS + [1.3])
    panels: list[tuple[AxesImage, Any]] = []
    for place, (label, film) in enumerate(zip(labels, films, strict=True)):
        axis = figure.add_subplot(grid[place // _COLUMNS, place % _COLUMNS])
        axis.set_title(folded(label, 30), fontsize=8, fontweight="bold", color=INK)
        panels.append((_show(axis, film[0]), axis.set_xlabel(" ", fontsize=8)))
    camera = _draw_map(figure.add_subplot(grid[:, -1]), outcome)
    per_chunk, stride = world.surface.frames_per_chunk, max(1, -(-world.surface.num_frames // _MOST_FRAMES))
    pages = []
    for frame in range(0, world.surface.num_frames, stride):
        for (image, text), film, row in zip(panels, films, [None, *rows], strict=True):
            image.set_data(np.clip(film[frame] * world.light[frame, ..., None], 0, 1))
            text.set_text(f"chunk {frame // per_chunk}" if row is None else _decibels(row, frame // per_chunk))
        camera(frame)
        canvas.draw()
        pages.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    told = np.concatenate([np.asarray(page) for page in pages[:: max(1, len(pages) // _PALETTE_PAGES)]])
    palette = Image.fromarray(told[::3, ::3]).quantize(128)
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


def _painted(outcome: Outcome) -> tuple[Painters, list[PaintedRollout]]:
    painters = outcome.painters
    assert painters is not None, "only a painted world has pictures"
    return painters, [painters.of(row.rollout) for row in outcome.comparison.rows]


def _told_revisits(painters: Painters, rows: list[PaintedRollout]) -> list[int]:
    """Frames of a few revisits, spread over the rollout, that come back to much and on which policies differ."""
    views, counted = painters.world.surface, painters.world.seen_before.is_compared.mean(axis=(1, 2))
    steps = np.flatnonzero(np.isfinite(rows[0].fidelity.psnr_visit))
    best = {}
    for step in steps.tolist():
        frames = views.of_chunk(step)
        best[step] = frames.start + int(counted[frames].argmax())
    if not best:
        return []
    told = np.array([row.fidelity.psnr_visit for row in rows])
    spread = {step: float(np.ptp(told[:, step])) for step in best}
    most, widest = max(counted[list(best.values())]), max(spread.values())
    full = [step for step in best if counted[best[step]] >= 0.7 * most and spread[step] >= 0.5 * widest]
    full = full or [max(best, key=lambda step: spread[step])]
    chosen = np.unique(np.linspace(0, len(full) - 1, min(_STRIP_REVISITS, len(full))).round().astype(int))
    return [best[full[place]] for place in chosen]


def _decibels(row: PaintedRollout, step: int) -> str:
    value = row.fidelity.psnr_visit[step]
    return f"{value:.1f} dB" if np.isfinite(value) else " "


def _show(axes: Axes, picture: Array | Any) -> AxesImage:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GREY)
    return axes.imshow(np.clip(picture, 0, 1), interpolation="nearest", aspect="auto")


def _draw_map(axes: Axes, outcome: Outcome) -> Any:
    """Walls and path from above; what it returns moves the camera to a frame."""
    from worldkv.plots.path import CAMERA, Plan, draw_walls

    views = outcome.path.chunked
    plan = Plan.of(outcome.path)
    draw_walls(axes, outcome.path, plan)
    floor: Array = views.camera.frame_positions.reshape(-1, 3)[:, [plan.across, plan.along]]
    looks: Array = views.camera.frame_rotations.reshape(-1, 3, 3)[:, [plan.across, plan.along], 2]
    axes.plot(*floor.T, color=GREY, linewidth=1)
    (line,) = axes.plot([], [], color=CAMERA, linewidth=2)
    (dot,) = axes.plot([], [], "o", color=CAMERA, markersize=6)
    walls = views.trajectory.walls
    shown = floor if walls is None else np.concatenate([floor, walls.reshape(-1, 2)[:, _wall_order(plan)]])
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
        ahead = floor[frame] + length * looks[frame]
        dot.set_data(floor[frame, :1], floor[frame, 1:])
        line.set_data([floor[frame, 0], ahead[0]], [floor[frame, 1], ahead[1]])

    return move


def _wall_order(plan: Any) -> list[int]:
    return [0, 1] if plan.across == 0 else [1, 0]
