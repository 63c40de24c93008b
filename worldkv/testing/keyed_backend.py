"""The simulator's backend with drawn keys and values, so that compression has something to choose by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import ChunkTensors, Move, Shrink
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, shape_of
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend

MEASURABLE = frozenset({Signal.ATTENTION_MASS, Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY, Signal.HIDDEN_STATE})
"""What a model measures while it runs; the kit draws it from a seed."""
HIDDEN_CHANNELS = 6
"""Channels of a hidden state, where the policy is bound to no model."""
_LARGE = 1 << 20
"""Bytes of a chunk from which few are kept once drawn."""


class KeyedBackend(SimBackend):
    """Every chunk carries keys, values and attention received, drawn from its id and a seed."""

    def __init__(
        self, geometry: CacheGeometry, seed: int, has_keys: bool, hidden_channels: int = HIDDEN_CHANNELS
    ) -> None:
        """An empty backend; without keys it differs from the simulator's only in what it supplies."""
        self._geometry, self._seed, self._has_keys = geometry, seed, has_keys
        self._hidden_channels = hidden_channels
        self._kept: dict[int, NDArray[np.int64]] = {}
        super().__init__(MEASURABLE)

    def reset(self) -> None:
        """See `CacheBackend.reset`."""
        self._kept = {}
        super().reset()

    def apply(self, moves: Sequence[Move]) -> None:
        """See `CacheBackend.apply`."""
        super().apply(moves)
        for move in moves:
            if isinstance(move, Shrink) and self._has_keys:
                self._kept[move.chunk] = _chosen(self._places(move.chunk), move.keep)

    def tensors(self, chunk: int) -> ChunkTensors | None:  # type: ignore[override]
        """See `CacheBackend.tensors`: keys `(layers, kv_heads, tokens, head_dim)`."""
        if not self._has_keys:
            return None
        keys, values, mass = chunk_tensors(self._geometry, chunk, self._seed)
        if chunk not in self._kept:  # copies, since what is drawn is kept
            hidden = _whole_hidden_states(self._geometry, chunk, self._seed, self._hidden_channels).copy()
            return ChunkTensors(keys.copy(), values.copy, mass.copy(), hidden)
        places = self._kept[chunk]
        hidden_now = hidden_states(self._geometry, chunk, self._seed, places, self._hidden_channels)
        return ChunkTensors(_taken(keys, places), lambda: _taken(values, places), _taken(mass, places), hidden_now)

    def snapshot(self) -> Any:
        """See `CacheBackend.snapshot`."""
        return super().snapshot(), dict(self._kept)

    def restore(self, state: Any) -> None:
        """See `CacheBackend.restore`."""
        if isinstance(state, tuple) and len(state) == 2:
            state, kept = state
            self._kept = dict(kept)
        super().restore(state)

    def release(self, state: Any) -> None:
        """See `CacheBackend.release`."""
        super().release(state[0])

    def fork(self) -> Self:
        """See `CacheBackend.fork`."""
        twin = type(self)(self._geometry, self._seed, self._has_keys, self._hidden_channels)
        twin.restore(self.snapshot())
        return twin

    def _places(self, chunk: int) -> NDArray[np.int64]:
        """Positions of a chunk's current tokens among its first ones `(layers, kv_heads, tokens)`."""
        shape = (self._geometry.layers, self._geometry.kv_heads, self._geometry.chunk_tokens)
        return self._kept.get(chunk, np.broadcast_to(np.arange(shape[-1]), shape))


def keyed_backend(policy: CachePolicy, geometry: CacheGeometry, seed: int, has_keys: bool) -> KeyedBackend:
    """An empty backend whose hidden states are as wide as `policy` is bound to."""
    return KeyedBackend(geometry, seed, has_keys, hidden_channels_of(policy))


def hidden_channels_of(policy: CachePolicy) -> int:
    """Channels of the hidden states that a policy is shown.

    Raises:
        SpecError: it is bound to different models.
    """
    return shape_of(policy).hidden_channels or HIDDEN_CHANNELS


def chunk_tensors(geometry: CacheGeometry, chunk: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Keys and values `(layers, kv_heads, tokens, head_dim)` and mass `(layers, kv_heads, tokens)` of a chunk.

    Small ones are drawn once and kept: copy them before a policy sees them.
    """
    return (_few_tensors if geometry.chunk_bytes > _LARGE else _many_tensors)(geometry, chunk, seed)


def _drawn_tensors(geometry: CacheGeometry, chunk: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    draw = np.random.default_rng((seed, chunk, 1))
    shape = (geometry.layers, geometry.kv_heads, geometry.chunk_tokens, geometry.head_dim)
    keys, values = (draw.standard_normal(shape, np.float32) for _ in range(2))
    return keys, values, draw.random(shape[:-1], np.float32)


_many_tensors, _few_tensors = lru_cache(512)(_drawn_tensors), lru_cache(8)(_drawn_tensors)


def hidden_states(
    geometry: CacheGeometry, chunk: int, seed: int, places: NDArray[np.int64], channels: int
) -> NDArray[np.float32] | None:
    """Hidden states `(layers, tokens, channels)` of a chunk's current tokens; None where its heads hold others."""
    if (places != places[:, :1]).any():
        return None
    return _taken(_whole_hidden_states(geometry, chunk, seed, channels)[:, None], places[:, :1])[:, 0]


def _whole_hidden_states(geometry: CacheGeometry, chunk: int, seed: int, channels: int) -> NDArray[np.float32]:
    numbers = geometry.layers * geometry.chunk_tokens * channels
    return (_few_hidden if numbers > _LARGE // 4 else _many_hidden)(geometry, chunk, seed, channels)


def _drawn_hidden(geometry: CacheGeometry, chunk: int, seed: int, channels: int) -> NDArray[np.float32]:
    draw = np.random.default_rng((seed, chunk, 4))
    return draw.standard_normal((geometry.layers, geometry.chunk_tokens, channels), np.float32)


_many_hidden, _few_hidden = lru_cache(512)(_drawn_hidden), lru_cache(8)(_drawn_hidden)


def _taken(tensor: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of `tensor` `(layers, heads, tokens, ...)` the tokens at `places` `(layers, heads, count)`, a copy."""
    first = places[0, 0]
    if (places == first).all():
        taken: NDArray[np.float32] = tensor.take(first, axis=2)
    else:
        taken = np.take_along_axis(tensor, places.reshape(*places.shape, *(1,) * (tensor.ndim - 3)), axis=2)
    return taken


def _chosen(places: NDArray[np.int64], keep: Keep | RaggedKeep) -> NDArray[np.int64]:
    """Of `places` `(layers, kv_heads, tokens)` those kept; the first ones where the keep names none by one count."""
    tokens = keep.tokens if isinstance(keep, Keep) else None
    if tokens is None:
        return places[..., : keep.count]
    if tokens.ndim < 3:
        tokens = tokens[None, None] if tokens.ndim == 1 else tokens[:, None]
    return np.take_along_axis(places, np.broadcast_to(tokens, (*places.shape[:2], tokens.shape[-1])), axis=2)
