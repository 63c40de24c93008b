"""Whole chunk: no compression, every token is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.answers import Keep
from worldkv.policy import Compression
from worldkv.views import ChunkView


@dataclass(frozen=True)
class WholeChunk(Compression):
    """Every token of a chunk is stored. Source: this project."""

    spec_names: ClassVar[tuple[str, ...]] = ("whole",)
    keeps_anchor: ClassVar[bool] = True

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """All of them."""
        return Keep(chunk.tokens, chunk.frame_tokens)

    def keep(self, chunk: ChunkView) -> Keep:
        """All of them; positions are left out, since the whole chunk is copied as it is."""
        return Keep(chunk.tokens, chunk.frame_tokens)
