"""What is measured and scored on a device: in few large pieces, and without copies of keys in float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.backends.rollouts import generate, loop, open_cache
from tests.late_device.device import counts, extension, forget_counts
from worldkv.backends import attention
from worldkv.backends.attention import attention_received
from worldkv.parts import KeyDiff, Participation, UnlikeAnchor, key_layers
from worldkv.policies import WorldKV
from worldkv.specs.parse import parse_geometry
from worldkv.views import ChunkView

pytestmark = pytest.mark.usefixtures("late_order")
DTYPES = {torch.float32: 1e-6, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("scores", [1, 40 * 13, 1 << 27])
def test_attention_received_is_the_closed_form(
    scores: int, is_causal: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_SCORES_ON_DEVICE", scores)
    heads, kv_heads, tokens, cached, channels = 6, 3, 9, 40, 8
    draw = torch.Generator().manual_seed(0)
    queries = torch.randn(heads, tokens, channels, generator=draw).to(dtype)
    keys = torch.randn(kv_heads, cached, channels, generator=draw).to(dtype)
    wanted = np.zeros((kv_heads, cached))
    for head in range(heads):
        for token in range(tokens):
            seen = cached - tokens + token + 1 if is_causal else cached
            products = keys[head // 2].double().numpy()[:seen] @ queries[head, token].double().numpy()
            shares = np.exp(products / math.sqrt(channels))
            wanted[head // 2, :seen] += shares / shares.sum() / (2 * tokens)
    found = attention_received(queries.to("late"), keys.to("late"), is_causal=is_causal)
    assert found.dtype == torch.float32
    assert np.abs(found.cpu().double().numpy() - wanted).max() <= DTYPES[dtype] * wanted.max()


def test_attention_received_takes_few_launches_and_copies_no_key() -> None:
    keys = torch.ones(8, 4096, 64, dtype=torch.bfloat16, device="late")
    queries = torch.ones(8, 2, 64, dtype=torch.bfloat16, device="late")
    torch.accelerator.synchronize()
    held, _ = extension().held(0)
    extension().forget_peaks()
    forget_counts()
    attention_received(queries, keys)
    assert counts().launches <= 8
    assert counts().hidden_waits == 0
    assert extension().held(0)[1] - held < keys.nbytes


@pytest.mark.parametrize("scorer", [UnlikeAnchor(), KeyDiff(), Participation()])
def test_keys_are_scored_layer_by_layer_in_the_caches_dtype(
    scorer: UnlikeAnchor | KeyDiff | Participation, monkeypatch: pytest.MonkeyPatch
) -> None:
    geometry = parse_geometry("tiny:layers=8,heads=2,kv_heads=2,frame_rows=8,frame_columns=8,head_dim=16,itemsize=2")
    draw = torch.Generator().manual_seed(0)
    keys = torch.randn(8, 2, 192, 16, generator=draw).bfloat16()
    asked = torch.randn(8, 2, 16, generator=draw).numpy()
    on_host, there = (
        ChunkView(0, 1, geometry, (64, 64, 64), keys=some, query_summary=asked)
        for some in (keys.float(), keys.to("late"))
    )
    wanted = np.asarray(scorer.token_scores(on_host))
    monkeypatch.setattr(key_layers, "NUMBERS_AT_A_TIME", 1)
    torch.accelerator.synchronize()
    held, _ = extension().held(0)
    extension().forget_peaks()
    found = scorer.token_scores(there)
    assert extension().held(0)[1] - held < 4 * keys.numel()
    found = found if isinstance(found, np.ndarray) else found.cpu().numpy()
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_policy_is_shown_keys_as_they_lie() -> None:
    geometry = parse_geometry("tiny:heads=2,kv_heads=1,frame_rows=2,frame_columns=3,head_dim=8,itemsize=2")
    path = loop(geometry)
    with open_cache(WorldKV(3, 6, 3, 0.5), geometry, path) as cache:
        generate(cache, path, 0)
        keys = cache.backend.tensors(0).keys
        assert keys.dtype == torch.bfloat16
        assert keys.untyped_storage().data_ptr() == cache.backend.arena.buffer.untyped_storage().data_ptr()
