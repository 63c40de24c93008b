"""Attention modules with a forward of ours: for models that copy their caches, write them later, or roll."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.family import (
    LEVELS,
    Copying,
    GuidedPipeline,
    Model,
    Rolling,
    SelfAttention,
    attention,
    noise,
    own_caches,
    roll_out,
)
from tests.adapters.test_self_forcing import SCENE, VIEWS, difference, geometry
from tests.adapters.test_self_forcing_traps import refused
from worldkv.adapters.self_forcing import patch
from worldkv.adapters.self_forcing.patch import deferred
from worldkv.backends import Rotary, WorldCache
from worldkv.errors import PolicyError, SpecError
from worldkv.specs import parse_policy


def open_cache(spec: str, branches: int = 1, **options: Any) -> WorldCache:
    return WorldCache(parse_policy(spec), geometry(branches=branches), scene=SCENE, **options)


def is_clean(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    level: float = args[1]
    return level == LEVELS[-1]


def test_full_kv_is_the_own_cache_of_a_model_that_copies_and_writes_later() -> None:
    model, chunks = Model(Copying), noise([1, 3, 3, 3, 2])
    own = roll_out(model, chunks, own_caches())
    assert difference(own, roll_out(Model(), chunks, own_caches())) == 0.0
    for kernel in (None, attention):
        caches = own_caches()
        with patch(model, open_cache("full-kv"), returns=deferred, kernel=kernel) as patched:
            assert difference(roll_out(model, chunks, caches), own) == 0.0
            assert (len(patched.plans), len(patched.records)) == (5, 4)
            assert patched.commit() is not None
        assert not any(cache["k"].any() for cache in caches)  # its own lists are left alone
    assert difference(roll_out(model, chunks, own_caches()), own) == 0.0


@torch.inference_mode()
def roll_over(model: Model, chunks: list[Tensor], depth: int = 3) -> Tensor:
    """Rolling Forcing's loop: each pass over up to `depth` chunks of growing noise, then one over the first alone."""
    caches, out, size = own_caches(), [], chunks[0].shape[1]
    latents = list(chunks)
    for last in range(len(chunks) + depth - 1):
        first, last = max(0, last - depth + 1), min(len(chunks) - 1, last)
        y = model(torch.cat(latents[first : last + 1], 1), 0.5, kv_cache=caches, current_start=first * size)
        for number, part in enumerate(y.split(size, 1), first):
            latents[number] = latents[number] - (latents[number] - part) / 3
        out.append(y)
        out.append(model(latents[first], 0.0, kv_cache=caches, current_start=first * size))
    return torch.cat(out, 1)


def test_passes_that_roll_over_several_chunks() -> None:
    model, chunks = Model(Rolling), noise([3] * 6)
    own = roll_over(model, chunks)
    with patch(model, open_cache("full-kv"), is_rolling=True) as patched:
        assert difference(roll_over(model, chunks), own) < 2e-6
        assert len(patched.plans) == 6
    with patch(model, open_cache("sliding-window:recent_frames=3"), is_rolling=True):
        assert difference(roll_over(model, chunks), own) > 1e-3


def test_policies_that_read_attention_run_with_the_clean_pass_told() -> None:
    model, chunks = Model(), noise([3] * 10)
    own = roll_out(model, chunks, own_caches())
    with patch(model, open_cache("h2o:heavy_frames=30"), is_clean=is_clean):
        assert difference(roll_out(model, chunks, own_caches()), own) < 2e-6
    for spec in ("h2o:heavy_frames=3,recent_frames=3", "quest-bounds:retrieved_frames=3,recent_frames=3"):
        with patch(model, open_cache(spec), is_clean=is_clean) as patched:
            assert difference(roll_out(model, chunks, own_caches()), own) > 1e-4
            assert patched.records[-1].plan.attended_tokens < 9 * 48
    with refused(SpecError, "H2O reads attention mass", "is_clean="):
        patch(model, open_cache("h2o"))


def test_keys_that_the_cache_turns() -> None:
    model, chunks = Model(), noise([3] * 6)
    own = roll_out(model, chunks, own_caches())
    for kernel in (None, attention):
        cache = open_cache("full-kv", keys="unrotated", rotary=Rotary(geometry()))
        with patch(model, cache, is_unrotated=True, kernel=kernel):
            assert difference(roll_out(model, chunks, own_caches()), own) < 1e-5
    with refused(SpecError, "is_unrotated and is_rolling"):
        patch(model, open_cache("full-kv"), is_unrotated=True, is_rolling=True)


def test_lists_of_caches_are_branches() -> None:
    pipeline, chunks = GuidedPipeline(Model()), noise([3] * 4)
    own = pipeline.inference(chunks)
    model = pipeline.generator.model
    with patch(model, open_cache("full-kv", branches=2), VIEWS) as patched:
        pipeline._initialize_kv_cache(1, torch.float32, torch.device("cpu"))
        assert difference(pipeline.inference(chunks), own) == 0.0
        with refused(PolicyError, "generated already", "reset"):
            pipeline.inference(chunks)
        patched.reset()
        assert difference(pipeline.inference(chunks), own) == 0.0
        patched.reset()
        model(chunks[0], 0.0, kv_cache=own_caches(), current_start=0)
        model(chunks[0], 0.0, kv_cache=own_caches(), current_start=0)
        with refused(PolicyError, "more lists of caches than the geometry's 2 branches"):
            model(chunks[0], 0.0, kv_cache=own_caches(), current_start=0)
    with patch(model, open_cache("full-kv")), refused(PolicyError, "two of the model's lists"):
        pipeline.inference(chunks)


def test_without_a_cache_and_after_unpatch_a_module_is_itself() -> None:
    model = Model()
    attn, x, grid = model.blocks[0].self_attn, noise([3])[0], torch.tensor([[3, 4, 4]])
    own = attn(x, grid, model.freqs)
    patched = patch(model, open_cache("full-kv"))
    assert torch.equal(attn(x, grid, model.freqs), own)
    assert patched.plans == []
    patched.close()
    assert "forward" not in vars(attn)
    assert not model._forward_pre_hooks


class Elsewhere(SelfAttention):
    __module__ = "worldkv.errors"


def test_models_that_patch_does_not_fit() -> None:
    with refused(SpecError, "has 3 self-attention modules", "has 2 layers"):
        patch(Model(layers=3), open_cache("full-kv"))
    with refused(SpecError, "Elsewhere has no causal_rope_apply", "rope="):
        patch(Model(Elsewhere), open_cache("full-kv"))
    with refused(SpecError, "other tokens for each head", "kernel"):
        patch(Model(), open_cache("sp-kv"), kernel=attention, is_clean=is_clean)


@pytest.mark.parametrize("spec", ["worldkv", "sliding-window:recent_frames=6"])
def test_a_kernel_of_the_user_s_sees_the_policy_s_window(spec: str) -> None:
    model, chunks, seen = Model(), noise([3] * 8), []

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append(k.shape[1])
        return attention(q, k, v)

    with patch(model, open_cache(spec), VIEWS, kernel=kernel) as patched:
        roll_out(model, chunks, own_caches())
        assert seen[:: 2 * len(LEVELS)] == [plan.attended_tokens for plan in patched.plans]


@pytest.mark.parametrize("spec", ["full-kv", "sliding-window:recent_frames=6"])
def test_a_compiled_model_is_compiled_once(spec: str) -> None:
    """The window grows, or stands still; the graph breaks at the attention only."""
    model, chunks, graphs = Model(), noise([3] * 5), []

    def count(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    with patch(model, open_cache(spec)):
        own = roll_out(model, chunks, own_caches())
    torch.compiler.reset()
    compiled: Any = torch.compile(model, backend=count, dynamic=True)
    with patch(model, open_cache(spec)):
        assert difference(roll_out(compiled, chunks[:2], own_caches()), own[:, : 2 * 48]) == 0.0
        first = len(graphs)
        assert first == 1
    with patch(model, open_cache(spec)):
        assert difference(roll_out(compiled, chunks, own_caches()), own) == 0.0
    assert len(graphs) == first
