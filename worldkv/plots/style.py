"""Colours that people with colour-blindness tell apart (Okabe and Ito's), one a policy in every panel."""

from __future__ import annotations

from collections.abc import Sequence

INK, GREY, PALE = "#222222", "#8a8a8a", "#d9d9d9"
REVISIT = "#56b4e9"

_KNOWN = {
    "full-kv": INK,
    "sliding-window": "#e69f00",
    "worldkv": "#0072b2",
    "random": "#9a9a9a",
    "oracle": "#009e73",
}
_OTHERS = ("#cc79a7", "#6a3d9a", "#56b4e9", "#8c6d1f", "#b15928", "#c9b600")


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label; the default policies always have the same."""
    chosen: dict[str, str] = {}
    free = [*_OTHERS, *(colour for name, colour in _KNOWN.items() if name not in labels)]
    for place, label in enumerate(label for label in labels if label not in _KNOWN):
        chosen[label] = free[place % len(free)]
    return {label: _KNOWN.get(label) or chosen[label] for label in labels}
