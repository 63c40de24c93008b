"""Signals that a model measured along a trajectory, as arrays that fit one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import TrajectoryError

SIGNAL_AXES = {
    "kept_tokens": ("chunks",),
    "kept_entries": ("chunks",),
    "held_tokens": ("steps", "chunks"),
    "attention_mass": ("steps", "chunks"),
    "query_summary": ("steps", "layers", "kv_heads", "head_dim"),
    "key_mean": ("chunks", "layers", "kv_heads", "head_dim"),
    "key_min": ("chunks", "layers", "kv_heads", "head_dim"),
    "key_max": ("chunks", "layers", "kv_heads", "head_dim"),
    "chunk_frames": ("chunks",),
}
"""Axes of every signal, by name."""
DECISIONS = ("kept_tokens", "kept_entries", "held_tokens")
"""Signals that are what one policy decided, and no other policy's."""


@dataclass(frozen=True)
class RecordedSignals:
    """What a model measured while it generated along a trajectory; None for what was not recorded.

    Attributes:
        kept_tokens: tokens kept of each chunk when it was stored `(chunks,)`, whole numbers, 0 where it was
            discarded instead.
        kept_entries: the same summed over layers and heads, for policies whose counts differ between them.
        held_tokens: tokens each chunk held after each step, wherever its home `(steps, chunks)`, 0 where it was
            nowhere; recorded where chunks were shrunk in place.
        attention_mass: attention each chunk received at each step `(steps, chunks)`.
        query_summary: mean query of each step `(steps, layers, kv_heads, head_dim)`.
        key_mean: mean key of each chunk `(chunks, layers, kv_heads, head_dim)`.
        key_min: channel-wise least key, same shape.
        key_max: channel-wise greatest key, same shape.
        chunk_frames: latent frames of each chunk `(chunks,)`, where some have fewer than the geometry's; their poses
            are those of a whole chunk, the last one repeated.
        geometry: name or spec of the geometry it was recorded with.
        policy: spec of the policy whose run it was, sizes included; what was kept and held are its decisions and need
            it.
        view_distance: how far the camera was taken to see; None for the path's default.
    """

    kept_tokens: NDArray[Any] | None = None
    kept_entries: NDArray[Any] | None = None
    held_tokens: NDArray[Any] | None = None
    attention_mass: NDArray[Any] | None = None
    query_summary: NDArray[Any] | None = None
    key_mean: NDArray[Any] | None = None
    key_min: NDArray[Any] | None = None
    key_max: NDArray[Any] | None = None
    chunk_frames: NDArray[Any] | None = None
    geometry: str | None = None
    policy: str | None = None
    view_distance: float | None = None

    def __post_init__(self) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        for name, axes in SIGNAL_AXES.items():
            values = getattr(self, name)
            if values is not None:
                check_array(name, values, axes, sizes, "the recorded signals")
        for name in DECISIONS:
            counts = getattr(self, name)
            if counts is None:
                continue
            if (counts < 0).any() or (counts != np.floor(counts)).any():
                raise TrajectoryError(f"the recorded signals, {name}: counts must be whole numbers from 0")
            if self.policy is None:
                raise TrajectoryError(
                    f"the recorded signals, {name}: these are one policy's decisions and nobody says whose; give the "
                    "policy's spec, or record it again"
                )

    @property
    def num_chunks(self) -> int | None:
        """Chunks that were recorded; None where no array says."""
        for values in (self.kept_tokens, self.key_mean, self.key_min, self.key_max):
            if values is not None:
                return len(values)
        return None if self.attention_mass is None else self.attention_mass.shape[1]

    @property
    def attention_ahead(self) -> NDArray[Any] | None:
        """The attention mass of a run of full KV, in which every chunk received some at every later step; else None."""
        mass = self.attention_mass
        if mass is None or (mass[np.tril_indices(len(mass), -1, mass.shape[1])] <= 0).any():
            return None
        return mass


def check_array(
    name: str, values: NDArray[Any], axes: tuple[str, ...], sizes: dict[str, tuple[int, str]], source: str
) -> None:
    """Shape by named axes, one size an axis over all arrays, and nothing but finite real numbers."""
    if values.ndim != len(axes) or any(
        axis.isdigit() and length != int(axis) for axis, length in zip(axes, values.shape, strict=False)
    ):
        raise TrajectoryError(f"{source}, {name}: shape {values.shape} must be ({', '.join(axes)}); record it again")
    for axis, length in zip(axes, values.shape, strict=True):
        known, first = sizes.setdefault(axis, (length, name))
        if known != length:
            raise TrajectoryError(f"{source}, {name}: {length} {axis} where {first} has {known}; record them together")
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise TrajectoryError(f"{source}, {name}: values must be finite real numbers; record it again")
