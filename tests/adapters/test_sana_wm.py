"""diffusers' SANA-WM refiner under a WorldCache, against its own cache, in the refiner's own order of calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import SanaWMLTX2RefinerTransformer3DModel
from diffusers.models.transformers.transformer_sana_wm_refiner import SanaWMRefinerKVCache
from torch import Tensor

from tests.adapters.tiny_wan import cameras
from tests.adapters.toy_engine import assert_takes_the_calls_of
from worldkv import CacheGeometry, Scene, Viewpoint, WorldCache, parse_policy
from worldkv.adapters.diffusers.sana_wm import LayerCache, RefinerCache
from worldkv.errors import PolicyError, SpecError

LAYERS, HEADS, CHANNELS, HEIGHT, WIDTH, FRAMES, SINK = 2, 2, 12, 2, 3, 3, 1
LENGTHS = (3, 3, 3, 3, 2)
"""Frames of every block; the last one is cut short, as the refiner's loop does."""
GEOMETRY = CacheGeometry(LAYERS, HEADS, HEADS, CHANNELS, HEIGHT, WIDTH, FRAMES, itemsize=4)


def tiny_refiner(rope_type: str) -> Any:
    torch.manual_seed(0)
    video = {"in_channels": 4, "out_channels": 4, "num_attention_heads": HEADS, "attention_head_dim": CHANNELS}
    audio = {"in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 4}
    sizes = {"cross_attention_dim": HEADS * CHANNELS, "audio_cross_attention_dim": 8, "caption_channels": 8}
    audio = {f"audio_{name}": size for name, size in audio.items()}
    model = SanaWMLTX2RefinerTransformer3DModel(**video, **audio, **sizes, num_layers=LAYERS, rope_type=rope_type)
    return model.eval().requires_grad_(False)


def refined(model: Any, kv_cache: Any, history_frames: int = 1000) -> Tensor:
    """Every pass's output in the loop of diffusers' `SanaWMLTX2Refiner`, its sink and its account of history."""
    noise, outs, held = torch.Generator().manual_seed(1), [], 0
    text = torch.randn(1, 5, 8, generator=noise)

    def table(first: int, frames: int) -> Any:
        return model.build_rotary_emb_for_absolute_positions(
            1, list(range(first, first + frames)), HEIGHT, WIDTH, torch.device("cpu"), 16.0
        )

    def call(tokens: Tensor, first: int, frames: int, noise_level: float, mode: str) -> None:
        times = torch.full(tokens.shape[:2], noise_level)
        rotary = table(first, frames)
        passed = {"video_rotary_emb": rotary, "kv_cache": kv_cache, "kv_cache_mode": mode, "return_dict": False}
        outs.append(model(tokens, text, times, **passed)[0])

    def latents(frames: int) -> Tensor:
        return torch.randn(1, frames * HEIGHT * WIDTH, 4, generator=noise)

    call(latents(SINK), 0, SINK, 0.0, "capture_pre_rope")
    every = [kv_cache.get(layer) for layer in range(len(kv_cache))]
    for layer in every:
        layer.store_sink(*layer.get_captured_pre_rope())
    start = SINK
    for frames in LENGTHS:
        kv_cache.sink_pe = table(start - held - SINK, SINK)
        own = latents(frames)
        for level in (0.9, 0.5):
            call(own, start, frames, level, "inject")
            own = own - 0.4 * outs[-1]
        call(own, start, frames, 0.0, "inject_and_capture_post_rope")
        for layer in every:
            new, history = layer.get_captured_post_rope(), layer.get_history()
            joined = new if history is None else tuple(torch.cat(pair, 1) for pair in zip(history, new, strict=True))
            layer.store_history(*joined)
        held += frames
        if held > history_frames:
            for layer in every:
                history = layer.get_history()
                if history is not None:
                    layer.store_history(*(part[:, -history_frames * HEIGHT * WIDTH :] for part in history))
            held = history_frames
        start += frames
    return torch.cat(outs, dim=1)


def cache_for(policy: str, **options: Any) -> WorldCache:
    return WorldCache(parse_policy(policy), GEOMETRY, scene=Scene(view_distance=5.0), **options)


def viewpoint_of(block: int) -> Viewpoint:
    return Viewpoint.of(cameras(len(LENGTHS))[block][: LENGTHS[block]])


@pytest.mark.parametrize("rope_type", ["interleaved", "split"])
def test_full_kv_is_its_own_cache_to_the_bit(rope_type: str) -> None:
    model = tiny_refiner(rope_type)
    want = refined(model, SanaWMRefinerKVCache(LAYERS))
    with cache_for("full-kv") as cache:
        ours = RefinerCache(cache, viewpoint_of)
        assert torch.equal(refined(model, ours), want)
        ours.clear()
        assert torch.equal(refined(model, ours), want)


def test_a_sliding_window_is_its_own_trimmed_history() -> None:
    model = tiny_refiner("split")
    want = refined(model, SanaWMRefinerKVCache(LAYERS), history_frames=6)
    with cache_for("sliding-window:sink_frames=0,recent_frames=6") as cache:
        got = refined(model, RefinerCache(cache, viewpoint_of), history_frames=6)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert (got - refined(model, SanaWMRefinerKVCache(LAYERS))).abs().max() > 1e-3


def test_the_calls_are_the_library_s() -> None:
    assert_takes_the_calls_of(
        RefinerCache, type("Calls", (), {**vars(SanaWMRefinerKVCache), "__init__": object.__init__})
    )
    assert_takes_the_calls_of(
        LayerCache, type("Calls", (), {**vars(type(SanaWMRefinerKVCache(1).get(0))), "__init__": None})
    )


@pytest.mark.parametrize(("policy", "options"), [("worldkv:rebase=true", {}), ("full-kv", {"keys": "unrotated"})])
def test_keys_that_the_cache_would_have_to_turn_are_refused(policy: str, options: dict[str, str]) -> None:
    with cache_for(policy, **options) as cache, pytest.raises(SpecError, match="LTX-2"):
        RefinerCache(cache, viewpoint_of)


def test_a_policy_that_reads_queries_is_refused_by_name() -> None:
    model = tiny_refiner("split")
    with cache_for("h2o:recent_frames=3,heavy_frames=3") as cache, pytest.raises(PolicyError):
        refined(model, RefinerCache(cache, viewpoint_of))


def test_what_was_not_captured_cannot_be_read() -> None:
    with cache_for("full-kv") as cache:
        layer = RefinerCache(cache, viewpoint_of).get(0)
        for read in (layer.get_captured_pre_rope, layer.get_captured_post_rope):
            with pytest.raises(SpecError, match="kv_cache_mode="):
                read()
