"""The figure of a comparison: recall, memory, speed, the trajectory, and the chunks retrieved at one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.plots.moment import interesting_moment
from worldkv.plots.path import draw_moment, draw_path
from worldkv.plots.style import INK, STYLE, colours, new_figure
from worldkv.report.format import GIB, folded, share

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from worldkv.sim.compare import ComparedRows
    from worldkv.trajectory.loaded import LoadedPath


def draw_comparison(path: LoadedPath, compared: ComparedRows) -> Figure:
    """Draw a comparison along `path`: recall, memory, speed, the trajectory and one step."""
    from matplotlib import rc_context

    setup = compared.setup
    palette = colours([row.candidate.label for row in compared.rows])
    with rc_context(STYLE):
        figure = new_figure((14, 9.2))
        grid = figure.add_gridspec(2, 6, height_ratios=(1, 1.25))
        _draw_recall(figure.add_subplot(grid[0, 0:2]), compared, palette)
        _draw_memory(figure.add_subplot(grid[0, 2:4]), compared, palette)
        _draw_speed(figure.add_subplot(grid[0, 4:6]), compared, palette)
        moment = interesting_moment(compared)
        draw_path(figure.add_subplot(grid[1, 0:3]), path, moment)
        draw_moment(figure.add_subplot(grid[1, 3:6]), path, moment, palette)
        figure.suptitle(
            f"{path.summary.name}, {path.chunked.num_chunks:,} chunks, on {setup.geometry.name} "
            f"(times of {setup.machine.name})",
            fontsize=13,
            fontweight="bold",
        )
    return figure


def _draw_memory(axes: Axes, compared: ComparedRows, palette: dict[str, str]) -> None:
    """Draw GiB on the device and in the bank after each chunk; equal lines are nested, not hidden."""
    rows = compared.rows
    for place, row in enumerate(rows):
        colour = palette[row.candidate.label]
        width = _nested(place, len(rows))
        steps = range(1, len(row.rollout.seconds) + 1)
        axes.plot(steps, row.rollout.window_bytes / GIB, color=colour, linewidth=width, solid_capstyle="butt")
        if row.rollout.bank_bytes.any():
            axes.plot(steps, row.rollout.bank_bytes / GIB, color=colour, linewidth=1.6, linestyle=(0, (4, 2 + place)))
    budget = compared.setup.config.window_budget_bytes
    if budget is not None:
        axes.axhline(budget / GIB, color="#d55e00", linewidth=1, linestyle=":")
        axes.annotate(
            "device budget", (1, budget / GIB), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set(title="Memory: device solid, bank dashed", xlabel="chunks generated", ylabel="keys and values, GiB")
    axes.set_xlim(0, compared.setup.chunked.num_chunks)


def _draw_speed(axes: Axes, compared: ComparedRows, palette: dict[str, str]) -> None:
    """Draw predicted frames a second at each chunk."""
    import numpy as np

    rows = compared.rows
    window = max(1, compared.setup.chunked.num_chunks // 40)
    for place, row in enumerate(rows):
        fps = compared.setup.geometry.video_frames_per_chunk / row.rollout.seconds
        colour, steps = palette[row.candidate.label], np.arange(1, len(fps) + 1)
        if window > 1:
            axes.plot(steps, fps, color=colour, linewidth=0.7, alpha=0.25)
        smooth = running_mean(fps, window)
        width = _nested(place, len(rows))
        axes.plot(
            steps, smooth, color=colour, linewidth=width, solid_capstyle="butt", label=folded(row.candidate.label, 32)
        )
    mean = f", mean of {window} chunks" if window > 1 else ""
    axes.set(title="Predicted speed" + mean, xlabel="chunks generated", ylabel="video frames a second")
    axes.set_xlim(0, compared.setup.chunked.num_chunks)
    axes.set_ylim(0)


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """The mean of the last `window` values, of fewer at the start."""
    import numpy as np

    sums = np.cumsum(np.concatenate([np.zeros(1), values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    means: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _nested(place: int, count: int) -> float:
    """Line width of the row in `place`: of equal lines the later one is thinner, so that both show."""
    return 1.4 + 3.6 * (count - 1 - place) / max(1, count - 1)


def _draw_recall(axes: Axes, compared: ComparedRows, palette: dict[str, str]) -> None:
    """Draw one bar a policy; its labels are also the key to the colours of all panels."""
    rows = compared.rows
    names = [row.candidate.label for row in rows]
    shown = [folded(name) for name in names]
    recalls = [row.rollout.recall for row in rows]
    axes.barh(shown, [recall or 0.0 for recall in recalls], color=[palette[name] for name in names], height=0.62)
    for place, row in enumerate(rows):
        recall = row.rollout.recall
        part = "" if row.share_of_oracle is None else f"  ({share(row.share_of_oracle)} of oracle)"
        text = "no value" if recall is None else f"{recall:.2f}{part}"
        inside = recall is not None and recall > 0.55
        axes.annotate(
            text,
            (recall or 0.0, place),
            xytext=(-6 if inside else 6, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            color="white" if inside else INK,
            fontweight="bold" if inside else "normal",
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(palette[name])
        label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    landmarks = compared.setup.landmarks
    if landmarks is None:
        legend = "not measured"
    elif landmarks.never_returns:
        legend = "never comes back: recall has no value"
    else:
        legend = "of what is seen again, share held"
    axes.set(title="Revisit recall, and the colours of all panels", xlabel=legend)
