"""Language models of transformers under policies, against the library's own caches and explicit masks."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from worldkv import PolicyError, SignalError, SpecError, WorldKVError, parse_policy
from worldkv.adapters.transformers import PolicyCache, forward_in_chunks, geometry_of, open_cache

CHUNK = 16
TEXT = 150
"""Tokens of the test's text: nine chunks and six tokens more."""
BY_CHUNKS = {
    "sliding-window": "sliding-window:recent_frames=2,sink_frames=1",
    "h2o": "h2o:recent_frames=2,heavy_frames=2",
    "quest-bounds": "quest-bounds:sink_frames=1,recent_frames=2,retrieved_frames=2",
    "arkvale": "arkvale:sink_frames=1,recent_frames=2,retrieved_frames=2",
    "mean-key": "mean-key:sink_frames=1,recent_frames=2,retrieved_frames=2",
    "random": "random:sink_frames=1,recent_frames=2,retrieved_frames=2",
}
"""Policies whose layers and heads all attend the same tokens."""
_PRUNED = (
    "composed:index=mean-key,compression=scored-tokens,keep_ratio=0.25,sink_frames=1,recent_frames=2,"
    "retrieved_frames=99"
)
BY_HEADS = {
    "snapkv": f"{_PRUNED},scorer=attention-received,pooled_tokens=7",
    "keydiff": f"{_PRUNED},scorer=key-diff",
}
"""Rules by which every layer and head keeps tokens of its own."""


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@functools.cache
def tiny(layers: int = 2, kv_heads: int = 2, kind: str = "Llama", **more: Any) -> Any:
    """A model of random weights with few channels, four query heads."""
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        vocab_size=97,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        **more,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def text(rows: int = 1) -> Tensor:
    return torch.randint(0, 97, (rows, TEXT), generator=torch.Generator().manual_seed(1))


def opened(model: Any, spec: str = "full-kv", **options: Any) -> PolicyCache:
    return open_cache(model, parse_policy(spec), **{"chunk_tokens": CHUNK} | options)


def logits_of(model: Any, cache: Any, parts: list[int], ids: Tensor) -> Tensor:
    """The logits of a text handed over in forwards of `parts` tokens."""
    assert sum(parts) == ids.shape[1]
    pieces = torch.split(ids, parts, dim=1)
    return torch.cat([model(piece, past_key_values=cache, use_cache=True).logits for piece in pieces], dim=1)


def layer_0_keys(model: Any, ids: Tensor) -> Tensor:
    """Keys of the first layer, which depend on each token and its position alone `(kv_heads, tokens, head_dim)`."""
    from transformers import DynamicCache

    cache = DynamicCache()
    model(ids, past_key_values=cache)
    keys: Tensor = cache.layers[0].keys[0]
    return keys


def distances(some: Tensor, others: Tensor) -> Tensor:
    """Euclidean, between every two rows `(some, others)`."""
    return torch.cdist(some, others, compute_mode="donot_use_mm_for_euclid_dist")


class Attended:
    """Notes which tokens each query attended, told from the first layer's keys: a mask `(kv_heads, tokens, tokens)`."""

    def __init__(self, model: Any, ids: Tensor) -> None:
        self.known = layer_0_keys(model, ids)
        self.mask = torch.zeros((self.known.shape[0], ids.shape[1], ids.shape[1]), dtype=torch.bool)
        self.seen = 0

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        if layer:
            return
        new = queries.shape[1]
        for head in range(len(self.known)):
            distance = distances(keys[0, :, head], self.known[head])
            found = distance.argmin(dim=1)
            assert float(distance.amin(dim=1).max()) < 1e-4, "an attended key is none of the text's"
            assert len(set(found.tolist())) == len(found), "a token is attended twice"
            for row in range(self.seen, self.seen + new):
                self.mask[head, row, found[found <= row]] = True
        self.seen += new


def masked(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """The whole text in one forward, each head under its own explicit mask."""
    groups = model.config.num_attention_heads // mask.shape[0]
    additive = torch.zeros(mask.shape).masked_fill(~mask, float("-inf")).repeat_interleave(groups, dim=0)
    logits: Tensor = model(ids, attention_mask=additive[None], use_cache=False).logits
    return logits


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


# ---------------------------------------------------------------------- silent traps


def test_seen_is_not_kept() -> None:
    """Kept length returned for seen length gives wrong positions, 5e-3 wrong and silent."""
    model, ids = tiny(), text()
    with opened(model, "sliding-window:recent_frames=1") as cache:
        layer = cache.layers[1]  # type: ignore[attr-defined]
        for number, _ in enumerate(forward_in_chunks(model, ids[:, : 6 * CHUNK], cache), 1):
            assert layer.get_seq_length() == number * CHUNK
        assert layer.get_mask_sizes(5) == (CHUNK + 5, 5 * CHUNK)  # columns, and the position of the first
        assert layer.get_max_length() == -1


def test_a_padded_batch_is_refused() -> None:
    model, ids = tiny(), text()
    padded = torch.ones_like(ids)
    padded[:, :5] = 0
    with opened(model) as cache:
        with pytest.raises(PolicyError, match=r"hides 5 tokens .*one at a time"):
            model(ids, attention_mask=padded, past_key_values=cache)
        with pytest.raises(PolicyError, match="hides 5 tokens"):
            model.generate(ids, attention_mask=padded, past_key_values=cache, max_new_tokens=2)
        with pytest.raises(PolicyError, match="mask of its own"):
            model(ids, attention_mask=torch.zeros(1, 1, TEXT, TEXT), past_key_values=cache)
        whole = model(ids, attention_mask=torch.ones_like(ids), past_key_values=cache).logits
    assert torch.allclose(whole, model(ids, use_cache=False).logits, atol=1e-5)
    model(ids, attention_mask=padded)  # without the cache it is nobody's business


def test_tokens_are_not_taken_back() -> None:
    model, prompt = tiny(), text()[:, :40]
    with opened(model) as cache:
        assert not cache.is_croppable  # type: ignore[attr-defined]
        assert not cache.is_compileable  # type: ignore[attr-defined]
        with pytest.raises(PolicyError, match=r"taking tokens back .* DynamicCache"):
            cache.crop(-1)  # type: ignore[attr-defined]
        with pytest.raises(PolicyError, match="assisted decoding"):
            model.generate(prompt, past_key_values=cache, max_new_tokens=9, prompt_lookup_num_tokens=3)


def test_more_rows_are_refused() -> None:
    model, prompt = tiny(), text()[:, :20]
    with opened(model) as cache:
        with pytest.raises(PolicyError, match=r"batch_size=1, got 3 rows; .*without beams"):
            model.generate(prompt, past_key_values=cache, max_new_tokens=4, num_beams=3, do_sample=False)
        with pytest.raises(PolicyError, match="beam search is not possible"):
            cache.reorder_cache(torch.tensor([0]))  # type: ignore[attr-defined]
        with pytest.raises(PolicyError, match="repeating rows"):
            cache.batch_repeat_interleave(2)  # type: ignore[attr-defined]
        with pytest.raises(PolicyError, match="choosing rows"):
            cache.batch_select_indices(torch.tensor([0]))  # type: ignore[attr-defined]


def test_moving_keys_is_refused_where_it_would_be_wrong() -> None:
    spec = "streaming-llm:sink_frames=1,recent_frames=2"
    several = tiny(rope_parameters=None)
    several.config.rope_parameters["mrope_section"] = [2, 3, 3]
    try:
        with pytest.raises(SpecError, match="several axes"):
            opened(several, spec)
        opened(several, "sliding-window:recent_frames=2").close()
    finally:
        del several.config.rope_parameters["mrope_section"]
    with pytest.raises(SpecError, match="does not turn channel i with channel i"):
        opened(tiny(kind="Cohere"), spec)  # neighbouring channels, as in the Wan family
    stretched = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    with pytest.raises(SpecError, match="change with the text's length"):
        opened(_of_rope(stretched), spec)
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 512,
    }
    opened(_of_rope(llama3), spec).close()


def _of_rope(parameters: dict[str, Any]) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=1,
            num_attention_heads=4,
            vocab_size=97,
            max_position_embeddings=4096,
            rope_parameters=parameters,
        )
    )


def test_a_model_with_windows_of_its_own_is_refused() -> None:
    with pytest.raises(SpecError, match=r"mistral has layers of another kind \(sliding_attention\)"):
        opened(tiny(kind="Mistral", sliding_window=32))


def test_a_model_that_attends_by_the_places_of_keys_is_refused() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    model = BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=1, n_head=2, vocab_size=97))
    with pytest.raises(SpecError, match=r"BloomForCausalLM does not attend through .*ALiBi"):
        opened(model)


@pytest.mark.parametrize("spec", ["worldkv", "snapkv", "keydiff", "frustum-coverage"])
def test_a_policy_that_needs_a_camera_is_refused(spec: str) -> None:
    with pytest.raises(SignalError, match="needs pose"):
        opened(tiny(), spec)


def test_queries_have_to_be_shown() -> None:
    model, ids = tiny(), text()
    with opened(model, BY_CHUNKS["h2o"]) as cache:
        assert model.config._attn_implementation == "worldkv"
        model.set_attn_implementation("eager")
        with pytest.raises(PolicyError, match=r"H2O reads queries, .*'eager' does not show"):
            model(ids, past_key_values=cache)
    assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    with pytest.raises(SpecError, match=r"'eager' does not show; .*'sdpa'"):
        opened(model, BY_CHUNKS["h2o"])
    with pytest.raises(SpecError, match="on_attend reads queries"):
        opened(model, on_attend=print)
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")


def test_the_attention_implementation_is_sdpa_for_others() -> None:
    model, ids = tiny(), text(rows=2)
    padded = torch.ones_like(ids)
    padded[0, :9] = 0
    own = model(ids, attention_mask=padded).logits
    with opened(model, BY_CHUNKS["h2o"]):
        assert torch.equal(model(ids, attention_mask=padded).logits, own)


def test_a_forward_that_stopped_is_not_gone_on_with() -> None:
    model, ids = tiny(), text()
    with opened(model) as cache:
        model(ids[:, :20], past_key_values=cache)
        broken = model.model.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(ids[:, 20:30], past_key_values=cache)
        broken.remove()
        with pytest.raises(PolicyError, match=r"stopped after 1 of 2 layers; reset\(\)"):
            model(ids[:, 20:30], past_key_values=cache)
        with pytest.raises(PolicyError, match="not finished"):
            cache.finish()
        cache.reset()  # type: ignore[attr-defined]
        got = model(ids, past_key_values=cache).logits
    assert torch.allclose(got, model(ids, use_cache=False).logits, atol=1e-5)


def test_a_draft_is_repeated_as_it_was() -> None:
    model, ids = tiny(), text()
    with opened(model) as cache:
        cache.announce_repeat()
        first = model(ids[:, :20], past_key_values=cache).logits
        assert cache.get_seq_length() == 0  # type: ignore[attr-defined]
        with pytest.raises(PolicyError, match="20 tokens of its draft again, got 19"):
            model(ids[:, :19], past_key_values=cache)
        with pytest.raises(PolicyError, match="not finished"):
            cache.finish()
        assert torch.equal(model(ids[:, :20], past_key_values=cache).logits, first)
        assert cache.get_seq_length() == 20  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- geometry, the missing library


def test_geometry_of_a_configuration() -> None:
    config = tiny(kv_heads=1).config
    geometry = geometry_of(config, 64)
    assert (geometry.layers, geometry.heads, geometry.kv_heads, geometry.head_dim) == (2, 4, 1, 16)
    assert (geometry.frames_per_chunk, geometry.chunk_tokens, geometry.rope_frames) == (1, 64, 4096 // 64)
    in_tokens = geometry_of(config, 64, frames_per_chunk=64, batch_size=3, dtype=torch.bfloat16)
    assert (in_tokens.tokens_per_frame, in_tokens.rope_frames, in_tokens.branches) == (1, 4096, 3)
    assert in_tokens.itemsize == 2
    with pytest.raises(SpecError, match="multiple of frames_per_chunk, got 64 and 5"):
        geometry_of(config, 64, frames_per_chunk=5)


def test_windows_in_tokens() -> None:
    model, ids = tiny(), text()
    with opened(model, BY_CHUNKS["sliding-window"]) as cache:
        in_chunks = torch.cat([output.logits for output in forward_in_chunks(model, ids, cache)], dim=1)
    with opened(model, "sliding-window:recent_frames=32,sink_frames=16", frames_per_chunk=CHUNK) as cache:
        in_tokens = torch.cat([output.logits for output in forward_in_chunks(model, ids, cache)], dim=1)
    assert torch.equal(in_chunks, in_tokens)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    policy = parse_policy("full-kv")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(WorldKVError, match=r"transformers is not installed; .*worldkv\[llm\]"):
        open_cache(None, policy)
