"""What would go wrong in silence under a cache that drops tokens, and is refused or right instead."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.tiny_language_models import BY_CHUNKS, CHUNK, TEXT, opened, text, tiny
from worldkv import PolicyError, SignalError, SpecError, WorldKVError, parse_policy
from worldkv.adapters.transformers import forward_in_chunks, geometry_of, open_cache


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


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
        cache.early_initialization(1, 2, 16, torch.float32, torch.device("cpu"))  # type: ignore[attr-defined]
        assert not cache.is_initialized  # type: ignore[attr-defined]
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


def test_what_a_cache_is_not_shown_or_cannot_hold_is_refused() -> None:
    with pytest.raises(SignalError, match="SelfPrunedKV reads hidden states"):
        opened(tiny(), "sp-kv")
    with pytest.raises(SpecError, match="NoveltyAdmission keeps other numbers"):
        opened(tiny(), "novelty-admission")


def test_queries_have_to_be_shown() -> None:
    model, ids = tiny(), text()
    with opened(model, BY_CHUNKS["h2o"]) as cache:
        assert model.config._attn_implementation == "worldkv"
        model.set_attn_implementation("eager")
        with pytest.raises(PolicyError, match=r"H2O reads queries, .*'eager' does not show"):
            model(ids, past_key_values=cache)
    assert model.config._attn_implementation == "sdpa"
    assert not model.model._forward_pre_hooks, "a closed cache still looks at the model's calls"
    model.set_attn_implementation("eager")
    with pytest.raises(SpecError, match=r"'eager' does not show; .*'sdpa'"):
        opened(model, BY_CHUNKS["h2o"])
    with pytest.raises(SpecError, match="on_attend reads queries"):
        opened(model, on_attend=print)
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")


def test_keys_have_to_reach_attention_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that does something to what the cache returns would attend its own tokens alone, in silence."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model, ids = tiny(), text()
    with opened(model, BY_CHUNKS["h2o"]) as cache:
        attend = ALL_ATTENTION_FUNCTIONS["worldkv"]

        def clones(module: Any, query: Tensor, key: Tensor, *others: Any, **named: Any) -> Any:
            return attend(module, query, key.clone(), *others, **named)

        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "worldkv", clones)
        with pytest.raises(PolicyError, match=r"keys of layer 0 were changed .*a policy that reads none"):
            model(ids[:, :1], past_key_values=cache)


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
