"""The random video model on a cache that keeps everything: shapes, determinism, causality, sane numbers."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from tests.backends.plain_cache import PlainCache
from tests.backends.rotary_by_hand import rotated_by_hand
from worldkv.backends.models import CausalVideoDiT, generate_chunk, noise_for
from worldkv.backends.models.transformer_layer import TransformerLayer
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry

TINY = CacheGeometry(2, 4, 4, 8, 2, 3, frames_per_chunk=2, itemsize=4)
GUIDED = dataclasses.replace(TINY, branches=2)


def rollout(
    model: CausalVideoDiT, cache: PlainCache, chunks: int, *, seed: int = 0, passes: int = 2, scale: float = 3.0
) -> list[Tensor]:
    dtype = model.condition.dtype
    made = []
    for step in range(chunks):
        noise = noise_for(model.geometry, step, seed, model.latent_channels, dtype)
        made.append(generate_chunk(model, cache, noise, passes, guidance_scale=scale))
        cache.commit()
    return made


def layer_by_hand(layer: TransformerLayer, x: Tensor, time_modulation: Tensor, start_frame: int) -> Tensor:
    """A Wan layer over one chunk alone, from its formulas, in float64."""
    w = {name: value.double() for name, value in layer.named_parameters()}
    x, tables = x.double(), time_modulation.double() + w["modulation"]

    def project(name: str, y: Tensor) -> Tensor:
        return y @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def modulate(y: Tensor, shift: int) -> Tensor:
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        return y * (1 + tables[:, None, shift + 1]) + tables[:, None, shift]

    def rotated_heads(y: Tensor, gain: Tensor) -> Tensor:
        y = y / ((y**2).mean(-1, keepdim=True) + 1e-6).sqrt() * gain
        return rotated_by_hand(y.view(2, 12, -1, 8), TINY.frame_rows, TINY.frame_columns, start_frame)

    inner = modulate(x, 0)
    q = rotated_heads(project("query", inner), w["query_gain"])
    k = rotated_heads(project("key", inner), w["key_gain"])
    v = project("value", inner).view(2, 12, -1, 8)
    k, v = (y.repeat_interleave(q.shape[2] // k.shape[2], dim=2) for y in (k, v))
    shares = (torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(8)).softmax(-1)
    attended = torch.einsum("bhqk,bkhd->bqhd", shares, v).flatten(2)
    x = x + tables[:, None, 2] * project("attention_out", attended)
    wide = project("widen", modulate(x, 3))
    wide = 0.5 * wide * (1 + torch.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return x + tables[:, None, 5] * project("narrow", wide)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def test_every_layer_and_pass_calls_the_cache_once() -> None:
    geometry = dataclasses.replace(GUIDED, kv_heads=2)
    model, cache = CausalVideoDiT(geometry, latent_channels=5), PlainCache(geometry)
    (latents,) = rollout(model, cache, 1, passes=3)
    assert latents.shape == (2, 12, 5)
    queries, keys = (2, 12, 4, 8), (2, 12, 2, 8)
    assert cache.calls == [(layer, queries, keys, done == 3) for done in range(4) for layer in range(2)]


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_layer_is_its_formulas(kv_heads: int) -> None:
    geometry = dataclasses.replace(GUIDED, kv_heads=kv_heads)
    layer = CausalVideoDiT(geometry, seed=2).layers[1]
    assert isinstance(layer, TransformerLayer)
    draw = torch.Generator().manual_seed(1)
    x, modulation = torch.randn(2, 12, 32, generator=draw), torch.randn(2, 6, 32, generator=draw)
    cache = PlainCache(geometry)
    with torch.inference_mode():
        out = layer(x, modulation, cache, clean=False)
    torch.testing.assert_close(out.double(), layer_by_hand(layer, x, modulation, 0), rtol=0, atol=1e-4)


def test_denoising_steps_from_noise_to_clean_at_equal_distances() -> None:
    model, cache = CausalVideoDiT(TINY), PlainCache(TINY)
    passes: list[tuple[float, Tensor, Tensor]] = []
    model.register_forward_hook(lambda _module, inputs, out: passes.append((inputs[1], inputs[0], out)))
    noise = noise_for(TINY, 0, 0)
    latents = generate_chunk(model, cache, noise, 4)
    assert [time for time, _, _ in passes] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert torch.equal(passes[0][1], noise)
    assert torch.equal(passes[4][1], latents)
    for (_, x, velocity), (_, after, _) in zip(passes, passes[1:], strict=False):
        torch.testing.assert_close(after, x - velocity / 4)


def test_noise_level_and_condition_reach_the_model() -> None:
    model, cache = CausalVideoDiT(GUIDED), PlainCache(GUIDED)
    x = noise_for(GUIDED, 0, 0)
    with torch.inference_mode():
        noisy, cleaner = (model(x, time, cache) for time in (1.0, 0.5))
    assert distance(noisy, cleaner) > 0.1
    assert distance(noisy[0], noisy[1]) > 0.1


def test_the_same_seed_gives_the_same_bits() -> None:
    one, two = (torch.stack(rollout(CausalVideoDiT(TINY, seed=3), PlainCache(TINY), 3)) for _ in range(2))
    assert torch.equal(one, two)
    other = torch.stack(rollout(CausalVideoDiT(TINY, seed=4), PlainCache(TINY), 3))
    assert distance(one, other) > 0.1


def test_weights_are_the_same_numbers_in_every_dtype_and_leave_torch_s_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    floats, halves = CausalVideoDiT(TINY, seed=1), CausalVideoDiT(TINY, seed=1, dtype=torch.bfloat16)
    noise_for(TINY, 0, 0)
    assert torch.equal(torch.rand(1), expected)
    assert dict(floats.named_parameters()).keys() == dict(halves.named_parameters()).keys()
    for (_, a), (_, b) in zip(floats.named_parameters(), halves.named_parameters(), strict=True):
        assert torch.equal(a.bfloat16(), b)
        assert not a.requires_grad


def test_noise_differs_by_step_and_seed_and_is_shared_by_branches() -> None:
    noises = [noise_for(TINY, step, seed) for step in range(3) for seed in range(3)]
    assert all(distance(a, b) > 0.5 for i, a in enumerate(noises) for b in noises[:i])
    guided = noise_for(GUIDED, 1, 2)
    assert torch.equal(guided[0], guided[1])
    assert torch.equal(guided[:1], noise_for(TINY, 1, 2))
    assert noise_for(TINY, 0, 0, 7, torch.bfloat16).shape == (1, 12, 7)


def test_later_chunks_see_the_keys_of_the_clean_pass() -> None:
    model, cache = CausalVideoDiT(TINY), PlainCache(TINY)
    latents = rollout(model, cache, 2)
    again = PlainCache(TINY)
    with torch.inference_mode():
        for chunk in latents:  # the clean passes alone
            model(chunk, 0.0, again, clean=True)
            again.commit()
    for layer in range(TINY.layers):
        for (k, v), (k_again, v_again) in zip(cache.kept[layer], again.kept[layer], strict=True):
            assert torch.equal(k, k_again)
            assert torch.equal(v, v_again)


def test_a_later_chunk_does_not_change_an_earlier_one() -> None:
    model = CausalVideoDiT(TINY)
    short, long = rollout(model, PlainCache(TINY), 2), rollout(model, PlainCache(TINY), 4)
    assert all(torch.equal(a, b) for a, b in zip(short, long, strict=False))


def test_what_is_cached_matters() -> None:
    model, full, emptied = CausalVideoDiT(TINY), PlainCache(TINY), PlainCache(TINY)
    rollout(model, full, 3)
    rollout(model, emptied, 3)
    for layer in range(TINY.layers):  # the first chunk's values are gone, its keys stay
        k, v = emptied.kept[layer][0]
        emptied.kept[layer][0] = k, torch.zeros_like(v)
    noise = noise_for(TINY, 3, 0)
    assert distance(generate_chunk(model, full, noise, 2), generate_chunk(model, emptied, noise, 2)) > 0.01


def test_where_a_chunk_stands_matters() -> None:
    """Positions reach the keys: two chunks swapped in the history are not the same history."""
    model, cache = CausalVideoDiT(TINY), PlainCache(TINY)
    first = rollout(model, cache, 1)[0]
    with torch.inference_mode():
        model(first, 0.0, cache, clean=True)
    (k_first, v_first), (k_second, v_second) = cache.kept[0][0], cache.clean[0]
    assert torch.equal(v_first, v_second)  # the first layer sees the same latents twice
    assert distance(k_first, k_second) > 0.1


def test_fewer_key_heads_than_query_heads() -> None:
    geometry = dataclasses.replace(TINY, kv_heads=1)
    cache = PlainCache(geometry)
    latents = rollout(CausalVideoDiT(geometry), cache, 3)
    assert cache.kept[1][2][0].shape == (1, 12, 1, 8)
    assert all(chunk.isfinite().all() for chunk in latents)


def test_branches_differ_in_keys_and_share_latents() -> None:
    model, cache = CausalVideoDiT(GUIDED), PlainCache(GUIDED)
    latents = rollout(model, cache, 2)
    assert all(torch.equal(chunk[0], chunk[1]) for chunk in latents)
    for layer in range(GUIDED.layers):
        for k, v in cache.kept[layer]:
            assert distance(k[0], k[1]) > 0.1
            assert distance(v[0], v[1]) > 0.1


@pytest.mark.parametrize(("scale", "branch"), [(1.0, 0), (0.0, 1)])
def test_guidance_of_scale_one_is_the_conditional_branch_alone(scale: float, branch: int) -> None:
    model = CausalVideoDiT(GUIDED, seed=5)
    guided = rollout(model, PlainCache(GUIDED), 2, scale=scale)
    alone = CausalVideoDiT(TINY, seed=5)
    if branch == 1:
        alone.condition.zero_()
    plain = rollout(alone, PlainCache(TINY), 2)
    for a, b in zip(guided, plain, strict=True):
        torch.testing.assert_close(a[:1], b, rtol=0, atol=1e-4)
    assert distance(guided[0][:1], rollout(model, PlainCache(GUIDED), 1)[0][:1]) > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(dtype: torch.dtype) -> None:
    exact = rollout(CausalVideoDiT(GUIDED), PlainCache(GUIDED), 1)[0]
    rough = rollout(CausalVideoDiT(GUIDED, dtype=dtype), PlainCache(GUIDED), 1)[0]
    assert rough.dtype == dtype
    assert rough.isfinite().all()
    assert (exact - rough.float()).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("layers", [2, 12])
@pytest.mark.parametrize("branches", [1, 2])
def test_activations_stay_of_order_one(layers: int, branches: int) -> None:
    geometry = dataclasses.replace(TINY, layers=layers, branches=branches)
    model, cache = CausalVideoDiT(geometry), PlainCache(geometry)
    streams: list[float] = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _module, _inputs, out: streams.append(float(out.std())))
    latents = rollout(model, cache, 8)
    kept = [tensor for pairs in cache.kept for pair in pairs for tensor in pair]
    deviations = [*streams, *(float(tensor.std()) for tensor in (*latents, *kept))]
    assert 0.3 < min(deviations)
    assert max(deviations) < 4


def test_attention_has_favourites() -> None:
    model, cache = CausalVideoDiT(TINY), PlainCache(TINY)
    rollout(model, cache, 8)
    for layer in range(TINY.layers):
        keys = torch.cat([k for k, _ in cache.kept[layer]], dim=1)[0].transpose(0, 1)
        shares = (keys[:, -12:] @ keys.transpose(1, 2) / TINY.head_dim**0.5).softmax(-1)
        assert shares.max(dim=-1).values.mean() > 5 / keys.shape[1]


def test_what_the_model_cannot_do_is_refused() -> None:
    with pytest.raises(SpecError, match="branches=1 and branches=2"):
        CausalVideoDiT(dataclasses.replace(TINY, branches=3))
    with pytest.raises(SpecError, match="seed must be at least 0, got -1"):
        CausalVideoDiT(TINY, seed=-1)
    with pytest.raises(SpecError, match="got 0 and 4.0"):
        CausalVideoDiT(TINY, latent_channels=0)
    with pytest.raises(SpecError, match="denoise_passes must be at least 1, got 0"):
        generate_chunk(CausalVideoDiT(TINY), PlainCache(TINY), noise_for(TINY, 0, 0), 0)
    with pytest.raises(SpecError, match="got seed 0 and step -1"):
        noise_for(TINY, -1, 0)
