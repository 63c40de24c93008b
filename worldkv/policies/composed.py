"""Composed: any index, selector, eviction, compression and wrappers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.assembled import Assembled, Roles
from worldkv.parts.keep_all import WholeChunk
from worldkv.parts.pose_index import PoseIndex
from worldkv.parts.select import GreedyCoverage, TopK
from worldkv.parts.sink_recent import SinkRecent
from worldkv.policy import Compression, CoverageIndex, CoverageSelector, EvictionRule, Index, Selector, Wrapper


@dataclass(frozen=True)
class Composed(Assembled):
    """A policy put together from parts; how a new index is tried without writing a policy. Source: this project.

    Attributes:
        index: scores the banked chunks, or says what they cover.
        selector: picks among them; None takes top-k for scores and greedy-coverage for coverage.
        eviction: who leaves the window.
        compression: which tokens the bank stores.
        retrieved_frames: latent frames fetched at most.
        wrappers: what stands round index and selector, outermost first; `wrappers=refresh-interval+hysteresis`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("composed",)

    index: Index | CoverageIndex = PoseIndex()
    selector: Selector | CoverageSelector | None = None
    eviction: EvictionRule = SinkRecent()
    compression: Compression = WholeChunk()
    retrieved_frames: int = 18
    wrappers: tuple[Wrapper, ...] = ()

    def assembled(self) -> Roles:
        """See `Assembled.assembled`."""
        selector = self.selector or (TopK() if isinstance(self.index, Index) else GreedyCoverage())
        return Roles(self.eviction, self.index, selector, self.compression, self.wrappers)
