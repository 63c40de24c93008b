"""Greedy maximum coverage over packed bitmaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.metrics.landmarks import Bits


def greedy_cover(
    by_word: NDArray[np.uint64], target_bits: Bits, picks: int, added: NDArray[np.float64] | None = None
) -> NDArray[np.intp]:
    """Candidates that cover most of a target, chosen one by one for what each adds: the oracle's retrieval.

    What it covers is at least 1 - 1/e of what the best set of that size does. Only the words that the target
    touches and the candidates that touch it are looked at; skipping candidates whose gain cannot win (lazy greedy)
    was tried and is no faster up to 10,000 candidates.

    Args:
        by_word: bitmaps in 64-bit words `(words, candidates)`, oldest candidate first: `bits.view(np.uint64).T`. The
            words of all candidates side by side are the fast way to hold many.
        target_bits: `(bytes,)`, what is to be covered; every bit weighs the same.
        picks: most candidates to pick.
        added: bits that each counts for beside those it adds `(candidates,)`, once it adds one; None for none.

    Returns:
        Indices of candidates, best first, equal gains in favour of the older one; fewer than `picks` when nothing is
        left to gain.
    """
    target = target_bits.view(np.uint64)
    words = np.flatnonzero(target)
    gain_words = by_word[words] & target[words, None]
    touching = np.flatnonzero(np.bitwise_or.reduce(gain_words, axis=0))
    gain_words = gain_words[:, touching]
    extra = None if added is None else added[touching]
    picked: list[int] = []
    while len(picked) < picks and len(touching):
        gains = np.bitwise_count(gain_words).sum(axis=0, dtype=np.int64)
        best = int((gains if extra is None else np.where(gains > 0, gains + extra, -np.inf)).argmax())
        if not gains[best]:
            break
        picked.append(best)
        gain_words &= ~gain_words[:, best, None]
    return touching[np.array(picked, dtype=np.intp)]
