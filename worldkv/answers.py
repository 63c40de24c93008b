"""Answers of a policy: plain data that the engine checks and carries out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry

Ids = NDArray[np.int64]
"""Chunk ids `(n,)`."""
StoredAs = Literal["int8", "fp8"]
"""Eight-bit integers, or floats of four exponent and three mantissa bits (e4m3); both with a scale a channel."""
SCALE_BYTES = 4
"""Scales are float32: at a fraction of a percent of a chunk, half precision would save nothing and could overflow."""


def stored_bytes(geometry: CacheGeometry, tokens: int) -> int:
    """Bytes of `tokens` tokens: one a number, and one scale for each channel of every layer, head, branch, K and V."""
    channels = 2 * geometry.branches * geometry.layers * geometry.kv_heads * geometry.head_dim
    return channels * (tokens + SCALE_BYTES)


@dataclass(frozen=True, slots=True)
class Keep:
    """Which tokens of a chunk are stored.

    Attributes:
        count: tokens kept, the same for every layer and head.
        frame_tokens: tokens kept of each latent frame `(frames,)`; fractional where a pooled rule spreads its
            tokens unevenly over layers (then the mean over layers).
        tokens: kept positions among the chunk's current tokens, ascending in the last axis: `(count,)`,
            `(layers, count)` or `(layers, kv_heads, count)`; None in the simulator, which has no keys to choose by.
        stored_bytes: bytes in the bank where storage is quantised; None for `count` tokens at the geometry's size.
        stored_as: the kind of number they are quantised to; None for the cache's own.
    """

    count: int
    frame_tokens: tuple[float, ...]
    tokens: NDArray[np.int64] | None = None
    stored_bytes: int | None = None
    stored_as: StoredAs | None = None

    @classmethod
    def counted(cls, frame_tokens: tuple[float, ...], stored_bytes: int | None = None) -> Keep:
        """A keep known by its counts per latent frame only."""
        return cls(round(sum(frame_tokens)), frame_tokens, None, stored_bytes)

    def bytes(self, geometry: CacheGeometry) -> int:
        """Bytes it takes in the bank."""
        return self.count * geometry.token_bytes if self.stored_bytes is None else self.stored_bytes

    def window_bytes(self, geometry: CacheGeometry) -> int:
        """Bytes it takes in the window, where quantised tokens are at full size again."""
        return self.count * geometry.token_bytes

    def check(self, current_tokens: int, geometry: CacheGeometry) -> None:
        """Refuse a keep that names tokens the chunk does not have.

        Args:
            current_tokens: tokens the chunk has now.
            geometry: the cache's shape.

        Raises:
            PolicyError: counts disagree, or positions are not ascending, unique and in range.
        """
        if not isinstance(self.count, int | np.integer):
            raise PolicyError(f"a keep's count must be a whole number, got {self.count!r}; round it")
        if not 0 < self.count <= current_tokens:
            cure = "discard the chunk instead" if self.count < 1 else "it has no more"
            raise PolicyError(f"a keep must hold 1 to {current_tokens} tokens, got {self.count}; {cure}")
        if len(self.frame_tokens) != geometry.frames_per_chunk or abs(sum(self.frame_tokens) - self.count) > 1e-6:
            raise PolicyError(
                f"a keep's frame_tokens must be {geometry.frames_per_chunk} counts that sum to {self.count}, "
                f"got {self.frame_tokens}"
            )
        if min(self.frame_tokens) < 0 or max(self.frame_tokens) > geometry.tokens_per_frame:
            raise PolicyError(
                f"a keep's frame_tokens must each be 0 to {geometry.tokens_per_frame}, got {self.frame_tokens}"
            )
        if self.stored_as is not None and self.stored_bytes != stored_bytes(geometry, self.count):
            raise PolicyError(
                f"a keep stored as {self.stored_as} takes {stored_bytes(geometry, self.count)} bytes (numbers and "
                f"scales), got stored_bytes={self.stored_bytes}; take worldkv.answers.stored_bytes"
            )
        if self.stored_bytes is not None and self.stored_bytes < 1:
            raise PolicyError(f"a keep's stored_bytes must be positive, got {self.stored_bytes}")
        if self.tokens is None:
            return
        if not isinstance(self.tokens, np.ndarray) or self.tokens.dtype.kind != "i":
            raise PolicyError(
                f"a keep's tokens must be a numpy array of whole numbers (np.int64), got {type(self.tokens).__name__}"
                + (f" of {self.tokens.dtype}" if isinstance(self.tokens, np.ndarray) else "")
            )
        shapes = {1: (), 2: (geometry.layers,), 3: (geometry.layers, geometry.kv_heads)}
        if self.tokens.ndim not in shapes or self.tokens.shape != (*shapes[self.tokens.ndim], self.count):
            raise PolicyError(
                f"a keep's tokens must be (n,), (layers, n) or (layers, kv_heads, n) with n = {self.count}, "
                f"got shape {self.tokens.shape}"
            )
        if self.tokens[..., 0].min() < 0 or self.tokens[..., -1].max() >= current_tokens:
            raise PolicyError(f"a keep's tokens must lie in 0 to {current_tokens - 1}")
        if self.count > 1 and (np.diff(self.tokens, axis=-1) <= 0).any():
            raise PolicyError("a keep's tokens must ascend without repeats; sort them by position, not by score")


@dataclass(frozen=True, slots=True)
class RaggedKeep:
    """A keep whose counts differ per layer and head; only from policies that declare `ragged = True`.

    Attributes:
        counts: tokens kept `(layers, kv_heads)`.
        frame_tokens: mean tokens kept of each latent frame `(frames,)`.
        tokens: kept positions of every layer and head, each `(counts[layer, head],)` ascending; None in the simulator.
        mean_count: tokens kept, the mean over layers and heads of all ranks, where heads are split over ranks; then
            `frame_tokens` is that mean too. None where one rank holds all heads.
    """

    counts: NDArray[np.int64]
    frame_tokens: tuple[float, ...]
    tokens: tuple[tuple[NDArray[np.int64], ...], ...] | None = None
    mean_count: float | None = None

    @property
    def mean(self) -> float:
        """Tokens kept, the mean over layers and heads."""
        return float(self.counts.mean()) if self.mean_count is None else self.mean_count

    @property
    def count(self) -> int:
        """Tokens as the ledger counts them: the mean over layers and heads, rounded up."""
        return math.ceil(self.mean)

    def bytes(self, geometry: CacheGeometry) -> int:
        """Bytes it takes in the bank; where heads are split over ranks a rank's share, the same on each."""
        entries = int(self.counts.sum())
        if self.mean_count is not None:
            entries = math.ceil(round(self.mean_count * self.counts.size, 6))
        return entries * 2 * geometry.branches * geometry.head_dim * geometry.itemsize

    def window_bytes(self, geometry: CacheGeometry) -> int:
        """Bytes it takes in the window."""
        return self.bytes(geometry)

    def check(self, current_tokens: int, geometry: CacheGeometry) -> None:
        """Refuse a keep that names tokens the chunk does not have; see `Keep.check`."""
        if self.counts.shape != (geometry.layers, geometry.kv_heads):
            raise PolicyError(
                f"a ragged keep's counts must be (layers, kv_heads) = ({geometry.layers}, {geometry.kv_heads}), "
                f"got {self.counts.shape}"
            )
        if self.counts.min() < 0 or self.counts.max() > current_tokens or not self.mean > 0:
            raise PolicyError(f"a ragged keep's counts must lie in 0 to {current_tokens} and not all be 0")
        if len(self.frame_tokens) != geometry.frames_per_chunk or (abs(sum(self.frame_tokens) - self.mean) > 1e-6):
            raise PolicyError(
                f"a ragged keep's frame_tokens must be {geometry.frames_per_chunk} counts that sum to the mean over "
                f"layers and heads, {self.mean:g}, got {self.frame_tokens}"
            )
        if self.tokens is not None and len(self.tokens) != geometry.layers:
            raise PolicyError(f"a ragged keep's tokens must be of {geometry.layers} layers, got {len(self.tokens)}")
        for row, row_counts in zip(self.tokens or (), self.counts, strict=False):
            for head, n in zip(row, row_counts, strict=True):
                if len(head) != n or (n and (head[0] < 0 or head[-1] >= current_tokens)) or (np.diff(head) <= 0).any():
                    raise PolicyError(
                        "a ragged keep's tokens must match its counts and ascend in range without repeats"
                    )


class Eviction(NamedTuple):
    """Chunks that leave the window after a commit. Only chunks whose home is the window may be named, each once.

    Attributes:
        bank: ids that move to the bank (compressed by `compress`).
        discard: ids that are gone for good.
        shrink: ids that stay, reduced in place to the kept tokens.
    """

    bank: tuple[int, ...] = ()
    discard: tuple[int, ...] = ()
    shrink: Mapping[int, Keep | RaggedKeep] = MappingProxyType({})


NOTHING_LEAVES = Eviction()
"""The eviction that keeps everything."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Which banked chunks this step attends beside the window: the whole set, not the change.

    Attributes:
        ids: banked chunk ids, best first, without repeats.
        next_ids: what the next step is already known to want, best first; the engine may move it during this one.
            None for no forecast.
        refreshed: False when the policy repeated `query.resident` without looking (refresh intervals);
            the engine keeps the step of the last refresh.
        scores: the score of each row of the bank view `(chunks,)`, for `worldkv explain`; None where there is none.
    """

    ids: tuple[int, ...] = ()
    next_ids: tuple[int, ...] | None = None
    refreshed: bool = True
    scores: Any = None


NOTHING_RETRIEVED = Retrieval()
"""The retrieval that asks for nothing."""
