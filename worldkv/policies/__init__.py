"""Cache policies, one a file; a new one is exported here and nowhere else."""

from worldkv.policies.composed import Composed as Composed
from worldkv.policies.drop_oldest import DropOldest as DropOldest
from worldkv.policies.frugal_coverage import FrugalCoverage as FrugalCoverage
from worldkv.policies.frustum_coverage import FrustumCoverage as FrustumCoverage
from worldkv.policies.full_kv import FullKV as FullKV
from worldkv.policies.oracle import Oracle as Oracle
from worldkv.policies.random import RandomRetrieval as RandomRetrieval
from worldkv.policies.sliding_window import SlidingWindow as SlidingWindow
from worldkv.policies.worldkv import WorldKV as WorldKV
