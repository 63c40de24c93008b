"""A quantised bank: what another compression keeps, stored at eight bits a number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from worldkv.answers import Keep, RaggedKeep, StoredAs, stored_bytes
from worldkv.errors import SpecError
from worldkv.parts.compress import compressed
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.policy import Compression
from worldkv.views import ChunkView


@dataclass(frozen=True)
class QuantisedBank(Compression):
    """Keys and values cross the bus and lie in the bank as eight-bit numbers with one scale for every channel.

    Symmetric, per layer, head and channel over the chunk's kept tokens; in the window they are at full size again. A
    chunk that is wanted at once when it is banked stays in the window as it was until it next comes from the bank.
    Source: per-channel quantisation of keys as in KIVI (arXiv 2402.02750), at eight bits and for values too.

    Attributes:
        inner: which tokens are kept; not one whose counts differ between heads.
        stored_as: "int8", or "fp8" (e4m3).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("quantised",)

    inner: Compression = WholeChunk()
    stored_as: StoredAs = "int8"

    def __post_init__(self) -> None:
        if self.stored_as not in ("int8", "fp8"):
            raise SpecError(f"stored_as must be int8 or fp8, got {self.stored_as!r}")

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """The inner rule's closed form, or its recording, at eight bits."""
        return self._stored(compressed(self.inner, replace(chunk, keys=None)), chunk)

    def keep(self, chunk: ChunkView) -> Keep:
        """The inner rule's choice, at eight bits."""
        return self._stored(self.inner.keep(chunk), chunk)

    def _stored(self, keep: Keep | RaggedKeep, chunk: ChunkView) -> Keep:
        if isinstance(keep, RaggedKeep):
            raise SpecError(
                f"{type(self.inner).__name__} keeps other counts in every head, which a quantised bank cannot hold; "
                "take a compression with one count"
            )
        return replace(keep, stored_bytes=stored_bytes(chunk.geometry, keep.count), stored_as=self.stored_as)
