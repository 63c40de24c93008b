"""Style of all figures, Okabe and Ito's colours (safe for colour-blind readers), and saving."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.errors import OutputError
from worldkv.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY, PALE = "#222222", "#8a8a8a", "#d9d9d9"
REVISIT = "#56b4e9"

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eeeeee",
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}

_KNOWN = {
    "full-kv": INK,
    "sliding-window": "#e69f00",
    "worldkv": "#0072b2",
    "random": "#9a9a9a",
    "oracle": "#009e73",
}
_OTHERS = ("#cc79a7", "#6a3d9a", "#56b4e9", "#8c6d1f", "#b15928", "#c9b600")


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label; default policies keep theirs in every figure."""
    chosen: dict[str, str] = {}
    free = [*_OTHERS, *(colour for name, colour in _KNOWN.items() if name not in labels)]
    for place, label in enumerate(label for label in labels if label not in _KNOWN):
        chosen[label] = free[place % len(free)]
    return {label: _KNOWN.get(label) or chosen[label] for label in labels}


def new_figure(figsize: tuple[float, float], *, is_constrained: bool = True) -> Figure:
    """An empty figure of `figsize` inches that a notebook shows as a picture without pyplot."""
    return _figure_class()(figsize=figsize, layout="constrained" if is_constrained else None)


@cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            _save(self, buffer, "png")
            return buffer.getvalue()

    return NotebookFigure


def saved(figure: Figure, file: str | os.PathLike[str] | None) -> Figure:
    """The figure itself, saved where a file is named.

    Raises:
        OutputError: it cannot be written.
    """
    if file is not None:
        save_figure(figure, os.fspath(file))
    return figure


def save_figure(figure: Figure, name: str) -> None:
    """Write a figure whole or not at all; the suffix says png, svg or pdf, the same figure gives the same bytes.

    Raises:
        OutputError: it cannot be written.
    """
    suffix = Path(name).suffix.lower().removeprefix(".")
    if suffix not in ("png", "svg", "pdf"):
        raise OutputError(f"{name} must end in .png, .svg or .pdf; take a name such as plot.png")
    buffer = io.BytesIO()
    _save(figure, buffer, suffix)
    write_bytes(name, buffer.getvalue())


def _save(figure: Figure, buffer: io.BytesIO, suffix: str) -> None:
    from matplotlib import rc_context

    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
    with rc_context(STYLE):
        figure.savefig(buffer, format=suffix, dpi=120, metadata=metadata)
