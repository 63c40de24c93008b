"""The family's attention, unmodified, on slots: the same numbers as on its own caches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.family import (
    CHANNELS,
    COLUMNS,
    FRAME,
    HEADS,
    LEVELS,
    ROWS,
    GuidedPipeline,
    Model,
    Pipeline,
    Recutting,
    ReturningPipeline,
    TwoPlanes,
    TwoPlanesPipeline,
    noise,
    own_caches,
    roll_out,
)
from worldkv.adapters.self_forcing import Slot, install, patch, slots
from worldkv.backends import WorldCache
from worldkv.geometry import CacheGeometry
from worldkv.scene import Scene, viewpoints
from worldkv.signals import Viewpoint
from worldkv.specs import parse_policy
from worldkv.trajectory import cut, load_trajectory


def geometry(chunk: int = 3, branches: int = 1) -> CacheGeometry:
    return CacheGeometry(2, HEADS, HEADS, CHANNELS, ROWS, COLUMNS, chunk, itemsize=4, branches=branches)


PATH = cut(load_trajectory("generate:loop:chunks=12,laps=3"), geometry())
VIEWS = list(viewpoints(PATH))
SCENE = Scene(view_distance=PATH.view_distance)


def on_slots(
    spec: str, chunks: Sequence[Tensor], model: Model, views: Any = None, shape: CacheGeometry | None = None
) -> Tensor:
    with WorldCache(parse_policy(spec), shape or geometry(), scene=SCENE) as cache:
        made = slots(cache, views)
        out = roll_out(model, chunks, made)
        made[0].steps.commit()
        assert len(made[0].steps.records) == len(chunks)
        assert cache.start_frame * FRAME == out.shape[1]
    return out


def difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


@pytest.mark.parametrize(
    ("chunk", "frames"),
    [(3, [3] * 8), (1, [1] * 8), (4, [4] * 5), (3, [1, 3, 3, 3, 2]), (4, [1, 4, 4])],
    ids=["3", "1", "4", "first frame alone, last chunk short", "4 after an image"],
)
def test_full_kv_is_the_model_s_own_full_cache(chunk: int, frames: list[int]) -> None:
    model, chunks = Model(), noise(frames)
    own = roll_out(model, chunks, own_caches())
    assert difference(on_slots("full-kv", chunks, model, shape=geometry(chunk)), own) == 0.0


@pytest.mark.parametrize(("recent", "sink", "local"), [(6, 0, 9), (3, 3, 9), (0, 6, 9)])
def test_a_sliding_window_is_the_model_s_own_rolling_cache(recent: int, sink: int, local: int) -> None:
    """Their local_attn_size counts the chunk that is generated, ours does not."""
    chunks = noise([3] * 8)
    own = roll_out(Model(local_attn_size=local, sink_size=sink), chunks, own_caches(frames=local))
    full = roll_out(Model(), chunks, own_caches())
    spec = f"sliding-window:recent_frames={recent},sink_frames={sink}"
    for model in (Model(), Model(local_attn_size=local, sink_size=sink)):  # its own window never rolls
        assert difference(on_slots(spec, chunks, model), own) < 2e-6
    assert difference(own, full) > 1e-3


def test_worldkv_that_keeps_and_retrieves_everything_is_full_kv() -> None:
    model, chunks = Model(), noise([3] * 10)
    own = roll_out(model, chunks, own_caches())
    everything = on_slots("worldkv:keep_ratio=1,retrieved_frames=30", chunks, model, VIEWS)
    assert difference(everything, own) < 2e-6
    some = on_slots("worldkv:keep_ratio=0.5,retrieved_frames=3", chunks, model, VIEWS)
    assert difference(some, own) > 1e-3


@pytest.mark.parametrize("spec", ["worldkv", "worldkv:rebase=true,retrieved_frames=6", "keydiff", "flash-memory"])
def test_slots_and_a_patched_forward_decide_and_compute_the_same(spec: str) -> None:
    model, chunks = Model(), noise([3] * 12)
    out, plans = [], []
    with WorldCache(parse_policy(spec), geometry(), scene=SCENE) as cache:
        made = slots(cache, VIEWS)
        out.append(roll_out(model, chunks, made))
        plans.append([plan.attended.tolist() for plan in made[0].steps.plans])
    with patch(model, WorldCache(parse_policy(spec), geometry(), scene=SCENE), VIEWS.__getitem__) as patched:
        out.append(roll_out(model, chunks, own_caches()))
        plans.append([plan.attended.tolist() for plan in patched.plans])
    assert plans[0] == plans[1]
    assert difference(*out) == 0.0


def test_several_chunks_of_context_in_one_pass() -> None:
    """A prefill of seven latents is committed as chunks of three, three and one."""
    model, chunks = Model(), noise([7, 3, 3])
    own = roll_out(model, chunks, own_caches())
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        views = [Viewpoint(), Viewpoint(), Viewpoint(frames=1), Viewpoint(), Viewpoint()]
        assert difference(roll_out(model, chunks, slots(cache, views)), own) == 0.0
        assert len(cache.engine.table) == 4
    assert difference(on_slots("full-kv", chunks, model), own) == 0.0


# ---------------------------------------------------------------------- branches


def in_one_batch(chunks: Sequence[Tensor], spec: str) -> Tensor:
    """What `GuidedPipeline` computes, both branches in one batch."""
    model = Model()
    with torch.inference_mode(), WorldCache(parse_policy(spec), geometry(branches=2), scene=SCENE) as cache:
        made, out, start = slots(cache, VIEWS), [], 0
        for x in chunks:
            for t in LEVELS:
                yes, no = model(torch.cat([x, 0.3 * x]), t, kv_cache=made, current_start=start).split(1)
                x = x - (x - no - 2 * (yes - no)) / 3 if t else x
            out.append(torch.stack([yes, no]))
            start += x.shape[1]
    return torch.cat(out, 2)


@pytest.mark.parametrize("spec", ["full-kv", "worldkv:recent_frames=3,retrieved_frames=3"])
def test_interleaved_branches_are_batched_branches_and_two_caches(spec: str) -> None:
    chunks = noise([3] * 10)
    own = GuidedPipeline(Model()).inference(chunks)
    pipeline = GuidedPipeline(Model())
    with install(pipeline, parse_policy(spec), VIEWS, make_cache=with_scene) as installed:
        interleaved = pipeline.inference(chunks)
        assert installed.cache.geometry.branches == 2
        assert len(installed.plans) == 10
    assert difference(interleaved, in_one_batch(chunks, spec)) < 2e-6
    if spec == "full-kv":
        assert difference(interleaved, own) == 0.0


def with_scene(*args: Any, **kwargs: Any) -> WorldCache:
    return WorldCache(*args, **kwargs, scene=SCENE)


def test_branches_see_their_own_keys() -> None:
    """With one list for both, the unconditional pass would attend the conditional one's keys."""
    chunks = noise([3] * 4)
    pipeline = GuidedPipeline(Model())
    own = pipeline.inference(chunks)
    assert difference(own[0], own[1]) > 1e-2


def test_a_second_plane_of_the_same_tokens_rides_along() -> None:
    chunks = noise([3] * 8)
    for spec, model in (
        ("full-kv", Model(TwoPlanes)),
        ("sliding-window:recent_frames=6", Model(TwoPlanes, local_attn_size=9)),
    ):
        own_model = TwoPlanesPipeline(model)
        frames = 9 if model.local_attn_size == 9 else 60
        own = roll_out(model, chunks, own_caches(frames=frames), prope_kv_cache=own_caches(frames=frames))
        opened: list[int] = []

        def make_cache(*args: Any, riders: int, opened: list[int] = opened, **kwargs: Any) -> WorldCache:
            opened.append(riders)
            return WorldCache(*args, riders=riders, **kwargs)

        with install(own_model, parse_policy(spec), make_cache=make_cache) as installed:
            assert difference(own_model.inference(chunks), own) <= (2e-6 if frames == 9 else 0.0)
            assert (installed.cache.geometry.branches, opened) == (2, [1])


# ---------------------------------------------------------------------- install


def test_a_pipeline_runs_twice_and_gets_its_own_caches_back() -> None:
    chunks = noise([3] * 6)
    pipeline = Pipeline(Model())
    own = pipeline.inference(chunks)
    caches = pipeline.kv_cache1
    with install(pipeline, parse_policy("full-kv")) as installed:
        for _ in range(2):  # the second run resets the indices
            assert difference(pipeline.inference(chunks), own) == 0.0
            assert pipeline.kv_cache1 is not None
            assert isinstance(pipeline.kv_cache1[0], Slot)
            assert (len(installed.plans), len(installed.records)) == (6, 5)
            assert installed.commit() is not None
            assert installed.commit() is None
            assert len(installed.cache.engine.table) == 6
    assert pipeline.kv_cache1 is caches
    assert "_initialize_kv_cache" not in vars(pipeline)
    assert difference(pipeline.inference(chunks), own) == 0.0


def test_what_a_pipeline_says_becomes_the_geometry() -> None:
    pipeline = Pipeline(Model())
    with install(pipeline, parse_policy("full-kv")) as installed:
        pipeline.inference(noise([3], batch=2))
        got = installed.cache.geometry
    assert (got.layers, got.heads, got.kv_heads, got.head_dim) == (2, HEADS, HEADS, CHANNELS)
    assert (got.frame_rows, got.frame_columns, got.frames_per_chunk) == (ROWS, COLUMNS, 3)
    assert (got.branches, got.itemsize, got.rope_frames) == (2, 4, 1024)


def test_a_method_that_returns_its_list() -> None:
    chunks = noise([3] * 4)
    own = roll_out(Model(), chunks, own_caches())
    pipeline = ReturningPipeline(Model())
    with install(pipeline, parse_policy("full-kv")) as installed:
        for _ in range(2):  # asking for caches again is another rollout
            assert difference(pipeline.inference(chunks), own) == 0.0
            assert len(installed.plans) == 4


class TwoExperts(ReturningPipeline):
    """Two models with a list each: the first takes the noisy passes, both the clean one."""

    transformer_2: Model

    @torch.inference_mode()
    def inference(self, chunks: Sequence[Tensor]) -> Tensor:
        first, second = (
            self._initialize_self_kv_cache(2, [1, 60 * FRAME, HEADS, CHANNELS], torch.float32, "cpu") for _ in range(2)
        )
        out, start = [], 0
        for x in chunks:
            x = x - self.generator.model(x, 1.0, kv_cache=first, current_start=start) / 3
            x = x - self.transformer_2(x, 0.5, kv_cache=second, current_start=start) / 3
            for model, caches in ((self.transformer_2, second), (self.generator.model, first)):
                out.append(model(x, 0.0, kv_cache=caches, current_start=start))
            start += x.shape[1]
        return torch.cat(out, 1)


def test_two_experts_are_two_branches() -> None:
    chunks = noise([1, 3, 3, 3])
    pipeline = TwoExperts(Model())
    pipeline.transformer_2 = Model()
    with torch.no_grad():
        pipeline.transformer_2.blocks[0].self_attn.k.weight.mul_(-1)
    own = pipeline.inference(chunks)
    with install(pipeline, parse_policy("full-kv")) as installed:
        for _ in range(2):
            assert difference(pipeline.inference(chunks), own) == 0.0
            assert installed.cache.geometry.branches == 2


def test_attention_that_cuts_no_more_than_there_is_runs() -> None:
    """FastVideo's Matrix-Game-2 with a local_attn_size that holds the policy's window."""
    chunks = noise([3] * 6)
    own = roll_out(Model(), chunks, own_caches())
    for sink in (0, 3):
        model = Model(Recutting, local_attn_size=18, sink_size=sink)
        assert difference(on_slots("full-kv", chunks, model), own) == 0.0


def test_reading_an_index_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value asked of a tensor waits for a GPU: several times a layer and pass on the family's own caches."""
    chunks, model, asked = noise([3] * 2), Model(local_attn_size=9), []

    def counted(name: str) -> Callable[[Tensor], Any]:
        original = getattr(Tensor, name)

        def ask(tensor: Tensor) -> Any:
            asked.append(name)
            return original(tensor)

        return ask

    for name in ("item", "__int__", "__bool__", "tolist"):
        monkeypatch.setattr(Tensor, name, counted(name))
    roll_out(model, chunks, own_caches(frames=9))
    assert len(asked) >= 2 * 2 * len(LEVELS) * len(chunks)
    with WorldCache(parse_policy("full-kv"), geometry()) as cache:
        asked.clear()
        roll_out(model, chunks, slots(cache))
        assert asked == []
