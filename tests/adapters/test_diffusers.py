"""diffusers' Wan transformer under a WorldCache, against its own attention over lists and over the whole sequence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.tiny_wan import (
    CHANNELS,
    COLUMNS,
    HEADS,
    LAYERS,
    ROWS,
    cache_for,
    cameras,
    concatenated,
    prompts,
    recomputed,
    roll_out,
    roll_out_cached,
    tiny_wan,
)
from worldkv import Viewpoint, WorldCache
from worldkv.adapters.diffusers import BRANCHES, Attachment, apply_worldkv, geometry_of
from worldkv.errors import PolicyError, PositionError, SpecError, WorldKVError

LENGTHS = (3,) * 6
EVERYTHING = "worldkv:sink_frames=3,retrieved_frames=99,recent_frames=3,keep_ratio=1"


def cached(policy: str = "full-kv", lengths: tuple[int, ...] = LENGTHS, branches: int = 1, **options: Any) -> Any:
    model = tiny_wan()
    with cache_for(model, policy, branches=branches, **options) as cache:
        return roll_out_cached(apply_worldkv(model, cache), lengths, prompts(branches))


# ---------------------------------------------------------------------- what is attended


@pytest.mark.parametrize("branches", [1, 2])
def test_full_kv_is_concatenation_to_the_bit(branches: int) -> None:
    assert torch.equal(cached(branches=branches), concatenated(tiny_wan(), LENGTHS, prompts(branches)))


def test_full_kv_is_block_causal_attention() -> None:
    want = recomputed(tiny_wan(), LENGTHS, prompts(), lambda chunk: set(range(chunk)))
    torch.testing.assert_close(cached(), want, rtol=1e-5, atol=1e-5)


def test_a_sliding_window_is_masked_attention() -> None:
    want = recomputed(tiny_wan(), LENGTHS, prompts(), lambda chunk: {0, chunk - 2, chunk - 1})
    got = cached("sliding-window:sink_frames=3,recent_frames=6")
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert (cached() - want).abs().max() > 1e-3


def test_worldkv_that_retrieves_everything_whole_is_full_kv() -> None:
    torch.testing.assert_close(cached(EVERYTHING), cached(), rtol=1e-5, atol=1e-5)


def test_unrotated_keys_are_turned_by_the_cache() -> None:
    torch.testing.assert_close(cached(keys="unrotated"), cached(), rtol=1e-5, atol=1e-5)


def test_unrotated_keys_may_stand_elsewhere() -> None:
    """Positions that start at the sink move every chunk, and only differences of positions count in attention."""
    policy = "sliding-window:sink_frames=0,recent_frames=6"
    moved = cached(f"{policy},positions=relative", keys="unrotated")
    torch.testing.assert_close(moved, cached(policy), rtol=1e-5, atol=1e-5)


def test_the_reference_notices_positions_that_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attachment, "_to_absolute_frames", lambda self, rope, args, output: output)
    assert (cached() - concatenated(tiny_wan(), LENGTHS, prompts())).abs().max() > 1e-3


@pytest.mark.parametrize("lengths", [(1, 3, 3), (3, 3, 2), (1, 1, 1)])
def test_chunks_of_other_lengths(lengths: tuple[int, ...]) -> None:
    """A first chunk of one latent frame (an image), and a last one cut short."""
    assert torch.equal(cached(lengths=lengths), concatenated(tiny_wan(), lengths, prompts()))


def test_a_prefill_of_several_chunks_is_one_pass_over_them() -> None:
    model, latents, text = tiny_wan(), torch.randn(1, 4, 9, 2 * ROWS, 2 * COLUMNS), prompts()
    want = model(latents, torch.zeros(1), text, return_dict=False)[0]
    views = [Viewpoint.of(camera) for camera in cameras(3)]
    with cache_for(model) as cache, apply_worldkv(model, cache):
        cache.begin(views)
        torch.testing.assert_close(model(latents, torch.zeros(1), text, return_dict=False)[0], want)
        cache.commit()
        assert cache.start_frame == 9


def test_steady_length_changes_nothing_but_the_length() -> None:
    """What a captured CUDA graph needs: as many keys in every step, at the same address."""
    lengths: set[tuple[int, int]] = set()
    model, policy = tiny_wan(), "sliding-window:sink_frames=3,recent_frames=6"
    with cache_for(model, policy, pad_to=4 * 3 * ROWS * COLUMNS) as cache:
        window = cache.window

        def noted(layer: int, *args: Any, **kwargs: Any) -> Any:
            keys, values = window(layer, *args, **kwargs)
            if layer == 0:
                lengths.add((keys.shape[1], keys.data_ptr()))
            return keys, values

        cache.window = noted  # type: ignore[method-assign]
        got = roll_out_cached(apply_worldkv(model, cache), LENGTHS, prompts())
    assert len(lengths) == 1
    torch.testing.assert_close(got, cached(policy), rtol=1e-5, atol=1e-5)


def test_image_to_video_keeps_its_cross_attention() -> None:
    """Tokens of the image stand in front of the text's 512, a number that the library has in its code."""
    text, image = prompts(length=512), torch.randn(1, 4, 8)

    def model() -> Any:
        made = tiny_wan(image_dim=8, added_kv_proj_dim=HEADS * CHANNELS)
        made.register_forward_pre_hook(
            lambda _, args, kw: (args, {**kw, "encoder_hidden_states_image": image}), with_kwargs=True
        )
        return made

    under = model()
    with cache_for(under) as cache:
        got = roll_out_cached(apply_worldkv(under, cache), LENGTHS[:3], text)
    assert torch.equal(got, concatenated(model(), LENGTHS[:3], text))


@pytest.mark.parametrize("kept", [("rope", "time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"), ()])
def test_a_model_in_bfloat16(kept: tuple[str, ...]) -> None:
    """As `from_pretrained` leaves it, with what is `kept` in float32, and altogether in bfloat16."""

    def model() -> Any:
        made = tiny_wan()
        for name, tensor in [*made.named_parameters(), *made.named_buffers()]:
            if not any(part in name for part in kept):
                tensor.data = tensor.data.bfloat16()
        return made

    under = model()
    with cache_for(under) as cache:
        assert cache.dtype == torch.bfloat16
        got = roll_out_cached(apply_worldkv(under, cache), LENGTHS[:3], prompts().bfloat16())
    assert torch.equal(got, concatenated(model(), LENGTHS[:3], prompts().bfloat16()))


def test_fused_projections() -> None:
    model = tiny_wan()
    model.fuse_qkv_projections()
    for block in model.blocks:
        block.attn1.to_q.weight.zero_()  # no longer in use
    with cache_for(model) as cache:
        got = roll_out_cached(apply_worldkv(model, cache), LENGTHS[:3], prompts())
    torch.testing.assert_close(got, cached(lengths=LENGTHS[:3]), rtol=1e-5, atol=1e-5)


def test_a_policy_that_reads_attention_mass_is_told_of_the_clean_pass() -> None:
    model, policy = tiny_wan(), "h2o:recent_frames=3,heavy_frames=3"
    with cache_for(model, policy) as cache:
        attached = apply_worldkv(model, cache)
        assert (roll_out_cached(attached, LENGTHS, prompts()) - cached()).abs().max() > 1e-4
    with cache_for(model, policy) as attached.cache:
        attached.cache.begin(Viewpoint.of(cameras(1)[0]))
        model(torch.randn(1, 4, 3, 2 * ROWS, 2 * COLUMNS), torch.zeros(1), prompts())
        with pytest.raises(PolicyError, match="clean pass"):
            attached.cache.commit()


def test_a_policy_that_keeps_other_tokens_in_every_head() -> None:
    """`window` cannot hold those, `attend` can; where every token is admitted, it is full KV."""
    torch.testing.assert_close(cached("novelty-admission:least_utility=0"), cached(), rtol=1e-5, atol=1e-5)
    assert (cached("novelty-admission:recent_frames=3,least_utility=0.9") - cached()).abs().max() > 1e-4


def test_hidden_states_come_with_the_clean_pass_alone() -> None:
    model, seen = tiny_wan(), []
    with cache_for(model) as cache, apply_worldkv(model, cache) as attached:
        window = cache.window

        def noted(layer: int, keys: Tensor, *args: Any, **kwargs: Any) -> Any:
            seen.append((kwargs["clean"], kwargs["hidden"]))
            return window(layer, keys, *args, **kwargs)

        cache.window = noted  # type: ignore[method-assign]
        roll_out_cached(attached, LENGTHS[:1], prompts())
    noisy, clean = seen[:-LAYERS], seen[-LAYERS:]
    assert set(noisy) == {(False, None)}
    assert all(is_clean and hidden.shape == (1, 3 * ROWS * COLUMNS, HEADS * CHANNELS) for is_clean, hidden in clean)


def test_a_compiled_model_is_not_compiled_anew_from_step_to_step() -> None:
    import torch._dynamo
    from torch._dynamo.utils import counters

    model, graphs = tiny_wan(), []
    with cache_for(model) as cache, apply_worldkv(model, cache) as attached:
        attached.transformer = torch.compile(model, backend="eager")
        commit = cache.commit

        def noted() -> Any:
            graphs.append(counters["stats"]["unique_graphs"])
            return commit()

        cache.commit = noted  # type: ignore[method-assign]
        got = roll_out_cached(attached, LENGTHS, prompts())
    torch._dynamo.reset()
    torch.testing.assert_close(got, cached(), rtol=1e-5, atol=1e-5)
    assert 0 < graphs[0] and graphs[2] == graphs[-1]


# ---------------------------------------------------------------------- guidance


def two_calls(
    policy: str, names: Sequence[str | None] = ("cond", "uncond"), branches: int = 2, named: Any = BRANCHES
) -> Tensor:
    """The guided rollout as diffusers' pipelines make it: two calls of batch 1 a pass."""
    model, text, views = tiny_wan(), prompts(2), cameras(len(LENGTHS))
    with model.cache_context("cond"):
        pass  # the library has looked for hooks by now, and remembers what it found

    with cache_for(model, policy, branches=branches) as cache, apply_worldkv(model, cache, branches=named):

        def call(latents: Tensor, now: float) -> Tensor:
            outs = []
            for branch, name in enumerate(names):
                own, prompt = latents[branch : branch + 1], text[branch : branch + 1]
                with model.cache_context(name) if name else nullcontext():
                    outs.append(model(own, torch.full((1,), now), prompt, return_dict=False)[0])
            return torch.cat(outs)

        return roll_out(call, LENGTHS, lambda chunk: cache.begin(Viewpoint.of(views[chunk])), cache.commit, 2)


@pytest.mark.parametrize(
    "policy", ["full-kv", "sliding-window:sink_frames=3,recent_frames=6", "worldkv:recent_frames=3"]
)
def test_two_calls_are_guidance_on_the_batch_axis(policy: str) -> None:
    torch.testing.assert_close(two_calls(policy), cached(policy, branches=2), rtol=1e-5, atol=1e-5)


def test_calls_by_other_names() -> None:
    got = two_calls("full-kv", ("text", "nothing"), named={"text": 0, "nothing": 1})
    torch.testing.assert_close(got, cached(branches=2), rtol=1e-5, atol=1e-5)


def test_branches_share_no_keys() -> None:
    """Each branch of the guided rollout is the rollout of its prompt alone."""
    model, views = tiny_wan(), cameras(len(LENGTHS))
    with cache_for(model) as cache, apply_worldkv(model, cache):

        def call(latents: Tensor, now: float) -> Tensor:
            out: Tensor = model(latents[1:], torch.full((1,), now), prompts(2)[1:], return_dict=False)[0]
            return torch.cat([torch.zeros_like(out), out])

        alone = roll_out(call, LENGTHS, lambda chunk: cache.begin(Viewpoint.of(views[chunk])), cache.commit, 2)
    torch.testing.assert_close(two_calls("full-kv")[1], alone[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "branches", "message"),
    [
        ((None, None), 2, "which of the 2 branches"),
        ((None, None), 1, "two prompts"),
        (("cond", "uncond"), 1, "'uncond' is no branch"),
        (("cond", "other"), 2, "'other' is no branch"),
        (("cond", "cond"), 2, "commit"),
    ],
)
def test_guidance_that_would_overwrite_its_own_keys_is_refused(
    names: Sequence[str | None], branches: int, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        two_calls("full-kv", names, branches)


def test_one_prompt_in_new_memory_is_one_prompt() -> None:
    model, latents = tiny_wan(), torch.randn(1, 4, 3, 2 * ROWS, 2 * COLUMNS)
    with cache_for(model) as cache, apply_worldkv(model, cache):
        for rollout in range(2):
            cache.begin(Viewpoint.of(cameras(1)[0]))
            for _ in range(3):
                model(latents, torch.zeros(1), prompts() + rollout)  # the next rollout's may be another
            cache.commit()
            cache.reset()


def test_a_second_expert_has_branches_of_its_own() -> None:
    """Wan 2.2 denoises with one transformer first and with another then; each attends its own keys."""
    first, second, other = tiny_wan(), tiny_wan(), {"cond": 1}
    second.proj_out.weight.mul_(-1)
    with (
        cache_for(first, branches=2) as cache,
        apply_worldkv(first, cache),
        apply_worldkv(second, cache, branches=other),
    ):
        for chunk, camera in enumerate(cameras(3)):
            cache.begin(Viewpoint.of(camera))
            for model in (first, second):
                with model.cache_context("cond"):
                    latents = torch.full((1, 4, 3, 2 * ROWS, 2 * COLUMNS), float(chunk))
                    outs = model(latents, torch.zeros(1), prompts(), return_dict=False)[0]
            cache.commit()
    assert outs.isfinite().all()


# ---------------------------------------------------------------------- on and off


def test_a_removed_cache_leaves_the_model_as_it_was() -> None:
    model, latents = tiny_wan(), torch.randn(1, 4, 3, 2 * ROWS, 2 * COLUMNS)
    processors, want = model.attn_processors, model(latents, torch.zeros(1), prompts(), return_dict=False)[0]
    with cache_for(model) as cache:
        attached = apply_worldkv(model, cache)
        with pytest.raises(SpecError, match="under a cache already"):
            apply_worldkv(model, cache)
        assert not any(model.attn_processors[name] is own for name, own in processors.items() if "attn1" in name)
        roll_out_cached(attached, LENGTHS[:2], prompts())
        attached.remove()
        attached.remove()
    assert model.attn_processors == processors
    with cache_for(model) as cache:
        apply_worldkv(model, cache).remove()
    assert torch.equal(model(latents, torch.zeros(1), prompts(), return_dict=False)[0], want)


def test_the_next_rollout_takes_another_cache() -> None:
    model = tiny_wan()
    with cache_for(model) as first:
        attached = apply_worldkv(model, first)
        outs = [roll_out_cached(attached, LENGTHS[:2], prompts())]
    with cache_for(model) as attached.cache:
        outs.append(roll_out_cached(attached, LENGTHS[:2], prompts()))
    assert torch.equal(*outs)


def test_the_kernel_that_was_set_stays_and_can_be_changed() -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName

    model = tiny_wan()
    model.blocks[0].attn1.processor._attention_backend = AttentionBackendName.NATIVE
    with cache_for(model) as cache, apply_worldkv(model, cache):
        kernels = [block.attn1.processor._attention_backend for block in model.blocks]
        assert kernels == [AttentionBackendName.NATIVE, None]


# ---------------------------------------------------------------------- what is refused


def refused(model: Any, cache: WorldCache, message: str, kind: type[WorldKVError] = SpecError) -> None:
    with cache, pytest.raises(kind, match=message):
        apply_worldkv(model, cache)


def test_another_model_class_is_refused() -> None:
    refused(torch.nn.Linear(2, 2), cache_for(tiny_wan()), "got Linear")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, "3 layers"),
        ({"num_attention_heads": 4}, "4 heads"),
        ({"attention_head_dim": 48}, "48 head_dim"),
        ({"rope_max_seq_len": 512}, "512 frames"),
    ],
)
def test_another_model_s_geometry_is_refused(changes: dict[str, int], message: str) -> None:
    refused(tiny_wan(**changes), cache_for(tiny_wan()), message)


def test_context_parallelism_is_refused() -> None:
    model = tiny_wan()
    model.blocks[1].attn1.processor._parallel_config = object()
    refused(model, cache_for(model), "enable_parallelism")
    model = tiny_wan()
    with cache_for(model) as cache, apply_worldkv(model, cache):
        cache.begin(Viewpoint.of(cameras(1)[0]))
        model._parallel_config = object()
        with pytest.raises(SpecError, match="enable_parallelism"):
            model(torch.randn(1, 4, 3, 2 * ROWS, 2 * COLUMNS), torch.zeros(1), prompts())


def test_a_cache_of_diffusers_is_refused() -> None:
    from diffusers import FirstBlockCacheConfig

    model = tiny_wan()
    model.enable_cache(FirstBlockCacheConfig())
    refused(model, cache_for(model), "FirstBlockCacheConfig")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 3, 2 * COLUMNS, 2 * ROWS), "3 x 2 tokens"),
        ((3, 4, 3, 2 * ROWS, 2 * COLUMNS), "batch 3"),
        ((1, 4, 4, 2 * ROWS, 2 * COLUMNS), "tokens"),
    ],
)
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    model = tiny_wan()
    with cache_for(model) as cache, apply_worldkv(model, cache):
        cache.begin(Viewpoint.of(cameras(1)[0]))
        with pytest.raises(PolicyError, match=message):
            model(torch.randn(shape), torch.zeros(shape[0]), prompts(shape[0]))


def test_an_attention_mask_is_refused() -> None:
    model = tiny_wan()
    with cache_for(model) as cache, apply_worldkv(model, cache), pytest.raises(PolicyError, match="attention mask"):
        model.blocks[0].attn1(torch.randn(1, 18, HEADS * CHANNELS), None, torch.ones(1))


def test_frames_past_the_model_s_table_are_refused() -> None:
    """The cache judges attended distances; the model's own table has an end."""
    model, policy = tiny_wan(rope_max_seq_len=9), "sliding-window:sink_frames=0,recent_frames=3"
    with cache_for(model, policy) as cache, apply_worldkv(model, cache) as attached:
        with pytest.raises(PositionError, match="9 to 11.*0 to 8"):
            roll_out_cached(attached, LENGTHS, prompts())
    with cache_for(model, f"{policy},positions=relative", keys="unrotated") as cache:
        roll_out_cached(apply_worldkv(model, cache), LENGTHS, prompts())


def test_a_call_outside_of_a_step_is_refused() -> None:
    model = tiny_wan()
    with cache_for(model) as cache, apply_worldkv(model, cache), pytest.raises(PolicyError, match="no step is open"):
        model(torch.randn(1, 4, 3, 2 * ROWS, 2 * COLUMNS), torch.zeros(1), prompts())


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_wan()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    refused(model, cache_for(model), r"worldkv\[diffusers\]", WorldKVError)


def test_the_geometry_is_the_config_s() -> None:
    geometry = geometry_of(tiny_wan(rope_max_seq_len=77), 8, 12, frames_per_chunk=4, branches=2)
    assert (geometry.layers, geometry.heads, geometry.kv_heads, geometry.head_dim) == (LAYERS, HEADS, HEADS, CHANNELS)
    assert (geometry.frame_rows, geometry.frame_columns, geometry.frames_per_chunk) == (4, 6, 4)
    assert (geometry.rope_frames, geometry.branches, geometry.itemsize) == (77, 2, 4)
    with pytest.raises(SpecError, match="7 x 12 are not whole patches"):
        geometry_of(tiny_wan(), 7, 12)
