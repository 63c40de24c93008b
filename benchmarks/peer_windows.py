"""Caches of other projects that keep a sliding window, driven as their projects drive them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.peer_work import Job, Peer, kernel
from worldkv.backends import attend


class NotThereError(Exception):
    """A peer cannot run here; its text says why."""


class RollingDict(Peer):
    """One dict a layer, rolled to the left when it is full: the cache of Self-Forcing and its family.

    Written from the description of its attention's inference path: `k` and `v` `(1, size, heads, head_dim)`, two
    tensors of one number each for the ends of what is written, read in every layer and pass.
    """

    def __init__(self, job: Job, size_chunks: int | None = None) -> None:
        """Room for `size_chunks`; by default sink, recent chunks and the chunk itself."""
        work, geometry = job.work, job.geometry
        self.tokens, self.sink = geometry.chunk_tokens, work.sink_chunks * geometry.chunk_tokens
        size = (size_chunks or work.sink_chunks + work.recent_chunks + 1) * self.tokens
        like = job.inputs(0).layers[0][1]
        shape = (1, size, geometry.kv_heads, geometry.head_dim)

        def number() -> Tensor:
            return torch.zeros(1, dtype=torch.long, device=job.device)

        self.layers = [
            {"k": like.new_zeros(shape), "v": like.new_zeros(shape), "global_end": number(), "local_end": number()}
            for _ in range(geometry.layers)
        ]
        self.start = 0

    def begin(self, step: int) -> None:
        """The chunk's place in the rollout is all that changes."""
        self.start = step * self.tokens

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, int]:
        """Roll if the chunk is new and there is no room, then write it; the buffers and the end of what is valid."""
        held, end = self.layers[layer], self.start + self.tokens
        global_end, local_end = int(held["global_end"].item()), int(held["local_end"].item())
        size, new_end = held["k"].shape[1], local_end + end - global_end
        if end > global_end and new_end > size:
            evicted, kept = new_end - size, size - self.tokens - self.sink
            for part in (held["k"], held["v"]):
                from_here = self.sink + evicted
                part[:, self.sink : self.sink + kept] = part[:, from_here : from_here + kept].clone()
            new_end = size
        held["k"][:, new_end - self.tokens : new_end] = keys
        held["v"][:, new_end - self.tokens : new_end] = values
        held["global_end"].fill_(end)
        held["local_end"].fill_(new_end)
        return held["k"], held["v"], new_end

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """See `Peer.attend`."""
        all_keys, all_values, end = self.write(layer, keys, values)
        return kernel(queries, all_keys[:, :end], all_values[:, :end])

    def commit(self) -> None:
        """The last pass's keys and values stay where they lie."""


class FlashDreams(Peer):
    """`BlockKVCache` of NVIDIA's FlashDreams (wheel flashdreams 0.1.0), opened and closed round every pass."""

    def __init__(self, job: Job) -> None:
        """One a layer.

        Raises:
            NotThereError: the wheel is not installed.
        """
        geometry, cache = job.geometry, _block_kv_cache()
        like, window = job.inputs(0).layers[0][1], (job.work.recent_chunks + 1) * geometry.chunk_tokens
        shape = (1, window, geometry.kv_heads, geometry.head_dim)
        self.layers = [
            cache(
                k_shape=shape,
                v_shape=shape,
                seq_dim=1,
                chunk_size=geometry.chunk_tokens,
                window_size=window,
                device=like.device,
                dtype=like.dtype,
            )
            for _ in range(geometry.layers)
        ]
        self.step = 0

    def begin(self, step: int) -> None:
        """See `Peer.begin`."""
        self.step = step

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """See `Peer.attend`."""
        held = self.layers[layer]
        held.before_update(self.step)
        held.update(keys, values)
        out = kernel(queries, held.cached_k(), held.cached_v())
        held.after_update(self.step)
        return out

    def commit(self) -> None:
        """See `Peer.commit`."""


class SlidingLayer(Peer):
    """`DynamicSlidingWindowLayer` of transformers 5.23, in a `Cache`.

    It appends in every call, and has no second pass over the same chunk: before each pass the layer is set back to what
    it held, which copies nothing.
    """

    is_offloaded = False

    def __init__(self, job: Job) -> None:
        """One a layer.

        Raises:
            NotThereError: transformers is not installed, or cannot do it here.
        """
        try:
            from transformers.cache_utils import Cache, DynamicSlidingWindowLayer
        except ImportError as error:
            raise NotThereError("transformers is not installed; pip install 'transformers>=5.23,<6'") from error
        if self.is_offloaded and not job.device.startswith("cuda"):
            raise NotThereError("its offloading calls torch.cuda, whatever the device")
        past = job.work.recent_chunks * job.geometry.chunk_tokens
        layers = [DynamicSlidingWindowLayer(sliding_window=past + 1) for _ in range(job.geometry.layers)]
        options = {"offloading": True, "offload_only_non_sliding": False} if self.is_offloaded else {}
        self.cache: Any = Cache(layers=layers, **options)
        self.before: list[tuple[Any, ...] | None] = [None] * len(layers)

    def begin(self, step: int) -> None:
        """See `Peer.begin`."""
        self.before = [None] * len(self.before)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """See `Peer.attend`."""
        held, before = self.cache.layers[layer], self.before[layer]
        if before is None:
            self.before[layer] = (held.keys, held.values, held.cumulative_length) if held.is_initialized else ()
        elif not before:
            held.reset()
        else:
            held.keys, held.values, held.cumulative_length = before
        own = keys.transpose(1, 2), values.transpose(1, 2)
        return attend(queries.transpose(1, 2), *self.cache.update(*own, layer)).transpose(1, 2)

    def commit(self) -> None:
        """See `Peer.commit`."""


class OffloadedSlidingLayer(SlidingLayer):
    """The same in a cache that brings every layer's window to the device and back, in every pass."""

    is_offloaded = True


def _block_kv_cache() -> Any:
    """The class, from its own file: the package around it needs Triton, and with it a GPU."""
    try:
        installed = importlib.metadata.distribution("flashdreams")
    except importlib.metadata.PackageNotFoundError as error:
        raise NotThereError("flashdreams is not installed; pip install --no-deps flashdreams==0.1.0") from error
    name = "flashdreams_kvcache"
    if name not in sys.modules:
        file = str(installed.locate_file("flashdreams/core/attention/kvcache.py"))
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise NotThereError(f"flashdreams {installed.version} has no kvcache.py where 0.1.0 has it")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name].BlockKVCache
