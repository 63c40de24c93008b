"""Shared parts of policies: eviction rules, indices, selectors, compressions. A spec string names them as here."""

from worldkv.parts.age_penalty import AgePenalty as AgePenalty
from worldkv.parts.frugal import Frugal as Frugal
from worldkv.parts.frustum_index import FrustumIndex as FrustumIndex
from worldkv.parts.hysteresis import Hysteresis as Hysteresis
from worldkv.parts.keep_all import NeverEvict as NeverEvict
from worldkv.parts.keep_all import WholeChunk as WholeChunk
from worldkv.parts.pose_index import ActionIndex as ActionIndex
from worldkv.parts.pose_index import PoseIndex as PoseIndex
from worldkv.parts.predicted_pose import PredictedPose as PredictedPose
from worldkv.parts.refresh_interval import RefreshInterval as RefreshInterval
from worldkv.parts.select import GreedyCoverage as GreedyCoverage
from worldkv.parts.select import Spread as Spread
from worldkv.parts.select import Threshold as Threshold
from worldkv.parts.select import TopK as TopK
from worldkv.parts.sink_recent import SinkRecent as SinkRecent
from worldkv.parts.world_compression import WorldCompression as WorldCompression
from worldkv.policy import Part, by_spec_name

PARTS: dict[str, type[Part]] = by_spec_name(globals(), Part)
"""Parts by the names a spec string may use: `composed:index=pose,selector=spread`."""
