"""Paint: a texture over all of space that changes with time until nothing of it is left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]

EPOCH_CHUNKS = 2
"""Paint of two times close together is nearly the same; from twice as many chunks on it has nothing in common."""

WAVES = 24
WAVELENGTHS = (3.0, 10.0)
"""Shortest and longest wave in metres."""

CONTRAST = 0.9

SPREAD = 0.3
"""Standard deviation of its colours over all of space."""

GREYNESS = 0.8
"""Of every wave's strength the part that all three colours share."""


class Paint:
    """Colour as a function of a point and a time, made of plane waves drawn from a seed.

    Between two epochs it is cos(a) x the one epoch's waves + sin(a) x the next one's: paint of neighbouring times joins
    without a seam, and paint of times `2 x EPOCH_CHUNKS` apart is independent.
    """

    def __init__(self, seed: int) -> None:
        """The paint of `seed`."""
        self._seed = seed

    def at(self, points: NDArray[Any], time: NDArray[Any] | float = 0.0) -> Colours:
        """Colours in (0, 1) of `points` `(..., 3)`, in their shape.

        Args:
            points: places in metres.
            time: in chunks, at least 0; one for all or one each.
        """
        flat = np.asarray(points, np.float64).reshape(-1, 3)
        times = np.broadcast_to(np.asarray(time, np.float64), points.shape[:-1]).reshape(-1)
        epochs, within = np.divmod(times, EPOCH_CHUNKS)
        angles = within / EPOCH_CHUNKS * (np.pi / 2)
        field = np.zeros((len(flat), 3))
        for epoch in np.unique(np.concatenate([epochs, epochs + 1])):
            share = np.where(epochs == epoch, np.cos(angles), 0.0) + np.where(epochs + 1 == epoch, np.sin(angles), 0.0)
            here = np.flatnonzero(share)
            if len(here):
                field[here] += share[here, None] * self._waves(flat[here], int(epoch))
        return (0.5 + 0.5 * np.tanh(CONTRAST * field)).reshape(points.shape).astype(np.float32)

    def _waves(self, points: NDArray[np.float64], epoch: int) -> NDArray[np.float64]:
        """A field of variance 1 in every colour `(n, 3)`."""
        random = np.random.default_rng([self._seed, epoch])
        directions = random.normal(size=(WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        shortest, longest = np.log(WAVELENGTHS)
        lengths = np.exp(random.uniform(shortest, longest, WAVES))
        phases = random.uniform(0, 2 * np.pi, WAVES)
        tints = GREYNESS * random.normal(size=(WAVES, 1)) + np.sqrt(1 - GREYNESS**2) * random.normal(size=(WAVES, 3))
        turns = points @ (directions * (2 * np.pi / lengths)[:, None]).T + phases
        return np.asarray(np.sqrt(2 / WAVES) * np.cos(turns) @ tints)
