"""Composed: any index, selector, eviction, compression and wrappers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.errors import SpecError
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.pose_index import PoseIndex
from worldkv.parts.selector.select import GreedyCoverage, TopK
from worldkv.policy import (
    ABSOLUTE,
    Compression,
    CoverageIndex,
    CoverageSelector,
    EvictionRule,
    Index,
    Positions,
    Selector,
    Wrapper,
)

_KINDS: dict[str, tuple[type, ...]] = {
    "index": (Index, CoverageIndex),
    "selector": (Selector, CoverageSelector, type(None)),
    "eviction": (EvictionRule,),
    "compression": (Compression,),
    "positions": (Positions,),
}


@dataclass(frozen=True)
class Composed(FromParts):
    """A policy put together from parts; how a new index is tried without writing a policy. Source: this project.

    It is asked before the first pass, so that an index by queries sees those of the step before; `mean-key`,
    `quest-bounds` and `arkvale` as policies are asked after it, with the step's own.

    Attributes:
        index: scores the banked chunks, or says what they cover.
        selector: picks among them; None takes top-k for scores and greedy-coverage for coverage.
        eviction: which chunks leave the window.
        compression: which tokens the bank stores.
        retrieved_frames: latent frames fetched at most.
        wrappers: parts round index and selector, outermost first; `wrappers=refresh-interval+hysteresis`.
        positions: where attended chunks stand in time.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("composed",)

    index: Index | CoverageIndex = PoseIndex()
    selector: Selector | CoverageSelector | None = None
    eviction: EvictionRule = SinkRecent()
    compression: Compression = WholeChunk()
    retrieved_frames: int = 18
    wrappers: tuple[Wrapper, ...] = ()
    positions: Positions = ABSOLUTE

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
                raise SpecError(f"Composed.{name} must be an object of class {wanted}, got {value!r}")
        if not isinstance(self.wrappers, tuple) or not all(isinstance(one, Wrapper) for one in self.wrappers):
            raise SpecError(
                f"Composed.wrappers must be a tuple of wrappers, as in (Hysteresis(),), got {self.wrappers!r}"
            )
        if isinstance(self.retrieved_frames, bool) or not isinstance(self.retrieved_frames, int):
            raise SpecError(f"Composed.retrieved_frames must be a whole number, got {self.retrieved_frames!r}")
        super().__post_init__()

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        selector = self.selector or (TopK() if isinstance(self.index, Index) else GreedyCoverage())
        return PolicyParts(self.eviction, self.index, selector, self.compression, self.wrappers)
