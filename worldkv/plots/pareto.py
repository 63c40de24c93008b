"""The figure of policies at several sizes: recall against window tokens and against bytes moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from worldkv.plots.style import GREY, INK, STYLE, colours, new_figure
from worldkv.report.format import folded
from worldkv.sim.document import BANK_EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRONT = "#f2c6a5"
MARKERS = "osD^vPX<>h"
_MEASURES = {"revisit_recall": "revisit recall", "attention_recall": "attention recall"}
_COSTS = {"window_tokens": "window tokens at the peak", "bytes_moved": "moved between window and bank"}
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


class Point(NamedTuple):
    """One row of a sweep or comparison, as the figure needs it.

    Attributes:
        trajectory, policy, budget: as tables name them.
        is_reference: whether it is no part of the front, see `is_reference`.
        budget_tokens: the budget in tokens; None for a size of its own.
        window_tokens: window tokens at the peak.
        bytes_moved: moved to the bank and back.
        revisit_recall, attention_recall: None where there is none.
    """

    trajectory: str
    policy: str
    budget: str
    is_reference: bool
    budget_tokens: int | None
    window_tokens: int
    bytes_moved: int
    revisit_recall: float | None
    attention_recall: float | None

    @classmethod
    def of(cls, trajectory: str, row: dict[str, Any]) -> Point:
        """The point of one row, whose keys are those of a sweep or of `compare --json`."""
        return cls(
            trajectory,
            row["policy"],
            row["budget"],
            is_reference(row["spec"]),
            row["budget_tokens"],
            row["window_tokens_peak"],
            sum(row.get(f"bytes_{edge}", 0) for edge in BANK_EDGES),
            row["revisit_recall"],
            row.get("attention_recall"),
        )


def is_reference(spec: str) -> bool:
    """Whether a policy is drawn beside the front: an oracle, or one whose window grows without end."""
    from worldkv.policy import is_oracle
    from worldkv.specs.parse import parse_policy

    policy = parse_policy(spec)
    return is_oracle(policy) or not policy.is_bounded


class Spot(NamedTuple):
    """A policy at one budget: where its mean over seeds lies, and its least and greatest in both directions."""

    x: float
    y: float
    spread: tuple[float, float, float, float]


def draw_pareto(points: Sequence[Point], title: str) -> Figure:
    """Draw recall against cost: a strip for each trajectory and measure, a panel for each cost."""
    from matplotlib import rc_context

    policies = list(dict.fromkeys(point.policy for point in points))
    references = {point.policy for point in points if point.is_reference}
    palette = colours(policies)
    strips = [
        (trajectory, measure)
        for trajectory in dict.fromkeys(point.trajectory for point in points)
        for measure in _measures(point for point in points if point.trajectory == trajectory)
    ]
    with rc_context(STYLE):
        figure = new_figure((12, 0.9 + 3.2 * max(1, len(strips))))
        grid = figure.subplots(max(1, len(strips)), len(_COSTS), squeeze=False, sharey="row")
        for row, (trajectory, measure) in zip(grid, strips, strict=False):
            for axes, cost in zip(row, _COSTS, strict=True):
                own = [point for point in points if point.trajectory == trajectory]
                _draw_panel(axes, own, cost, measure, policies, palette, references)
            row[0].set(title=trajectory, ylabel=f"{_MEASURES[measure]} (higher is better)")
        has_spread = len({point[:3] for point in points}) < len(points)
        _draw_legend(figure, policies, palette, references, has_spread)
        figure.suptitle(title, fontsize=13, fontweight="bold")
    return figure


def front(spots: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of spots: ascending in cost, each better than all that cost no more."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(spots, key=lambda spot: (spot[0], -spot[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def spots_of(points: Sequence[Point], policy: str, cost: str, measure: str) -> list[Spot]:
    """A policy's mean at each budget, small to large; budgets without a value are left out."""
    found: list[tuple[float, Spot]] = []
    for budget in dict.fromkeys(point.budget for point in points if point.policy == policy):
        rows = [point for point in points if point.policy == policy and point.budget == budget]
        xs = [getattr(point, cost) for point in rows if getattr(point, measure) is not None]
        ys = [value for point in rows if (value := getattr(point, measure)) is not None]
        if ys:
            spot = Spot(sum(xs) / len(xs), sum(ys) / len(ys), (min(xs), max(xs), min(ys), max(ys)))
            found.append((sum(point.window_tokens for point in rows) / len(rows), spot))
    return [spot for _, spot in sorted(found)]


def _measures(points: Iterable[Point]) -> list[str]:
    """The measures to draw for one trajectory; revisit recall even without a value, so that the figure says so."""
    points = list(points)
    found = [measure for measure in _MEASURES if any(getattr(point, measure) is not None for point in points)]
    return found or ["revisit_recall"]


def _draw_panel(
    axes: Axes,
    points: Sequence[Point],
    cost: str,
    measure: str,
    policies: Sequence[str],
    palette: dict[str, str],
    references: set[str],
) -> None:
    comparable: list[tuple[float, float]] = []
    for place, policy in enumerate(policies):
        spots = spots_of(points, policy, cost, measure)
        is_reference = policy in references
        if not is_reference:
            comparable += [(spot.x, spot.y) for spot in spots]
        for spot in spots:
            left, right, low, high = spot.spread
            axes.plot([spot.x, spot.x], [low, high], color=palette[policy], linewidth=1.3, alpha=0.6, zorder=3)
            axes.plot([left, right], [spot.y, spot.y], color=palette[policy], linewidth=1.3, alpha=0.6, zorder=3)
        axes.plot(
            [spot.x for spot in spots],
            [spot.y for spot in spots],
            **_line_style(place, palette[policy], is_reference),
            zorder=4,
        )
    values: list[float] = [getattr(point, cost) for point in points]
    _scale(axes, values)
    unit = ""
    if cost == "window_tokens":
        _mark_budgets(axes, points)
    else:
        unit = f", {_mark_bytes(axes, values)}"
    best = front(comparable)
    if best:
        edge = (axes.get_xlim()[1], best[-1][1])
        axes.step(*zip(*best, edge, strict=True), where="post", color=FRONT, linewidth=4, zorder=1)
        axes.set_xlim(right=edge[0])
    else:
        axes.annotate("no value on this path", (0.5, 0.5), xycoords="axes fraction", ha="center")
    axes.set(xlabel=f"{_COSTS[cost]}{unit}", ylim=(-0.03, 1.05))


def _line_style(place: int, colour: str, is_reference: bool) -> dict[str, Any]:
    """Line and marker of the policy in `place`."""
    return {
        "color": colour,
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 6,
        "markerfacecolor": "white" if is_reference else colour,
        "markeredgewidth": 1.3,
        "linewidth": 1.2 if is_reference else 1.8,
        "linestyle": (0, (4, 2)) if is_reference else "-",
    }


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis; one that begins at 0 where a policy moves nothing."""
    from matplotlib.ticker import NullLocator

    positive = [value for value in values if value > 0]
    if positive and min(values) > 0:
        axes.set_xscale("log")
    elif positive:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.35)
        axes.set_xlim(left=-0.15 * min(positive))
    axes.xaxis.set_minor_locator(NullLocator())


def _mark_budgets(axes: Axes, points: Sequence[Point]) -> None:
    """Set the budgets as ticks, in tokens and as written, but for those too near their left neighbour."""
    words = {point.budget_tokens or point.window_tokens: point.budget for point in reversed(points)}
    ticks: list[int] = []
    least = max(1.3, (max(words) / min(words)) ** 0.11)  # a label's width, on a logarithmic axis
    for tokens in sorted(words):
        if not ticks or tokens > least * ticks[-1]:
            ticks.append(tokens)
    axes.set_xticks(ticks, [f"{_short(tokens)}\n{words[tokens]}" for tokens in ticks])


def _mark_bytes(axes: Axes, values: Sequence[float]) -> str:
    """Set ticks at 0 where a policy moves nothing and at round values, 1, 2, 5 or one a decade; return the unit."""
    from math import ceil, floor, log10

    low, high = min((value for value in values if value > 0), default=1.0), max(values)
    scale, unit = next((scale, unit) for scale, unit in _UNITS if high >= scale or scale == 1)
    steps = (1, 2, 5) if high < 200 * low else (1,)
    decades = range(floor(log10(low / scale)), ceil(log10(max(high, low) / scale)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [0.0] * (min(values) == 0) + [tick for tick in ticks if low <= tick * scale <= high]
    axes.set_xticks([tick * scale for tick in ticks], [_short(tick) for tick in ticks])
    return unit


def _short(value: float) -> str:
    for scale, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def _draw_legend(
    figure: Figure, policies: Sequence[str], palette: dict[str, str], references: set[str], has_spread: bool
) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], **_line_style(place, palette[policy], policy in references), label=folded(policy, 26))
        for place, policy in enumerate(policies)
    ]
    handles.append(Line2D([], [], color=FRONT, linewidth=4, label="Pareto front"))
    if references:
        label = "not in the front: reads what\nno model has, or keeps all"
        handles.append(Line2D([], [], **_line_style(0, GREY, True), label=label))
    if has_spread:
        handles.append(Line2D([], [], color=GREY, linewidth=1, marker="|", label="least to greatest\nover seeds"))
    figure.legend(
        handles=handles,
        loc="outside right upper",
        labelcolor=INK,
        title="mean at each budget" if has_spread else "at each budget",
    )
