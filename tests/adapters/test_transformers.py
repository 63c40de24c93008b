"""Language models of transformers under policies, against the library's own caches and explicit masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.tiny_language_models import (
    BY_CHUNKS,
    BY_HEADS,
    CHUNK,
    TEXT,
    Attended,
    distances,
    layer_0_keys,
    logits_of,
    masked,
    opened,
    text,
    tiny,
)
from worldkv import SignalError, SpecError, parse_policy
from worldkv.adapters.transformers import forward_in_chunks, open_cache
from worldkv.specs import policy_classes


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


# ---------------------------------------------------------------------- full KV is the model's own cache


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("attention", ["sdpa", "eager", "worldkv"])
def test_full_kv_is_dynamic_cache(kv_heads: int, attention: str) -> None:
    from transformers import DynamicCache

    model, ids, parts = tiny(kv_heads=kv_heads), text(), [CHUNK] * 9 + [6]
    with opened(model) as cache:
        model.set_attn_implementation(attention)
        got = logits_of(model, cache, parts, ids)
        assert cache.get_seq_length() == TEXT  # type: ignore[attr-defined]
        model.set_attn_implementation("eager" if attention == "eager" else "sdpa")
    own = logits_of(model, DynamicCache(), parts, ids)
    model.set_attn_implementation("sdpa")
    assert torch.equal(got, own) if attention != "worldkv" else torch.allclose(got, own, atol=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([1] * TEXT, id="token by token"),
        pytest.param([TEXT], id="all at once"),
        pytest.param([7] * 21 + [3], id="across chunks"),
        pytest.param([10, 100, 40], id="behind an open chunk"),
        pytest.param([64, 1, 1, 1, 64, 19], id="a prompt, tokens, a prompt"),
    ],
)
def test_any_forwards_make_the_same_text(parts: list[int]) -> None:
    model, ids = tiny(), text()
    whole = model(ids, use_cache=False).logits
    with opened(model) as cache:
        assert torch.allclose(logits_of(model, cache, parts, ids), whole, atol=1e-5)
        cache.finish()
        assert len(cache.world.engine.table) == TEXT // CHUNK
        assert cache.world.start_frame == TEXT // CHUNK


def test_rows_side_by_side() -> None:
    model, ids = tiny(), text(rows=3)
    with opened(model, batch_size=3) as cache:
        got = logits_of(model, cache, [40] * 3 + [30], ids)
    assert torch.allclose(got, model(ids, use_cache=False).logits, atol=1e-5)


# ---------------------------------------------------------------------- policies are explicit masks


@pytest.mark.parametrize("spec", BY_CHUNKS.values(), ids=BY_CHUNKS)
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_a_policy_is_an_explicit_mask(spec: str, kv_heads: int) -> None:
    model, ids = tiny(kv_heads=kv_heads), text()
    noted = Attended(model, ids)
    with opened(model, spec, on_attend=noted) as cache:
        got = torch.cat([output.logits for output in forward_in_chunks(model, ids, cache)], dim=1)
    assert noted.seen == TEXT
    assert not noted.mask[0].tril().equal(torch.ones(TEXT, TEXT).tril().bool()), "nothing was left out"
    assert torch.allclose(got, masked(model, ids, noted.mask), atol=1e-5)


@pytest.mark.parametrize("name", ["quest-bounds", "arkvale", "mean-key"])
def test_each_chunk_is_asked_for_with_its_own_queries(name: str) -> None:
    """So it runs twice; in one pass such a policy would never be asked."""
    model, ids = tiny(), text()
    with opened(model, BY_CHUNKS[name]) as cache:
        retrieved = []
        for _ in forward_in_chunks(model, ids, cache):
            plan = cache.world.plan
            assert plan is not None
            retrieved.append(len(plan.retrieved))
    assert retrieved == [0, 0, 0, 0, 1, 2, 2, 2, 2, 2]  # a sink and two recent chunks stay at home


@pytest.mark.parametrize("spec", BY_HEADS.values(), ids=BY_HEADS)
def test_heads_keep_tokens_of_their_own(spec: str) -> None:
    model, ids = tiny(layers=1), text()
    noted = Attended(model, ids)
    with opened(model, spec, on_attend=noted) as cache:
        got = torch.cat([output.logits for output in forward_in_chunks(model, ids, cache)], dim=1)
    assert not torch.equal(noted.mask[0], noted.mask[1])
    assert torch.allclose(got, masked(model, ids, noted.mask), atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_sliding_window_under_the_model_s_own_attention(attention: str) -> None:
    """The mask sizes are right for kernels that are not ours: sink, two chunks and the chunk itself."""
    model, ids = tiny(), text()
    chunk = torch.arange(TEXT) // CHUNK
    apart = chunk[:, None] - chunk[None]
    mask = ((apart <= 2) | (chunk[None] == 0)) & torch.ones(TEXT, TEXT).tril().bool()
    with opened(model, BY_CHUNKS["sliding-window"]) as cache:
        model.set_attn_implementation(attention)
        got = torch.cat([output.logits for output in forward_in_chunks(model, ids, cache)], dim=1)
    model.set_attn_implementation("sdpa")
    assert torch.allclose(got, masked(model, ids, mask[None]), atol=1e-5)


@pytest.mark.parametrize("spec", [BY_CHUNKS["h2o"], BY_CHUNKS["sliding-window"], BY_HEADS["snapkv"]])
def test_token_by_token_is_chunk_by_chunk(spec: str) -> None:
    """What is measured of a chunk does not depend on how many forwards brought it."""
    model, ids = tiny(), text()
    with opened(model, spec) as cache:
        at_once = torch.cat([output.logits for output in forward_in_chunks(model, ids, cache)], dim=1)
    with opened(model, spec) as cache:
        one_by_one = logits_of(model, cache, [1] * TEXT, ids)
    assert torch.allclose(one_by_one, at_once, atol=1e-5)


@pytest.mark.parametrize(("kind", "more"), [("Llama", {}), ("Granite", {"attention_multiplier": 1.5})])
def test_attention_is_measured_as_the_model_pays_it(kind: str, more: dict[str, Any]) -> None:
    """Mean over layers, heads and queries, by the library's eager attention; Granite scales scores in its own way."""
    model, ids = tiny(kind=kind, **more), text()[:, : 2 * CHUNK]
    model.set_attn_implementation("eager")
    weights = torch.stack(model(ids, output_attentions=True).attentions)  # (layers, rows, heads, queries, keys)
    model.set_attn_implementation("sdpa")
    with opened(model, BY_CHUNKS["h2o"]) as cache:
        logits_of(model, cache, [10, 1, 15, 6], ids)
        cache.finish()
        measured = cache.world.measured
    assert measured is not None
    wanted = weights[:, 0, :, CHUNK:, :CHUNK].sum(dim=-1).mean()
    assert measured.attention_mass == pytest.approx([float(wanted)], abs=1e-6)


def test_the_queries_asked_with_are_those_there_are() -> None:
    """Of a chunk's first forward, whatever places of the chunk are still empty."""
    model, ids = tiny(), text()[:, : 2 * CHUNK]
    noted: list[Tensor] = []

    def note(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        if queries.shape[1] == 3:
            noted.append(queries[0].reshape(3, 2, 2, 16).mean(dim=(0, 2)))  # two query heads to a key head

    with opened(model, BY_CHUNKS["quest-bounds"], on_attend=note) as cache:
        logits_of(model, cache, [CHUNK, 3, CHUNK - 3], ids)
        cache.finish()
        measured = cache.world.measured
    assert measured is not None
    assert torch.allclose(torch.as_tensor(measured.query_summary), torch.stack(noted), atol=1e-6)


@pytest.mark.parametrize(
    "spec",
    ["streaming-llm:sink_frames=1,recent_frames=2", "sliding-window:sink_frames=1,recent_frames=2,positions=relative"],
)
def test_a_sink_moves_as_the_model_would_rotate_it(spec: str) -> None:
    model, ids, sink = tiny(layers=1), text(), CHUNK
    attended: list[Tensor] = []

    def note(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        attended.append(keys[0, :, 0].clone())

    with opened(model, spec, on_attend=note) as cache:
        for _ in forward_in_chunks(model, ids[:, : 7 * CHUNK], cache):
            pass
    # In the seventh chunk the recent window starts with the fifth; the sink stands right before it.
    shifted = torch.cat([torch.zeros((1, 3 * sink), dtype=torch.long), ids[:, :sink]], dim=1)
    moved = layer_0_keys(model, shifted)[0, 3 * sink :]
    distance = distances(moved, attended[-1]).amin(dim=1)
    assert len(attended[-1]) == 4 * CHUNK
    assert float(distance.max()) < 1e-4
    assert float(distances(layer_0_keys(model, ids[:, :sink])[0], attended[-1]).amin(dim=1).min()) > 1e-2


# ---------------------------------------------------------------------- generation


def greedy(model: Any, ids: Tensor, new: int, mask_of: Any) -> Tensor:
    """Greedy decoding by the whole text anew for each token, under an explicit mask."""
    for _ in range(new):
        logits = masked(model, ids, mask_of(ids.shape[1])[None])
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    return ids


def test_generate_is_dynamic_cache_under_full_kv() -> None:
    model, prompt = tiny(), text()[:, :42]
    own = model.generate(prompt, max_new_tokens=40, do_sample=False)
    with opened(model) as cache:
        assert torch.equal(model.generate(prompt, past_key_values=cache, max_new_tokens=40, do_sample=False), own)
        # and it goes on from there
        more = torch.cat([own, text()[:, :30]], dim=1)
        got = model.generate(more, past_key_values=cache, max_new_tokens=20, do_sample=False)
    assert torch.equal(got, model.generate(more, max_new_tokens=20, do_sample=False))


def test_generate_under_a_window() -> None:
    """The prompt attends all of itself, what comes behind attends the window."""
    model, prompt = tiny(), text()[:, : 3 * CHUNK + 10]

    def mask_of(tokens: int) -> Tensor:
        place = torch.arange(tokens)
        chunk = place // CHUNK
        is_near = (chunk[:, None] - chunk[None] <= 1) | (place[:, None] < 3 * CHUNK + 10)
        return is_near & torch.ones(tokens, tokens).tril().bool()

    with opened(model, "sliding-window:recent_frames=1") as cache:
        got = model.generate(prompt, past_key_values=cache, max_new_tokens=50, do_sample=False)
    assert torch.equal(got, greedy(model, prompt, 50, mask_of))


def test_a_prompt_can_be_windowed_too() -> None:
    model, prompt = tiny(), text()[:, : 3 * CHUNK + 10]

    def mask_of(tokens: int) -> Tensor:
        chunk = torch.arange(tokens) // CHUNK
        return (chunk[:, None] - chunk[None] <= 1) & torch.ones(tokens, tokens).tril().bool()

    wanted = greedy(model, prompt, 20, mask_of)
    with opened(model, "sliding-window:recent_frames=1") as cache:
        options = {"max_new_tokens": 20, "do_sample": False, "prefill_chunk_size": CHUNK}
        assert torch.equal(model.generate(prompt, past_key_values=cache, **options), wanted)
    with opened(model, "sliding-window:recent_frames=1") as cache:
        for _ in forward_in_chunks(model, prompt[:, :-1], cache):
            pass
        assert torch.equal(model.generate(prompt, past_key_values=cache, max_new_tokens=20, do_sample=False), wanted)


@pytest.mark.parametrize("spec", [*BY_CHUNKS.values(), *BY_HEADS.values()], ids=[*BY_CHUNKS, *BY_HEADS])
def test_every_policy_generates(spec: str) -> None:
    model, prompt = tiny(), text()[:, :70]
    with opened(model, spec) as cache:
        got = model.generate(prompt, past_key_values=cache, max_new_tokens=60, do_sample=True)
        assert 0 < cache.attended_tokens < 130 - CHUNK
        assert got.shape == (1, 130)
        cache.finish()
        assert len(cache.world.engine.table) == 129 // CHUNK  # the last token was never fed
        cache.reset()  # type: ignore[attr-defined]
        assert cache.get_seq_length() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", policy_classes())
def test_every_installed_policy_runs_or_says_why_not(name: str) -> None:
    model, ids, policy = tiny(), text(), parse_policy(name)
    try:
        cache = open_cache(model, policy, chunk_tokens=4)
    except (SignalError, SpecError) as error:
        assert str(error).startswith(type(policy).__name__)
        return
    with cache:
        outputs = [output.logits for output in forward_in_chunks(model, ids, cache)]
    assert torch.cat(outputs, dim=1).isfinite().all()
    assert name in RUNNING


RUNNING = frozenset(
    "full-kv sliding-window streaming-llm drop-oldest h2o deep-forcing r-swa relic-subsample memflow-prototypes random "
    "mean-key quest-bounds arkvale".split()
)
"""Installed policies that need no camera, hidden states or future, and keep as many tokens in every head."""
