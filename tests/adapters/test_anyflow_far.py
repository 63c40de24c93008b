"""diffusers' AnyFlow-FAR under a WorldCache, against its own cache in its own loop."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import torch
from diffusers import AnyFlowFARTransformer3DModel
from torch import Tensor

from tests.adapters.tiny_wan import cameras, tiny_wan
from worldkv import Scene, Viewpoint, WorldCache, parse_policy
from worldkv.adapters.diffusers import geometry_of
from worldkv.adapters.diffusers.anyflow_far import FarAttachment, apply_worldkv_far
from worldkv.errors import PolicyError, SpecError, WorldKVError

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # by the library

LAYERS, HEADS, CHANNELS, ROWS, COLUMNS = 2, 2, 24, 8, 16
"""128 tokens a frame: what the model's own flex attention needs, whose last keys are padding otherwise."""
LENGTHS = (1, 1, 2, 1)


def tiny_far(limit: int = 100) -> Any:
    torch.manual_seed(0)
    sizes = {"num_attention_heads": HEADS, "attention_head_dim": CHANNELS, "text_dim": 8, "freq_dim": 16, "ffn_dim": 32}
    model = AnyFlowFARTransformer3DModel(
        **sizes, in_channels=4, out_channels=4, num_layers=LAYERS, full_chunk_limit=limit, chunk_partition=LENGTHS
    )
    return model.eval().requires_grad_(False)


def text() -> Tensor:
    return torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(7))


def latents_of(chunk: int) -> Tensor:
    noise = torch.Generator().manual_seed(chunk)
    return torch.randn(1, LENGTHS[chunk], 4, 2 * ROWS, 2 * COLUMNS, generator=noise)


def call(model: Any, latents: Tensor, now: float, chunk: int, kv_cache: Any, flag: dict[str, Any]) -> Any:
    times, partition = torch.full((1, latents.shape[1]), now), list(LENGTHS[: chunk + 1])
    return model(latents, times, times, text(), partition, kv_cache=kv_cache, kv_cache_flag=flag, return_dict=False)[0]


def by_its_own_cache(model: Any) -> Tensor:
    """Every chunk's output at noise level 800, earlier chunks cached by the library at level 0."""
    size = (2, 1, HEADS, sum(LENGTHS) * ROWS * COLUMNS, CHANNELS)
    kv_cache = [
        {"full_cache": torch.zeros(size), "compressed_cache": torch.zeros(2, 1, HEADS, 0, CHANNELS)}
        for _ in range(LAYERS)
    ]
    outs = []
    for chunk in range(len(LENGTHS)):
        flag = {"num_cached_chunks": chunk, "is_cache_step": False}
        outs.append(call(model, latents_of(chunk), 800.0, chunk, kv_cache, flag))
        sequence = torch.cat([latents_of(done) for done in range(chunk + 1)], dim=1)
        call(model, sequence, 0.0, chunk, kv_cache, {**flag, "is_cache_step": True})
    return torch.cat(outs, dim=1)


def cache_for(model: Any, policy: str = "full-kv", **options: Any) -> WorldCache:
    geometry = geometry_of(model, 2 * ROWS, 2 * COLUMNS, frames_per_chunk=2)
    return WorldCache(parse_policy(policy), geometry, scene=Scene(view_distance=5.0), **options)


def by_worldkv(attached: FarAttachment, model: Any) -> Tensor:
    outs, views = [], cameras(len(LENGTHS))
    for chunk, frames in enumerate(LENGTHS):
        attached.cache.begin(Viewpoint.of(views[chunk][:frames]))
        for now in (800.0, 0.0):
            outs.append(call(model, latents_of(chunk), now, chunk, attached.kv_cache, attached.flag(chunk)))
        attached.cache.commit()
    return torch.cat(outs[::2], dim=1)


@pytest.mark.parametrize("options", [{}, {"keys": "unrotated"}, {"pad_to": 5 * ROWS * COLUMNS}])
def test_full_kv_is_its_own_cache(options: dict[str, Any]) -> None:
    model = tiny_far()
    want = by_its_own_cache(model)
    processors = [block.attn1.processor for block in model.blocks]
    with cache_for(model, **options) as cache, apply_worldkv_far(model, cache) as attached:
        torch.testing.assert_close(by_worldkv(attached, model), want, rtol=1e-4, atol=1e-5)
    assert [block.attn1.processor for block in model.blocks] == processors


def test_a_window_is_not_full_kv() -> None:
    model = tiny_far()
    with cache_for(model, "sliding-window:sink_frames=0,recent_frames=2") as cache:
        got = by_worldkv(apply_worldkv_far(model, cache), model)
    assert (got - by_its_own_cache(tiny_far())).abs().max() > 1e-3


def test_chunks_encoded_again_with_coarser_patches_are_refused() -> None:
    """What the released weights do past three chunks."""
    model = tiny_far(limit=3)
    with cache_for(model) as cache, pytest.raises(PolicyError, match="full_chunk_limit"):
        by_worldkv(apply_worldkv_far(model, cache), model)
    model.register_to_config(full_chunk_limit=100)
    with cache_for(model) as cache:
        by_worldkv(apply_worldkv_far(model, cache), model)


def test_a_pass_that_fills_the_model_s_own_cache_is_refused() -> None:
    model = tiny_far()
    with (
        cache_for(model) as cache,
        apply_worldkv_far(model, cache) as attached,
        pytest.raises(PolicyError, match="flag"),
    ):
        call(model, latents_of(0), 0.0, 0, attached.kv_cache, {**attached.flag(0), "is_cache_step": True})


def test_a_partition_that_leaves_chunks_out_is_refused() -> None:
    model = tiny_far()
    with cache_for(model) as cache, apply_worldkv_far(model, cache) as attached:
        cache.begin(Viewpoint.of(cameras(1)[0][:1]))
        with pytest.raises(PolicyError, match="puts 128 tokens before this chunk, the cache 0"):
            call(model, latents_of(1), 800.0, 1, attached.kv_cache, attached.flag(1))


def test_another_model_class_is_refused() -> None:
    model = tiny_wan()
    with WorldCache(parse_policy("full-kv"), geometry_of(model, 4, 6)) as cache, pytest.raises(SpecError, match="Wan"):
        apply_worldkv_far(model, cache)


def test_another_model_s_geometry_is_refused() -> None:
    model = tiny_far()
    shape = dataclasses.replace(geometry_of(model, 2 * ROWS, 2 * COLUMNS), layers=3)
    with WorldCache(parse_policy("full-kv"), shape) as cache, pytest.raises(SpecError, match="2 layers"):
        apply_worldkv_far(model, cache)


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_far()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with cache_for(model) as cache, pytest.raises(WorldKVError, match=r"worldkv\[diffusers\]"):
        apply_worldkv_far(model, cache)
