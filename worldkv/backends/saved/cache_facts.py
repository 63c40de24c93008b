"""What has to be the same for a world to go on: policy, shape, dtype, and how the model hands over its keys."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldkv.backends.saved.open_cache import OpenCache
from worldkv.config import CacheConfig
from worldkv.engine.policy_facts import difference, policy_facts
from worldkv.errors import SavedWorldError
from worldkv.geometry import CacheGeometry
from worldkv.scene import Scene
from worldkv.signals import Signal
from worldkv.tiers import TierLimits

ALIKE = ("policy", "geometry", "dtype", "rotary", "scene")
"""Facts that what is given must agree with; the others are taken from the save."""


def cache_facts(cache: OpenCache) -> dict[str, Any]:
    """The facts of an open cache, in plain JSON types."""
    engine = cache.engine
    return {
        "policy": policy_facts(cache.policy),
        "geometry": geometry_facts(cache.geometry),
        "dtype": str(cache.dtype).removeprefix("torch."),
        "rotary": type(cache.rotary).__qualname__,
        "scene": scene_facts(engine.scene),
        "config": config_facts(engine.config),
        "form": cache.form_facts(),
        "signals": sorted(signal.name for signal in cache.measured_signals),
    }


def check_alike(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Refuse to go on under other facts than the world was saved under.

    Raises:
        SavedWorldError: naming the first that differs.
    """
    for kind in ALIKE:
        found = difference(before.get(kind), now.get(kind))
        if found is not None:
            what = {"dtype": "dtype of keys and values", "rotary": "class of rotary positions"}.get(kind, kind)
            raise SavedWorldError(
                f"{where} was saved under another {what}: {found}; open it with the {what} that it was saved under"
            )


def geometry_facts(geometry: CacheGeometry) -> dict[str, Any]:
    """The shape without its name."""
    facts = dataclasses.asdict(geometry)
    del facts["name"]
    return facts


def scene_facts(scene: Scene) -> dict[str, Any]:
    """The scene; arrays and landmarks by their digest."""
    facts: dict[str, Any] = {
        "field_of_view": [float(angle) for angle in scene.field_of_view],
        "view_distance": float(scene.view_distance),
        "signals": sorted(signal.name for signal in scene.signals),
    }
    if scene.landmarks is not None:
        parts = (scene.landmarks.seen_by_frame, scene.landmarks.counted)
        facts["landmarks"] = [_digest(part) for part in parts]
    for name in ("recorded_tokens", "recorded_entries", "attention_ahead"):
        array = getattr(scene, name)
        if array is not None:
            facts[name] = _digest(array)
    return facts


def scene_of_facts(facts: Mapping[str, Any], where: str) -> Scene:
    """The scene that was saved.

    Raises:
        SavedWorldError: it has landmarks or recordings, which are not saved with the world.
        ValueError, KeyError, TypeError: the facts are none.
    """
    missing = facts.keys() - {"field_of_view", "view_distance", "signals"}
    if missing:
        raise SavedWorldError(
            f"{where} was saved in a scene with {', '.join(sorted(missing)).replace('_', ' ')}, which a world does not "
            "hold; hand the same scene to open"
        )
    wide, high = (float(angle) for angle in facts["field_of_view"])
    return Scene((wide, high), float(facts["view_distance"]), frozenset(Signal[name] for name in facts["signals"]))


def config_facts(config: CacheConfig) -> dict[str, Any]:
    """The configuration in plain JSON types."""
    return dataclasses.asdict(config)


def config_of_facts(facts: Mapping[str, Any]) -> CacheConfig:
    """The configuration that was saved.

    Raises:
        WorldKVError, KeyError, TypeError: the facts are none.
    """
    return CacheConfig(**{**facts, "limits": TierLimits(**facts["limits"])})


def _digest(array: Any) -> str:
    rows = np.ascontiguousarray(array)
    return f"{rows.dtype} {list(rows.shape)} #{hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest()}"
