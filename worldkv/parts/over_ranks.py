"""Sums and means over heads that may be split over ranks, so that every rank ranks tokens by the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.views import ChunkView


def summed_over_ranks(sums: NDArray[Any], chunk: ChunkView) -> NDArray[np.float64]:
    """Sums over this rank's heads as sums over all ranks' heads, in float64; as they are where one rank holds all.

    Args:
        sums: any shape, the same on every rank.
        chunk: a chunk with keys, whose `reduce` adds arrays of their kind, on their device.
    """
    from array_api_compat import array_namespace, device, to_device

    exact = np.asarray(sums, np.float64)
    if chunk.reduce is None:
        return exact
    xp = array_namespace(chunk.keys)
    reduced = chunk.reduce(xp.asarray(exact, device=device(chunk.keys)))
    return np.asarray(to_device(reduced, "cpu"), np.float64)


def mean_over_heads(scores: NDArray[Any], chunk: ChunkView) -> NDArray[Any]:
    """Scores `(layers, kv_heads, tokens)` as their mean over all heads of all ranks `(layers, tokens)`.

    Scores with one head for all, `(layers, 1, tokens)`, are the same on every rank already and are not reduced again.
    """
    if chunk.reduce is None or scores.shape[1] < chunk.keys.shape[1]:
        mean: NDArray[Any] = scores.mean(axis=1)
        return mean
    sums = np.append(scores.sum(axis=1, dtype=np.float64).ravel(), scores.shape[1])
    totals = summed_over_ranks(sums, chunk)
    means: NDArray[Any] = (totals[:-1] / totals[-1]).reshape(scores.shape[0], scores.shape[2])
    return means
