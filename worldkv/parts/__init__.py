"""Shared parts of policies: eviction rules, indices, selectors, compressions. A spec string names them as here.

The order of these lines is the order in which `worldkv policies` lists the parts of a kind.
"""

from worldkv.parts.compression.anchor_only import AnchorOnly as AnchorOnly
from worldkv.parts.compression.whole_chunk import WholeChunk as WholeChunk

# isort: split
from worldkv.parts.compression.quantised_bank import QuantisedBank as QuantisedBank
from worldkv.parts.compression.scored_tokens import ScoredTokens as ScoredTokens
from worldkv.parts.compression.world_compression import WorldCompression as WorldCompression
from worldkv.parts.eviction.admission import Admission as Admission
from worldkv.parts.eviction.never_evict import NeverEvict as NeverEvict
from worldkv.parts.eviction.sink_recent import SinkRecent as SinkRecent
from worldkv.parts.eviction.token_pool import TokenPool as TokenPool
from worldkv.parts.fetch import fetch as fetch
from worldkv.parts.index.fov_overlap import FovOverlap as FovOverlap
from worldkv.parts.index.fov_overlap import FovScore as FovScore
from worldkv.parts.index.fov_overlap import points_in_view as points_in_view
from worldkv.parts.index.frustum_index import FrustumIndex as FrustumIndex
from worldkv.parts.index.key_bounds import KeyBounds as KeyBounds
from worldkv.parts.index.lookahead import Lookahead as Lookahead
from worldkv.parts.index.mean_key import MeanKey as MeanKey
from worldkv.parts.index.planar_cones import PlanarCones as PlanarCones
from worldkv.parts.index.pose_index import ActionIndex as ActionIndex
from worldkv.parts.index.pose_index import PoseIndex as PoseIndex
from worldkv.parts.index.pose_index import RotationMean as RotationMean
from worldkv.parts.need import AttentionNeed as AttentionNeed
from worldkv.parts.need import LandmarkNeed as LandmarkNeed
from worldkv.parts.positions.rebased import Rebased as Rebased
from worldkv.parts.positions.relative import Relative as Relative
from worldkv.parts.positions.slots import Slots as Slots
from worldkv.parts.scorer.anchor_penalty import AnchorPenalty as AnchorPenalty
from worldkv.parts.scorer.attention_received import AttentionReceived as AttentionReceived
from worldkv.parts.scorer.key_diff import KeyDiff as KeyDiff
from worldkv.parts.scorer.learned_utility import LearnedUtility as LearnedUtility
from worldkv.parts.scorer.novelty import Novelty as Novelty
from worldkv.parts.scorer.participation import Participation as Participation
from worldkv.parts.scorer.scored_by import ScoredBy as ScoredBy
from worldkv.parts.scorer.unlike_anchor import UnlikeAnchor as UnlikeAnchor
from worldkv.parts.selector.distinct_poses import DistinctPoses as DistinctPoses
from worldkv.parts.selector.frugal import Frugal as Frugal
from worldkv.parts.selector.one_per_run import OnePerRun as OnePerRun
from worldkv.parts.selector.select import GreedyCoverage as GreedyCoverage
from worldkv.parts.selector.select import Spread as Spread
from worldkv.parts.selector.select import Threshold as Threshold
from worldkv.parts.selector.select import TopK as TopK
from worldkv.parts.selector.threshold_pages import ThresholdPages as ThresholdPages
from worldkv.parts.wrapper.age_penalty import AgePenalty as AgePenalty
from worldkv.parts.wrapper.hysteresis import Hysteresis as Hysteresis
from worldkv.parts.wrapper.least_age import LeastAge as LeastAge
from worldkv.parts.wrapper.predicted_pose import PredictedPose as PredictedPose
from worldkv.parts.wrapper.refresh_interval import RefreshInterval as RefreshInterval
from worldkv.policy import Absolute as Absolute
from worldkv.policy import Part, by_spec_name

PARTS: dict[str, type[Part]] = by_spec_name(globals(), Part)
"""Parts by the names a spec string may use: `composed:index=pose,selector=spread`."""
