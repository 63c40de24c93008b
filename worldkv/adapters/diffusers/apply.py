"""diffusers' `WanTransformer3DModel` under a WorldCache, its source unedited.

Read against diffusers 0.42.1. The model has no cache of its own, and its rotary positions start at frame 0 in every
call. So each block's `attn1` gets an attention processor that asks the cache for its keys and values, and what
`transformer.rope` returns is moved to the chunk's absolute frames. Cross attention, modulation and kernel stay the
model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worldkv.adapters.diffusers.attachment import Attachment, check_alone
from worldkv.adapters.diffusers.geometry import check_geometry
from worldkv.errors import SpecError, WorldKVError

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache

BRANCHES: Mapping[str, int] = {"cond": 0, "uncond": 1}
"""What diffusers' pipelines call the two calls of guidance (`transformer.cache_context`), and their branches."""


def apply_worldkv(transformer: Any, cache: WorldCache, *, branches: Mapping[str, int] = BRANCHES) -> Attachment:
    """Put the transformer's self attention under `cache`, until `remove` of what is returned.

    Guidance may run on the batch axis, or as two calls on one cache, each within `transformer.cache_context(name)` as
    diffusers' own pipelines make them. A second expert (`transformer_2` of Wan 2.2) takes further branches of the same
    cache, `branches={"cond": 2, "uncond": 3}`; every branch runs one pass before each commit.

    Args:
        transformer: a `WanTransformer3DModel`.
        cache: of the model's geometry (`geometry_of`).
        branches: which branch of the cache a call within `cache_context(name)` is.

    Raises:
        WorldKVError: diffusers is not installed.
        SpecError: another model class, a geometry that is not the model's, a model that is split over devices, under
            a cache of diffusers, or under a WorldCache already.
    """
    try:
        from diffusers import WanTransformer3DModel
    except ImportError as missing:
        raise WorldKVError(
            "the adapter of diffusers needs diffusers, which is not installed; pip install 'worldkv[diffusers]'"
        ) from missing
    if not isinstance(transformer, WanTransformer3DModel):
        raise SpecError(
            f"apply_worldkv takes a WanTransformer3DModel, got {type(transformer).__name__}, whose attention and "
            "positions may differ; call cache.window in its attention yourself"
        )
    check_geometry(transformer, cache.geometry)
    check_alone(transformer)
    attachment = Attachment(transformer, cache, branches)
    attachment.attach()
    return attachment
