"""What would go wrong without a word under slots is refused in a sentence, or shown to be right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.family import (
    DIM,
    FRAME,
    Cache,
    Copying,
    GuidedPipeline,
    Model,
    Pipeline,
    Recutting,
    Rolling,
    SelfAttention,
    noise,
    roll_out,
)
from tests.adapters.test_self_forcing import VIEWS, geometry, on_slots
from worldkv.adapters.self_forcing import Slot, install, slots
from worldkv.adapters.self_forcing.watched import Watched
from worldkv.backends import WorldCache
from worldkv.errors import PolicyError, SpecError, WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.signals import Viewpoint
from worldkv.specs import parse_policy

PATCH = "worldkv.adapters.self_forcing.patch"


def refused(kind: type[WorldKVError], *words: str) -> Any:
    """One sentence with all these words."""
    return pytest.raises(kind, match="(?s)" + "".join(f"(?=.*{re.escape(word)})" for word in words))


# ---------------------------------------------------------------------- models of another kind


@pytest.mark.parametrize("sink", [0, 3])
def test_a_model_that_cuts_the_window_again(sink: int) -> None:
    model = Model(Recutting, local_attn_size=9, sink_size=sink)
    with refused(PolicyError, "local_attn_size", "of the 192 tokens", "raise"):
        on_slots("full-kv", noise([3] * 6), model)


def test_a_model_that_copies_its_cache() -> None:
    with refused(PolicyError, "copies its cache's 'k'", "torch.no_grad", PATCH):
        on_slots("full-kv", noise([3] * 2), Model(Copying))


def test_a_model_that_puts_its_window_together_itself() -> None:
    with refused(PolicyError, "layer 0 reads", "puts its window together by itself", PATCH):
        on_slots("full-kv", noise([3] * 3), Model(Rolling))


class ReadsFirst(SelfAttention):
    """Joins what is cached with its chunk, which it writes afterwards."""

    def cached(self, q: Tensor, k: Tensor, v: Tensor, cache: Cache, current_start: int) -> Tensor:
        end = current_start + k.shape[1]
        if current_start:
            k, v = (torch.cat([cache[name][:, :end], part], 1) for name, part in (("k", k), ("v", v)))
        self.written(k, v, cache, current_start)
        return q


def test_a_model_that_reads_before_it_writes() -> None:
    """What it would read is the window of its last pass, or of the chunk before."""
    with refused(PolicyError, "before it has written", PATCH):
        on_slots("full-kv", noise([3] * 2), Model(ReadsFirst))


@pytest.mark.parametrize(
    "use",
    [
        lambda w: w.clone(),
        lambda w: torch.cat([w, w], 1),
        lambda w: w.narrow(1, 0, 3),
        lambda w: w.split(3, 1),
        lambda w: w.mul_(2),
        lambda w: w.__setitem__(0, 0.0),
        lambda w: w[:, 2:],
        lambda w: w[:, -5:],
        lambda w: w[:, 0],
    ],
)
def test_other_uses_of_a_window(use: Callable[[Tensor], Any]) -> None:
    with refused(PolicyError, "the window", PATCH):
        use(torch.zeros(1, 6, 2, 4).as_subclass(Watched))


def test_uses_of_a_window_that_leave_it_whole() -> None:
    window = torch.randn(1, 6, 2, 4)
    watched = window.as_subclass(Watched)
    for same in (watched[:, -9:], watched[:], watched[0][None], watched.transpose(1, 2).transpose(1, 2)):
        assert type(same) is Tensor
        assert torch.equal(same, window)
    assert torch.equal(watched.flatten(0, 1).contiguous(), window.flatten(0, 1))
    assert [part.shape for part in watched] == [(6, 2, 4)]
    assert (watched.shape, watched.dtype) == (window.shape, window.dtype)


def test_a_kernel_gets_a_plain_tensor() -> None:
    """What a custom operator is written in may copy or cut as it likes."""
    seen: list[type] = []

    @torch.library.custom_op("worldkv_tests::kernel", mutates_args=())
    def kernel(queries: Tensor, keys: Tensor) -> Tensor:
        seen.append(type(keys))
        return queries + keys[:, :1].clone()

    window = torch.randn(1, 6, 2, 4)
    queries = torch.randn(1, 1, 2, 4)
    assert torch.equal(kernel(queries, keys=window.as_subclass(Watched)), queries + window[:, :1])
    assert torch.equal(kernel(queries, window.as_subclass(Watched)), queries + window[:, :1])
    assert seen == [Tensor, Tensor]


def test_what_the_last_pass_returned_is_not_read_again() -> None:
    one = CacheGeometry(1, 2, 2, 16, 4, 4, itemsize=4)
    with WorldCache(parse_policy("full-kv"), one) as cache:
        (slot,), whole = slots(cache), slice(0, 3 * FRAME)
        for name in ("k", "v"):
            slot[name][:, whole] = torch.zeros(1, 3 * FRAME, 2, 16)
        assert not slot["k"][:, whole].any()
        slot["k"][:, whole] = torch.ones(1, 3 * FRAME, 2, 16)
        with refused(PolicyError, "before it has written", PATCH):
            _ = slot["k"][:, whole]


# ---------------------------------------------------------------------- starts


def drive(model: Model, made: list[Slot], start_frame: int, frames: int = 3) -> None:
    with torch.inference_mode():
        x = noise([frames])[0]
        model(x, 0.0, kv_cache=made, current_start=start_frame * FRAME)


def test_starts_that_jump_come_back_or_fall_within_a_frame() -> None:
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        made, model = slots(cache), Model()
        with refused(PolicyError, "latent frame 3", "not the next one", "starts at 0"):
            drive(model, made, 3)
        for start in (0, 3, 3):
            drive(model, made, start)
        with refused(PolicyError, "latent frame 0", "generated already", "starts at 6", "reset"):
            drive(model, made, 0)
        with refused(PolicyError, "latent frame 9", "not the next one"):
            drive(model, made, 9)
        with refused(PolicyError, "has 2 frames", "its first one had 3"):
            drive(model, made, 3, frames=2)
        with refused(PolicyError, "not whole latent frames of 16 tokens", "frame_rows"):
            made[0]["k"][:, 7 : 7 + FRAME] = torch.zeros(1, FRAME, 2, 16)
    with WorldCache(parse_policy("full-kv"), geometry()) as cache, torch.inference_mode():
        made, model = slots(cache), Model()
        drive(model, made, 0)
        model.blocks[0].self_attn(noise([3])[0], torch.tensor([[3, 4, 4]]), model.freqs, made[0], 3 * FRAME)
        with refused(PolicyError, "commit comes after a pass through all 2 layers"):
            drive(model, made, 6)


def test_layers_of_a_pass_that_generate_different_chunks() -> None:
    with WorldCache(parse_policy("full-kv"), geometry()) as cache, torch.inference_mode():
        made, model = slots(cache), Model()
        grid, x = torch.tensor([[3, 4, 4]]), noise([3])[0]
        model.blocks[0].self_attn(x, grid, model.freqs, made[0], 0)
        with refused(PolicyError, "layer 1 writes tokens 48 to 96", "wrote 0 to 48"):
            model.blocks[1].self_attn(x, grid, model.freqs, made[1], 3 * FRAME)


def test_viewpoints_that_do_not_fit_the_chunks() -> None:
    chunks, model = noise([3] * 3), Model()
    with refused(SpecError, "chunk 2 and there are 2 viewpoints"):
        on_slots("full-kv", chunks, model, VIEWS[:2])
    with refused(SpecError, "3 latent frames from frame 0 on", "chunks 0 to 1", "have 5"):
        on_slots("full-kv", chunks, model, [Viewpoint(frames=2), Viewpoint(frames=3)])
    with refused(SpecError, "1 latent frames", "have 3"):
        on_slots("full-kv", noise([1, 3]), model, [Viewpoint(), Viewpoint()])


# ---------------------------------------------------------------------- branches


def test_two_lists_over_one_branch() -> None:
    """The unconditional pass would write over the conditional one's keys, and both attend the last."""
    pipeline = GuidedPipeline(Model())
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        pipeline.kv_cache_pos, pipeline.kv_cache_neg = slots(cache), slots(cache)
        with refused(PolicyError, "two of the model's lists", "branch=0", "branch=1"):
            pipeline.inference(noise([3]))


def test_lists_of_their_own_steps_share_one_cache() -> None:
    pipeline, chunks = GuidedPipeline(Model()), noise([3] * 4)
    own = pipeline.inference(chunks)
    with WorldCache(parse_policy("full-kv"), geometry(branches=2)) as cache:
        pipeline.kv_cache_pos, pipeline.kv_cache_neg = slots(cache, VIEWS, 0), slots(cache, VIEWS, 1)
        assert torch.equal(pipeline.inference(chunks), own)


def test_several_samples_with_several_lists() -> None:
    class Samples(GuidedPipeline):
        def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
            super()._initialize_kv_cache(batch_size, dtype, device)
            for cache in (*self.kv_cache_pos, *self.kv_cache_neg):
                cache["k"] = cache["v"] = cache["k"].expand(2, -1, -1, -1)

    pipeline = Samples(Model())
    with (
        install(pipeline, parse_policy("full-kv")),
        refused(SpecError, "2 lists of caches for 2 samples", "one sample"),
    ):
        pipeline.inference(noise([3]))


def test_a_branch_that_is_not_run() -> None:
    with WorldCache(parse_policy("full-kv"), geometry(branches=2)) as cache:
        with refused(PolicyError, "commit comes after a pass"):
            roll_out(Model(), noise([3] * 2), slots(cache, branch=0))


# ---------------------------------------------------------------------- what pipelines assign


def test_an_index_of_zero_is_a_reset_and_another_number_is_refused() -> None:
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        made, model = slots(cache), Model()
        for again in (torch.tensor([0]), 0):
            roll_out(model, noise([3] * 2), made)
            assert len(made[0].steps.plans) == 2
            for slot in made:
                slot["global_end_index"] = again
                slot["local_end_index"] = again
            assert (cache.start_frame, cache.plan, made[0].steps.plans) == (0, None, [])
        roll_out(model, noise([3] * 2), made)
        made[0]["global_end_index"] = 6 * FRAME  # as FastVideo writes it after a pass
        made[0]["local_end_index"].zero_()
        assert cache.start_frame == 0
        with refused(PolicyError, "end index to 48", "WorldCache.rewind"):
            made[0]["global_end_index"] = torch.tensor([48])
        assert int(made[0]["global_end_index"]) == made[0]["global_end_index"].item() == 0


def test_planes_are_no_tensors() -> None:
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        slot = slots(cache)[0]
        plane = slot["k"]
        slot["k"] = plane.detach()
        assert (plane.shape[0], plane.shape[2:], plane.size(3), plane.dtype) == (1, (2, 16), 16, torch.float32)
        with refused(PolicyError, "in the place of its cache's 'k'", PATCH):
            slot["k"] = torch.zeros(1)
        with refused(PolicyError, ".zero_", PATCH):
            plane.zero_()
        assert not hasattr(plane, "zero_")
        for at in (0, (slice(None), 3), (0, slice(0, FRAME)), (slice(None), slice(0, FRAME, 2)), slice(0, FRAME)):
            with refused(PolicyError, "at [:, start:end]", PATCH):
                plane[at] = torch.zeros(1, FRAME, 2, 16)
        with refused(PolicyError, "writes 16 tokens at 0 to 48", PATCH):
            plane[:, : 3 * FRAME] = torch.zeros(1, FRAME, 2, 16)


def test_writes_take_the_cache_s_dtype_as_a_tensor_s_would() -> None:
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        slot, wide = slots(cache)[0], torch.randn(1, 3 * FRAME, 2, 16, dtype=torch.float64)
        slot["v"][:, 0 : 3 * FRAME] = wide
        slot["k"][:, 0 : 3 * FRAME] = wide
        read = slot["v"][:, 0 : 3 * FRAME]
        assert read.dtype == torch.float32
        assert torch.equal(read.double(), wide.float().double())


# ---------------------------------------------------------------------- policies and pipelines


@pytest.mark.parametrize("spec", ["h2o", "quest-bounds", "snapkv"])
def test_policies_that_read_what_is_not_written(spec: str) -> None:
    with WorldCache(parse_policy(spec), geometry()) as cache, refused(PolicyError, "does not write", PATCH):
        slots(cache)


def test_pipelines_that_slots_do_not_fit() -> None:
    policy = parse_policy("full-kv")
    with refused(SpecError, "no method _initialize_kv_cache or _initialize_self_kv_cache", "slots"):
        install(object(), policy)
    with refused(SpecError, "Relativistic", "rope_cache_policy='relativistic'", "'absolute'", PATCH):
        install(Pipeline(Model(Relativistic)), policy)
    with refused(SpecError, "Updating", "generates several chunks at a time", PATCH):
        install(Pipeline(Model(Updating)), policy)
    pipeline = Pipeline(Model(), frame_seq_length=17)
    with install(pipeline, policy) as installed:
        with refused(SpecError, "has not asked for its caches"):
            _ = installed.cache
        with refused(SpecError, "frame_seq_length=17", "geometry="):
            pipeline.inference(noise([3]))
    pipeline = Pipeline(Model())
    with install(pipeline, policy, geometry=CacheGeometry(3, 2, 2, 16, 4, 4, itemsize=4)):
        with refused(SpecError, "(3, 2, 16)", "(2, 2, 16)"):
            pipeline.inference(noise([3]))


class Relativistic(SelfAttention):
    rope_cache_policy = "relativistic"


class Updating(SelfAttention):
    def forward(self, *args: Any, kv_cache: Any = None, updating_cache: bool = False, **more: Any) -> Any:
        raise NotImplementedError


class Quantised(Pipeline):
    def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
        super()._initialize_kv_cache(batch_size, dtype, device)
        assert self.kv_cache1 is not None
        for cache in self.kv_cache1:
            cache["quantized"] = True


class Changing(Pipeline):
    def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.kv_cache1 = [{"k": torch.zeros(1, 9, DIM), "global_end_index": 0}]


class Guided(GuidedPipeline):
    def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
        super()._initialize_kv_cache(2, dtype, device)
        self.kv_cache_neg = self.kv_cache_neg[:1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Quantised, ("have quantized", PATCH)), (Changing, ("of another form", PATCH)), (Guided, ("must be alike",))],
)
def test_caches_that_slots_do_not_stand_for(kind: type[Pipeline], words: tuple[str, ...]) -> None:
    pipeline = kind(Model())
    with install(pipeline, parse_policy("full-kv")), refused(SpecError, *words):
        pipeline.inference(noise([3]))


def test_nothing_of_the_model_s_own_cache_is_allocated() -> None:
    made: list[torch.device] = []

    class Watching(Pipeline):
        def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
            super()._initialize_kv_cache(batch_size, dtype, device)
            assert self.kv_cache1 is not None
            made.extend(cache["k"].device for cache in self.kv_cache1)

    pipeline = Watching(Model())
    with install(pipeline, parse_policy("full-kv")):
        pipeline.inference(noise([3]))
    assert made == [torch.device("meta")] * 2
