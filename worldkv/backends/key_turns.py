"""Where in time stored and attended keys stand, for models that hand them over rotated or before that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldkv.backends.rotary import Rotary
from worldkv.chunks import ChunkTable
from worldkv.engine.state import StepPlan
from worldkv.geometry import CacheGeometry
from worldkv.signals import Viewpoint


class KeyTurns:
    """Turns a step's queries and keys to their positions, and says by how much earlier chunks' keys are turned.

    Unrotated keys are stored as if each chunk started at frame 0, and stand where the plan says. Rotated ones are
    stored where they were generated.

    Attributes:
        rotary: the model's positions.
        is_unrotated: whether the model hands over queries and keys before their rotation.
    """

    def __init__(self, geometry: CacheGeometry, rotary: Rotary, riders: int, *, is_unrotated: bool) -> None:
        """Turns in `geometry`, whose last `riders` branches carry no position in time."""
        self._geometry, self._moved = geometry, geometry.branches - riders
        self.rotary, self.is_unrotated = rotary, is_unrotated

    def at(self, tensor: Tensor, start_frame: int, branch: int | None) -> Tensor:
        """Unrotated queries or keys `[B, S, H, D]` at `start_frame`; those of riders as they are."""
        if branch is not None:
            return self.rotary.rotate(tensor, start_frame) if branch < self._moved else tensor
        turned = self.rotary.rotate(tensor[: self._moved], start_frame)
        return turned if self._moved == len(tensor) else torch.cat([turned, tensor[self._moved :]])

    def at_frame_0(self, tensor: Tensor, views: Sequence[Viewpoint], branch: int | None) -> Tensor:
        """Unrotated queries or keys of a step's chunks, each turned as if it started at frame 0."""
        counts = [view.frames_of(self._geometry) * self._geometry.tokens_per_frame for view in views]
        return torch.cat([self.at(part, 0, branch) for part in torch.split(tensor, counts, dim=1)], dim=1)

    def of_attended(self, plan: StepPlan, table: ChunkTable) -> list[tuple[int, int]]:
        """Each attended chunk, and by how many latent frames it stands later than its stored keys say.

        Rotated queries stand where this step's chunk is generated. What the plan says is moved along to them as a
        whole, since attention sees differences only.
        """
        turns = plan.positions[:-1]
        if not self.is_unrotated:
            starts = table.columns["start_frame"][plan.attended]
            turns = turns - starts + (table.next_frame - int(plan.positions[-1]))
        return list(zip(plan.attended.tolist(), turns.tolist(), strict=True))

    def of_own(self, plan: StepPlan) -> int:
        """By how many latent frames the own chunk's attended keys are turned on from its stored ones."""
        return int(plan.positions[-1]) if self.is_unrotated else 0
