"""Mean key: chunks whose mean key queries point at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.mean_key import MeanKey
from worldkv.parts.selector.select import TopK
from worldkv.policy import ABSOLUTE, Positions


@dataclass(frozen=True)
class MeanKeyRetrieval(FromParts):
    """What ReKV and InfLLM fetch by, asked with the step's own queries.

    Asked after the first denoise pass. Published per layer; scores here are averaged over layers and heads, since a
    chunk comes back whole. ReKV gives what it fetches contiguous positions: `positions=rebased`. Source: ReKV and
    InfLLM (arXiv 2402.04617).

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        positions: where attended chunks stand in time; "rebased" as ReKV has them.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("mean-key",)
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    positions: Positions = ABSOLUTE

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            MeanKey(),
            TopK(),
            WholeChunk(),
        )
