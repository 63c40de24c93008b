"""Attention recall: the share of full KV's attention that lies on the chunks a policy attends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class AttentionRecallMeter:
    """Mean over steps of the share of recorded attention mass that lies on the attended chunks.

    Only chunks before the step's own count: the own one is always attended. A chunk counts whole, even where tokens of
    it were pruned, because a recording has one number a chunk; for a policy that prunes this is an upper bound.
    Source: the measure of the KV eviction papers (recall of attention mass), per chunk.
    """

    def __init__(self, mass: NDArray[Any]) -> None:
        """Nothing scored yet.

        Args:
            mass: attention each chunk received at each step under full KV `(steps, chunks)`.
        """
        self._mass = np.tril(np.asarray(mass, np.float64), -1)
        self._total, self._steps = 0.0, 0

    def score(self, step: int, attended: NDArray[np.int64]) -> None:
        """Step `step` attended the chunks of these ids `(attended,)`; one at which nothing was received is left out."""
        received = self._mass[step]
        everything = float(received.sum())
        if everything > 0:
            self._total += float(received[attended].sum()) / everything
            self._steps += 1

    @property
    def attention_recall(self) -> float | None:
        """The mean so far, 0 to 1; None where no step had anything to attend to."""
        return self._total / self._steps if self._steps else None
