"""Open a group for a cache: refuse what does not go together, and compare what the ranks were made with."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from worldkv.backends.group.rank_group import RankGroup, Split
from worldkv.config import CacheConfig
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def open_group(
    group: ProcessGroup | None,
    split: Split,
    device: str,
    policy: CachePolicy,
    geometry: CacheGeometry,
    config: CacheConfig | None,
    reduce: Callable[[Any], Any] | None,
    **others: object,
) -> RankGroup | None:
    """The ranks of `group`, once all of them are here with the same policy, geometry and the rest.

    Args:
        group: the process group; None where one process holds everything.
        split: what is split over it.
        device: the cache's device.
        policy: the cache's policy.
        geometry: of this rank's share.
        config: the cache's configuration.
        reduce: a sum over ranks of the caller's own, which a group does not take.
        others: what else must be the same on every rank.

    Raises:
        SpecError: what does not go with a group.
        GroupError: the ranks were made differently; on every rank.
    """
    if group is None:
        return None
    if reduce is not None:
        raise SpecError("a cache takes group= or reduce=, got both; with group= it sums over ranks by itself")
    if config is not None and config.when_lost == "go-on":
        raise SpecError(
            "a cache with group= takes when_lost=error, got go-on; one rank cannot go on without a chunk that the "
            "others have"
        )
    facts = {"policy": told(policy), "geometry": told(geometry), "config": told(config or CacheConfig())}
    facts |= {name: told(value) for name, value in others.items()}
    return RankGroup(group, split, geometry.kv_heads, facts, torch.device(device))


def told(value: object) -> str:
    """A value as text that is the same in every process: no addresses, sets in order, functions by name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(f'{name}={told(part)}' for name, part in fields)})"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(told, value))})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(told, value)))}}}"
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
