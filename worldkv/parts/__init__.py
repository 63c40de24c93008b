"""Shared parts of policies: eviction rules, indices, selectors, compressions. A spec string names them as here."""

from worldkv.parts.admission import Admission as Admission
from worldkv.parts.age_penalty import AgePenalty as AgePenalty
from worldkv.parts.anchor_only import AnchorOnly as AnchorOnly
from worldkv.parts.anchor_penalty import AnchorPenalty as AnchorPenalty
from worldkv.parts.attention_received import AttentionReceived as AttentionReceived
from worldkv.parts.distinct_poses import DistinctPoses as DistinctPoses
from worldkv.parts.fov_overlap import FovOverlap as FovOverlap
from worldkv.parts.fov_overlap import FovScore as FovScore
from worldkv.parts.frugal import Frugal as Frugal
from worldkv.parts.frustum_index import FrustumIndex as FrustumIndex
from worldkv.parts.hysteresis import Hysteresis as Hysteresis
from worldkv.parts.keep_all import NeverEvict as NeverEvict
from worldkv.parts.keep_all import WholeChunk as WholeChunk
from worldkv.parts.key_bounds import KeyBounds as KeyBounds
from worldkv.parts.key_diff import KeyDiff as KeyDiff
from worldkv.parts.learned_utility import LearnedUtility as LearnedUtility
from worldkv.parts.lookahead import Lookahead as Lookahead
from worldkv.parts.mean_key import MeanKey as MeanKey
from worldkv.parts.need import AttentionNeed as AttentionNeed
from worldkv.parts.need import LandmarkNeed as LandmarkNeed
from worldkv.parts.novelty import Novelty as Novelty
from worldkv.parts.one_per_run import OnePerRun as OnePerRun
from worldkv.parts.participation import Participation as Participation
from worldkv.parts.planar_cones import PlanarCones as PlanarCones
from worldkv.parts.pose_index import ActionIndex as ActionIndex
from worldkv.parts.pose_index import PoseIndex as PoseIndex
from worldkv.parts.predicted_pose import PredictedPose as PredictedPose
from worldkv.parts.quantised_bank import QuantisedBank as QuantisedBank
from worldkv.parts.refresh_interval import RefreshInterval as RefreshInterval
from worldkv.parts.scored_by import ScoredBy as ScoredBy
from worldkv.parts.scored_tokens import ScoredTokens as ScoredTokens
from worldkv.parts.select import GreedyCoverage as GreedyCoverage
from worldkv.parts.select import Spread as Spread
from worldkv.parts.select import Threshold as Threshold
from worldkv.parts.select import TopK as TopK
from worldkv.parts.sink_recent import SinkRecent as SinkRecent
from worldkv.parts.threshold_pages import ThresholdPages as ThresholdPages
from worldkv.parts.token_pool import TokenPool as TokenPool
from worldkv.parts.unlike_anchor import UnlikeAnchor as UnlikeAnchor
from worldkv.parts.world_compression import WorldCompression as WorldCompression
from worldkv.policy import Part
from worldkv.policy_names import by_spec_name

PARTS: dict[str, type[Part]] = by_spec_name(globals(), Part)
"""Parts by the names a spec string may use: `composed:index=pose,selector=spread`."""
