"""What the model knows of a view from the chunks that saw it: the same revisit with and without them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from worldkv.backends.models.trained.model import TrainedWorld
from worldkv.backends.models.trained.painter import TrainedPainter, given_chunks
from worldkv.worlds.fidelity import psnr
from worldkv.worlds.projector import Projector
from worldkv.worlds.world import PaintedWorld

MOST_REVISITS = 8
"""Revisits that are looked at, evenly over the path."""

_LEAST_SHARE = 0.02


class MemoryGap(NamedTuple):
    """Mean dB of revisits against the truth, where it counts, after true chunks.

    Attributes:
        with_memory: all earlier chunks are attended.
        without_memory: all but those that show at least 2 % of what counts.
        revisits: how many were looked at.
    """

    with_memory: float
    without_memory: float
    revisits: int


class ChosenAttention:
    """Plain attention over every kept chunk but some; one clean pass a chunk is kept.

    Attributes:
        hidden: chunks that are not attended now.
    """

    def __init__(self, model: TrainedWorld) -> None:
        """Nothing is kept yet."""
        geometry = model.config.geometry
        self._frames = geometry.frames_per_chunk
        self._kept: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(geometry.layers)]
        self.hidden: frozenset[int] = frozenset()
        self.keeps = True

    @property
    def start_frame(self) -> int:
        """Latent frame at which the next chunk starts."""
        return len(self._kept[-1]) * self._frames

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, /, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        """See `AttendingCache.attend`."""
        seen = [pair for chunk, pair in enumerate(self._kept[layer]) if chunk not in self.hidden]
        if clean and self.keeps:
            self._kept[layer].append((k, v))
        keys, values = (torch.cat(parts, dim=1).transpose(1, 2) for parts in zip(*seen, (k, v), strict=True))
        return scaled_dot_product_attention(q.transpose(1, 2), keys, values).transpose(1, 2)


def memory_gap(model: TrainedWorld, world: PaintedWorld, *, seed: int = 0) -> MemoryGap | None:
    """Measure revisits with and without the chunks that saw them; None where nothing comes back.

    Args:
        model: the weights, on the CPU.
        world: a `textured_world` along a path.
        seed: of the noise.
    """
    revisits = np.flatnonzero(~given_chunks(world, "given"))
    if not len(revisits):
        return None
    chosen = set(revisits[np.linspace(0, len(revisits) - 1, min(MOST_REVISITS, len(revisits))).astype(int)].tolist())
    painter, attention = TrainedPainter(model, world, seed=seed), ChosenAttention(model)
    told: list[tuple[float, float]] = []
    for chunk in range(max(chosen) + 1):
        if chunk in chosen:
            attention.keeps = False
            told.append(
                tuple(_decibels(painter, attention, world, chunk, hidden) for hidden in ((), showing(world, chunk)))  # type: ignore[arg-type]
            )
            attention.keeps = True
        attention.hidden = frozenset()
        painter.given[chunk] = True
        painter.paint(attention, chunk)
    means = np.mean(told, axis=0)
    return MemoryGap(float(means[0]), float(means[1]), len(told))


def showing(world: PaintedWorld, chunk: int) -> tuple[int, ...]:
    """Earlier chunks that show at least 2 % of what counts in a chunk."""
    surface, projector = world.surface, Projector(world.surface)
    frames = surface.of_chunk(chunk)
    found: set[int] = set()
    earlier = np.arange(frames.start)
    for frame in range(frames.start, frames.stop):
        counted = world.seen_before.counted[frame].reshape(-1)
        shows, _ = projector.shown(frame, earlier)
        share = shows[:, counted].sum(axis=1) / max(1, counted.sum())
        found |= set((earlier[share >= _LEAST_SHARE] // surface.frames_per_chunk).tolist())
    return tuple(sorted(found))


def _decibels(
    painter: TrainedPainter, attention: ChosenAttention, world: PaintedWorld, chunk: int, hidden: tuple[int, ...]
) -> float:
    frames = world.surface.of_chunk(chunk)
    attention.hidden = frozenset(hidden)
    painter.given[chunk] = False
    painter.paint(attention, chunk)
    counted = world.seen_before.counted[frames]
    return psnr(painter.pictures[frames][counted], world.truth[frames][counted])
