"""The stand-in for FlashDreams' `BlockKVCache`, called as its Wan network calls it, against attention over lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.toy_engine import (
    CHANNELS,
    HEADS,
    LAYERS,
    TOKENS,
    WINDOW,
    assert_takes_the_calls_of,
    cache_for,
    full,
    kernel,
    naive,
    roll_out,
    viewpoint_of,
    windowed,
)
from worldkv import WorldCache
from worldkv.adapters.flashdreams import Layer, install, layers
from worldkv.errors import PolicyError, SpecError


class Published:
    """`BlockKVCache` of flashdreams 0.1.0, as its networks call it."""

    def before_update(self, chunk_idx: Any) -> None: ...
    def update(self, k: Any, v: Any) -> None: ...
    def cached_k(self) -> None: ...
    def cached_v(self) -> None: ...
    def after_update(self, chunk_idx: Any) -> None: ...
    def reset(self) -> None: ...


def test_signature() -> None:
    assert_takes_the_calls_of(Layer, Published)
    assert {"size", "write_end"} <= {name for name, kind in vars(Layer).items() if isinstance(kind, property)}


def allocate(attention: Any, **changes: Any) -> Layer:
    """A block's cache as the network asks for it."""
    shape = {"chunk_size": TOKENS, "window_size": 6 * TOKENS, "sink_size": 0, "dtype": torch.float32}
    layer: Layer = attention.initialize_cache(**{"batch_size": 1, "device": torch.device("cpu"), **shape, **changes})
    return layer


class Attention:
    """Where the network allocates a cache of its own."""

    def initialize_cache(self, *args: object, **kwargs: object) -> str:
        return "its own"


def blocks(count: int = LAYERS) -> list[Any]:
    return [SimpleNamespace(self_attn=Attention()) for _ in range(count)]


def rolled(network: list[Any], branches: int, *, is_eager: bool) -> Tensor:
    """The rollout as the engine makes it: `is_eager` opens and closes every pass, otherwise every chunk."""
    by_branch = [[allocate(block.self_attn) for block in network] for _ in range(branches)]

    def every(method: str, chunk: int) -> None:
        for of_branch in by_branch:
            for layer in of_branch:
                getattr(layer, method)(chunk)

    def attend(chunk: int, layer: int, branch: int, own: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        queries, keys, values = own
        kv_cache = by_branch[branch][layer]
        if is_eager and layer == 0:
            for other in by_branch[branch]:
                other.before_update(chunk)
        kv_cache.update(keys, values)
        out = kernel(queries, kv_cache.cached_k(), kv_cache.cached_v())
        assert kv_cache.size == kv_cache.cached_v().shape[1] and kv_cache.chunk_size == TOKENS
        if is_eager and layer == LAYERS - 1:
            for other in by_branch[branch]:
                other.after_update(chunk)
        return out

    if is_eager:
        return roll_out(attend, branches)
    return roll_out(
        attend, branches, lambda chunk: every("before_update", chunk), lambda chunk: every("after_update", chunk)
    )


@pytest.mark.parametrize("is_eager", [True, False])
@pytest.mark.parametrize("branches", [1, 2])
def test_full_kv_is_every_chunk(branches: int, *, is_eager: bool) -> None:
    network = blocks()
    with cache_for(branches=branches) as cache:
        install(network, cache, viewpoint_of)
        want = naive(full, branches)
        assert torch.equal(rolled(network, branches, is_eager=is_eager), want)
        assert torch.equal(rolled(network, branches, is_eager=is_eager), want)  # allocated anew, it starts over


def test_a_sliding_window() -> None:
    network = blocks()
    with cache_for(WINDOW) as cache:
        install(network, cache, viewpoint_of)
        torch.testing.assert_close(rolled(network, 1, is_eager=False), naive(windowed), rtol=1e-5, atol=1e-5)


def test_it_can_be_taken_back() -> None:
    network = blocks()
    with cache_for() as cache:
        take_back = install(network, cache, viewpoint_of)
        assert isinstance(allocate(network[0].self_attn), Layer)
        take_back()
    assert network[0].self_attn.initialize_cache() == "its own"


def test_another_number_of_blocks_is_refused() -> None:
    with cache_for() as cache, pytest.raises(SpecError, match="3 blocks"):
        install(blocks(3), cache, viewpoint_of)


@pytest.mark.parametrize("changes", [{"chunk_size": TOKENS // 2}, {"batch_size": 2}, {"dtype": torch.float16}])
def test_a_sequence_split_over_ranks_is_refused(changes: dict[str, Any]) -> None:
    """A rank's part of a chunk is no chunk, and ring attention cuts what it gathers into equal parts."""
    network = blocks()
    with cache_for() as cache:
        install(network, cache, viewpoint_of)
        with pytest.raises(SpecError, match="split over ranks"):
            allocate(network[0].self_attn, **changes)


def layer_of(cache: WorldCache) -> Layer:
    layer = layers(cache, viewpoint_of)[0][0]
    layer.before_update(0)
    return layer


def test_keys_rotated_by_their_place_in_the_window_are_refused() -> None:
    with cache_for() as cache, pytest.raises(PolicyError, match="apply_rope_before_kvcache=True"):
        layer_of(cache).write_end  # noqa: B018 - reading it is what the network does


def test_a_captured_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice(Tensor):
        is_cuda = True

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    own = torch.zeros(1, TOKENS, HEADS, CHANNELS)
    with cache_for() as cache:
        layer = layer_of(cache)
        layer.update(own, own)
        with pytest.raises(PolicyError, match="use_cuda_graph=False"):
            layer.update(own.as_subclass(OnDevice), own)


@pytest.mark.parametrize("chunk", [2, -1])
def test_chunks_come_one_by_one(chunk: int) -> None:
    own = torch.zeros(1, TOKENS, HEADS, CHANNELS)
    with cache_for() as cache:
        layer = layer_of(cache)
        layer.update(own, own)
        with pytest.raises(PolicyError, match=f"chunk {chunk} after chunk 0"):
            layer.before_update(chunk)


def test_reading_comes_after_update() -> None:
    with cache_for() as cache, pytest.raises(PolicyError, match="update comes first"):
        layer_of(cache).cached_k()
