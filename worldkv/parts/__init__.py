"""Shared parts of policies: eviction rules, indices, selectors, compressions. A spec string names them as here."""

from worldkv.parts.frustum_index import FrustumIndex as FrustumIndex
from worldkv.parts.keep_all import NeverEvict as NeverEvict
from worldkv.parts.keep_all import WholeChunk as WholeChunk
from worldkv.parts.pose_index import ActionIndex as ActionIndex
from worldkv.parts.pose_index import PoseIndex as PoseIndex
from worldkv.parts.select import GreedyCoverage as GreedyCoverage
from worldkv.parts.select import Spread as Spread
from worldkv.parts.select import Threshold as Threshold
from worldkv.parts.select import TopK as TopK
from worldkv.parts.sink_recent import SinkRecent as SinkRecent
from worldkv.parts.world_compression import WorldCompression as WorldCompression
from worldkv.policy import Part

PARTS: dict[str, type[Part]] = {
    "never": NeverEvict,
    "sink-recent": SinkRecent,
    "pose": PoseIndex,
    "action": ActionIndex,
    "frustum": FrustumIndex,
    "top-k": TopK,
    "threshold": Threshold,
    "spread": Spread,
    "greedy-coverage": GreedyCoverage,
    "whole": WholeChunk,
    "world-compression": WorldCompression,
}
"""Parts by the name a spec string uses: `composed:index=pose,selector=spread`."""
