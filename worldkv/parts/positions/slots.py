"""Fixed places for sink, retrieved and recent chunks, filled or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldkv.answers import Ids
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.positions.order import Order, check_order, in_order, recent_rows
from worldkv.policy import Positions
from worldkv.views import AttendedChunks


@dataclass(frozen=True)
class Slots(Positions):
    """The own chunk always stands at the same place, recent chunks right before it, the rest in slots from frame 0.

    A slot that is not filled stays empty, so that a chunk of one kind is always as far away as the model was trained
    for. The sink fills the first slots, retrieved chunks those behind it; with `is_shared` all retrieved chunks stand
    in the same slot. Source: WorldTrace (arXiv 2608.07408: fixed in-distribution slots), LongLive-RAG (all memory at
    one index).

    Attributes:
        slot_frames: latent frame at which the own chunk stands; at least what is attended beside it.
        order: which retrieved chunk stands in the first slot: "id" the oldest, "rank" the best ranked, "age" the
            newest.
        is_shared: whether all retrieved chunks stand in one slot.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("slots",)

    slot_frames: int = 27
    order: Order = "id"
    is_shared: bool = False

    @classmethod
    def default_in(cls, geometry: CacheGeometry, name: str, default: Any) -> Any:
        """See `Part.default_in`: what sink, retrieved and recent frames of 3, 18 and 6 take in whole chunks."""
        if name == "slot_frames":
            return sum(map(geometry.whole_frames, (3, 18, 6)))
        return super().default_in(geometry, name, default)

    def __post_init__(self) -> None:
        check_order(self.order)
        if self.slot_frames < 0:
            raise SpecError(f"slot_frames must be at least 0 latent frames, got {self.slot_frames}")

    def check_window(self, frames: int) -> None:
        """See `Positions.check_window`."""
        if frames > self.slot_frames:
            raise SpecError(
                f"slots of {self.slot_frames} latent frames do not hold the {frames} that the policy keeps and "
                f"fetches; take slot_frames={frames} or more"
            )

    def places(self, attended: AttendedChunks) -> Ids:
        """See `Positions.places`.

        Raises:
            SpecError: the slots do not hold what is attended.
        """
        frames, retrieved, recent = attended.frames, in_order(attended, self.order), recent_rows(attended)
        sink = np.setdiff1d(np.arange(len(frames)), np.concatenate([retrieved, recent]))
        places = np.empty(len(frames) + 1, np.int64)
        places[-1] = self.slot_frames
        from_own = np.cumsum(frames[recent][::-1])[::-1]
        places[recent] = self.slot_frames - from_own
        first = np.cumsum(frames[sink])
        places[sink] = first - frames[sink]
        taken = int(first[-1]) if len(first) else 0
        widths = frames[retrieved]
        starts = np.cumsum(widths) - widths
        places[retrieved] = taken + (0 if self.is_shared else starts)
        needed = taken + int(widths.max(initial=0) if self.is_shared else widths.sum())
        room = self.slot_frames - (int(from_own[0]) if len(from_own) else 0)
        if needed > room:
            raise SpecError(
                f"slots of {self.slot_frames} latent frames do not hold the {needed} of sink and retrieved chunks and "
                f"{self.slot_frames - room} recent ones of step {attended.step}; raise slot_frames"
            )
        return places
