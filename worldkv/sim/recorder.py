"""Record what a model measures along a trajectory, step by step, for the simulator to replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worldkv.engine.fit import fitted
from worldkv.metrics.resumable import Resumable

if TYPE_CHECKING:
    from worldkv.engine.state import StepRecord
    from worldkv.geometry import CacheGeometry
    from worldkv.policy import CachePolicy
    from worldkv.signals import Measured
    from worldkv.trajectory.recorded_signals import RecordedSignals

_OF_A_CHUNK = ("key_mean", "key_min", "key_max", "query_summary")


class SignalRecorder(Resumable):
    """Collect what every step measured and stored."""

    changing = ("_kept", "_frames", "_entries", "_changes", "_banked", "_has_shrunk", "_rows", "_mass")

    def __init__(self, geometry: CacheGeometry, policy: CachePolicy) -> None:
        """Nothing recorded yet of a rollout of `policy` in `geometry`."""
        self._geometry, self._policy = geometry, fitted(policy, geometry)
        self._kept: list[int] = []
        self._frames: list[int] = []
        self._entries: list[int] = []
        self._changes: list[tuple[int, int, int]] = []  # step, chunk, tokens it holds from there on
        self._banked: set[int] = set()
        self._has_shrunk = False
        self._rows: dict[str, list[Any]] = {name: [] for name in _OF_A_CHUNK}
        self._mass: list[tuple[Any, Any]] = []

    def note(self, record: StepRecord, measured: Measured | None) -> None:
        """Record a committed step."""
        geometry, frames = self._geometry, record.plan.frames
        whole = frames * geometry.tokens_per_frame
        self._kept.append(whole)
        self._frames.append(frames)
        entry_bytes = 2 * geometry.branches * geometry.head_dim * geometry.itemsize
        self._entries.append(whole * geometry.layers * geometry.kv_heads)
        step = len(self._kept) - 1
        self._changes.append((step, step, whole))
        cut = record.evicted + record.shrunk
        sizes = zip(
            cut, record.kept_tokens + record.shrunk_tokens, record.kept_bytes + record.shrunk_bytes, strict=True
        )
        for chunk, tokens, size in sizes:
            self._kept[chunk], self._entries[chunk] = tokens, size // entry_bytes
            self._changes.append((step, chunk, tokens))
        self._banked.update(record.evicted)
        for chunk in record.discarded:
            self._changes.append((step, chunk, 0))
            if chunk not in self._banked:
                self._kept[chunk] = self._entries[chunk] = 0
        self._has_shrunk |= bool(record.shrunk)
        if measured is None:
            return
        for name, rows in self._rows.items():
            value = getattr(measured, name)
            if value is not None:
                rows.append(value)
        if measured.attention_mass is not None:
            self._mass.append((record.plan.attended, measured.attention_mass))

    def signals(self) -> RecordedSignals:
        """The recording as float32 arrays; None for a signal that was not measured at every step."""
        from worldkv.specs.parse import spec_of, spec_of_geometry
        from worldkv.trajectory.recorded_signals import RecordedSignals

        steps = len(self._kept)
        found: dict[str, Any] = {
            name: np.stack(rows).astype(np.float32) if steps and len(rows) == steps else None
            for name, rows in self._rows.items()
        }
        mass = None
        if steps and len(self._mass) == steps:
            mass = np.zeros((steps, steps), np.float32)
            for step, (attended, received) in enumerate(self._mass):
                mass[step, attended] = received
        held = None
        if self._has_shrunk:
            held = np.zeros((steps, steps), np.int32)
            for step, chunk, tokens in self._changes:
                held[step:, chunk] = tokens
        kept, entries = np.array(self._kept, np.int64), np.array(self._entries, np.int64)
        frames = np.array(self._frames, np.int64)
        return RecordedSignals(
            kept,
            entries,
            held,
            mass,
            **found,
            chunk_frames=frames if (frames < self._geometry.frames_per_chunk).any() else None,
            geometry=spec_of_geometry(self._geometry),
            policy=spec_of(self._policy),
        )


def needs_model(policy: CachePolicy) -> bool:
    """Whether only a real model, or a recording of one, can tell what `policy` decides."""
    from worldkv.engine.preflight import MEASURED_BY_MODELS
    from worldkv.policy import is_data_dependent, needs_of

    return bool(needs_of(policy) & MEASURED_BY_MODELS) or is_data_dependent(policy)
