"""Anchor only: a chunk is remembered by its first latent frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Keep
from worldkv.policy import Compression
from worldkv.views import ChunkView


@dataclass(frozen=True)
class AnchorOnly(Compression):
    """The anchor frame is kept whole, every other token is dropped. Source: the prototypes of arXiv 2512.14699.

    A chunk of three latent frames costs a third of its bytes, in the bank and on every way back; what the camera
    turned to after its first frame is forgotten. Reads no keys, so the simulator knows what stays as well as a model
    does. `memflow-prototypes` is made of it and `mean-key`; `world-compression` keeps some tokens of every frame
    instead.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("anchor-only",)
    keeps_anchor: ClassVar[bool] = True

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """The first frame's tokens, counted.

        Args:
            chunk: the chunk to be banked; only the sizes of its frames are read.
        """
        anchor, *later = chunk.frame_tokens
        return Keep(round(anchor), (anchor, *(0.0 for _ in later)))

    def keep(self, chunk: ChunkView) -> Keep:
        """The same, by position: they come first, in every layer and head."""
        counted = self.kept_tokens(chunk)
        return Keep(counted.count, counted.frame_tokens, np.arange(counted.count))
