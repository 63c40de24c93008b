"""The hint for a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, words: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, or all of them; that there are none."""
    known = sorted(words)
    if not known:
        return "there are none"
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
