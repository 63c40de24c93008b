"""Hidden states of the chunks in the window, for policies that judge tokens by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldkv.backend import Drop, Move, Shrink, Store


class HiddenStates:
    """What the clean pass's layers saw of every whole chunk at home in the window; gone once it is shrunk or leaves.

    Tensors are never written again, so a snapshot is a copy of the table. Source: this project.
    """

    def __init__(self, of_chunk: dict[int, Tensor] | None = None) -> None:
        """Those of `of_chunk`; none by default."""
        self._of_chunk = dict(of_chunk or {})
        self._layers: list[Tensor] = []

    def note(self, hidden: Tensor) -> None:
        """One layer's hidden states of the clean pass `(branches, tokens, channels)`, layers in order."""
        self._layers.append(hidden[0].detach().float().clone())

    def forget_pass(self) -> None:
        """What was noted belongs to a pass that is begun again, or abandoned."""
        self._layers.clear()

    def commit(self, chunk: int) -> None:
        """What was noted is the chunk's."""
        if self._layers:
            self._of_chunk[chunk] = torch.stack(self._layers)
        self._layers.clear()

    def of(self, chunk: int) -> Tensor | None:
        """`(layers, tokens, channels)` in float32; None if nothing was noted, or the chunk is no longer whole."""
        return self._of_chunk.get(chunk)

    def apply(self, moves: Sequence[Move]) -> None:
        """Chunks that are shrunk, stored or gone have none any more."""
        if self._of_chunk:
            for move in moves:
                if isinstance(move, Shrink | Store | Drop):
                    self._of_chunk.pop(move.chunk, None)

    def table(self) -> dict[int, Tensor]:
        """All of it, by chunk."""
        return dict(self._of_chunk)
