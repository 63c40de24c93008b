"""Greedy maximum coverage over packed bitmaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.metrics.landmarks import Bits


def greedy_cover(
    candidates_bits: Bits, target_bits: Bits, picks: int, added: NDArray[np.float64] | None = None
) -> NDArray[np.intp]:
    """Rows that cover most of a target, chosen one by one for what each adds: the oracle's retrieval.

    What it covers is at least 1 - 1/e of what the best set of that size does. Only the words that the target
    touches and the rows that touch it are looked at; skipping rows whose gain cannot win (lazy greedy) was
    tried and is no faster up to 10,000 candidates.

    Args:
        candidates_bits: `(candidates, bytes)`, bytes a multiple of 8, oldest row first.
        target_bits: `(bytes,)`, what is to be covered; every bit weighs the same.
        picks: most rows to pick.
        added: bits that each row counts for beside those it adds `(candidates,)`, once it adds one; None for none.

    Returns:
        Row indices, best first, equal gains in favour of the older row; fewer than `picks` when nothing is
        left to gain.
    """
    target = target_bits.view(np.uint64)
    words = np.flatnonzero(target)
    gain_words = np.take(candidates_bits.view(np.uint64), words, axis=1) & target[words]
    rows = np.flatnonzero(gain_words.any(axis=1))
    gain_words = gain_words[rows]
    extra = None if added is None else added[rows]
    picked: list[int] = []
    while len(picked) < picks and len(rows):
        gains = np.bitwise_count(gain_words).sum(axis=1, dtype=np.int64)
        best = int((gains if extra is None else np.where(gains > 0, gains + extra, -np.inf)).argmax())
        if not gains[best]:
            break
        picked.append(best)
        gain_words &= ~gain_words[best]
    return rows[np.array(picked, dtype=np.intp)]
