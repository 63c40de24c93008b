"""worldkv: KV-cache policies for video world models, on a trace simulator or on real attention.

The names below are the public interface; everything is imported on first use, so that `import worldkv` costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv._lazy import on_first_use

if TYPE_CHECKING:
    from worldkv.answers import Eviction as Eviction
    from worldkv.answers import Keep as Keep
    from worldkv.answers import RaggedKeep as RaggedKeep
    from worldkv.answers import Retrieval as Retrieval
    from worldkv.backend import CacheBackend as CacheBackend
    from worldkv.backends.cache import WorldCache as WorldCache
    from worldkv.config import CacheConfig as CacheConfig
    from worldkv.engine.engine import CacheEngine as CacheEngine
    from worldkv.errors import WorldKVError as WorldKVError
    from worldkv.geometry import CacheGeometry as CacheGeometry
    from worldkv.metrics.landmarks import place_landmarks as place_landmarks
    from worldkv.policy import CachePolicy as CachePolicy
    from worldkv.policy import Compression as Compression
    from worldkv.policy import CoverageIndex as CoverageIndex
    from worldkv.policy import EvictionRule as EvictionRule
    from worldkv.policy import Index as Index
    from worldkv.scene import Scene as Scene
    from worldkv.scene import viewpoints as viewpoints
    from worldkv.signals import Signal as Signal
    from worldkv.signals import Viewpoint as Viewpoint
    from worldkv.sim.machine import load_machine as load_machine
    from worldkv.sim.rollout import simulate as simulate
    from worldkv.specs.parse import parse_geometry as parse_geometry
    from worldkv.specs.parse import parse_policy as parse_policy
    from worldkv.tiers import TierLimits as TierLimits
    from worldkv.trajectory import cut as cut
    from worldkv.trajectory import load_trajectory as load_trajectory
    from worldkv.views import BankView as BankView
    from worldkv.views import ChunkView as ChunkView
    from worldkv.views import Query as Query
    from worldkv.views import WindowView as WindowView

__version__ = "0.1.0"

_HOMES = {
    "BankView": "worldkv.views",
    "CacheBackend": "worldkv.backend",
    "CacheConfig": "worldkv.config",
    "CacheEngine": "worldkv.engine.engine",
    "CacheGeometry": "worldkv.geometry",
    "CachePolicy": "worldkv.policy",
    "ChunkView": "worldkv.views",
    "Compression": "worldkv.policy",
    "CoverageIndex": "worldkv.policy",
    "Eviction": "worldkv.answers",
    "EvictionRule": "worldkv.policy",
    "Index": "worldkv.policy",
    "Keep": "worldkv.answers",
    "Query": "worldkv.views",
    "RaggedKeep": "worldkv.answers",
    "Retrieval": "worldkv.answers",
    "Scene": "worldkv.config",
    "Signal": "worldkv.signals",
    "TierLimits": "worldkv.tiers",
    "Viewpoint": "worldkv.signals",
    "WindowView": "worldkv.views",
    "WorldCache": "worldkv.backends.cache",
    "WorldKVError": "worldkv.errors",
    "cut": "worldkv.trajectory",
    "load_machine": "worldkv.sim.machine",
    "load_trajectory": "worldkv.trajectory",
    "parse_geometry": "worldkv.specs.parse",
    "parse_policy": "worldkv.specs.parse",
    "place_landmarks": "worldkv.metrics.landmarks",
    "simulate": "worldkv.sim.rollout",
    "viewpoints": "worldkv.scene",
}

__all__ = sorted(_HOMES)

__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
