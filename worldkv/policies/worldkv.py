"""WorldKV: nearest poses, half of each chunk's tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldkv.errors import SpecError
from worldkv.parts.compression.world_compression import WorldCompression
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.pose_index import ActionIndex, PoseIndex, RotationMean
from worldkv.parts.selector.select import TopK
from worldkv.policy import ABSOLUTE, Positions


@dataclass(frozen=True)
class WorldKV(FromParts):
    """World Retrieval and World Compression: the window is sink | retrieved | recent, the rest waits in the bank.

    Before each chunk the nearest banked camera poses are fetched; each chunk is compressed once, when it is banked.
    Source: arXiv 2605.22718.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of each banked frame but its chunk's anchor, in (0, 1]; 0.25 stores half a chunk.
        pooled: rank the tokens of a chunk's later frames together instead of frame by frame.
        index: "pose" by camera pose, "action" by the pose integrated from actions.
        rotation_mean: "elementwise" is the published code's literal rule, "chordal" the proper rotation mean.
        positions: where attended chunks stand in time; "rebased" is the paper's RoPE correction.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("worldkv",)
    has_own_size: ClassVar[bool] = True

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    keep_ratio: float = 0.25
    pooled: bool = False
    index: Literal["pose", "action"] = "pose"
    rotation_mean: RotationMean = "elementwise"
    positions: Positions = ABSOLUTE

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        if self.index not in ("pose", "action"):
            raise SpecError(f"worldkv's index must be pose or action, got {self.index!r}")
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            PoseIndex(self.rotation_mean) if self.index == "pose" else ActionIndex(self.rotation_mean),
            TopK(),
            WorldCompression(self.keep_ratio, self.pooled),
        )
