"""The flow that worldkv's cache is measured against: everything retrieved is sent anew, everything is concatenated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldkv import (
    CacheEngine,
    CacheGeometry,
    CachePolicy,
    ChunkTensors,
    Drop,
    Forget,
    Keep,
    Move,
    PolicyError,
    Scene,
    Shrink,
    SimBackend,
    StepPlan,
    StepRecord,
    Store,
    Viewpoint,
)
from worldkv.backends import attend

Layers = list[tuple[Tensor, Tensor]]
"""A chunk's keys and values by layer, each `(branches, kv_heads, tokens, head_dim)`."""


class NaiveCache:
    """The flow of WorldKV's published code under any policy of this project, its decisions those of `CacheEngine`.

    Chunks lie in lists: sink and recent ones on the device, banked ones (compressed when they are banked) on the host.
    Every step copies all retrieved chunks to the device; every layer of every pass concatenates sink | retrieved |
    recent | current. Source: the flow of arXiv 2605.22718's code; written for this comparison.

    Attributes:
        engine: the engine that asks the policy, with a backend that counts and keeps the lists.
        copied_in: bytes copied from host to device since the start.
        copied_out: bytes copied from device to host.
    """

    def __init__(self, policy: CachePolicy, geometry: CacheGeometry, scene: Scene | None = None) -> None:
        """An empty cache on the CPU."""
        self._lists = _Lists()
        self._geometry = geometry
        self.engine = CacheEngine(policy, geometry, self._lists, scene=scene)
        self._plan: StepPlan | None = None
        self._attended: list[Layers] = []
        self._current: Layers = []
        self.copied_in = 0

    @property
    def copied_out(self) -> int:
        """See the class."""
        return self._lists.traffic().device_to_host

    def begin(self, viewpoint: Viewpoint) -> StepPlan:
        """Ask the policy, and copy every retrieved chunk to the device, whether or not it was there a step ago."""
        plan = self.engine.begin(viewpoint)
        retrieved = {chunk: _copied(self._lists.host_chunks[chunk]) for chunk in plan.retrieved}
        self.copied_in += sum(map(_num_bytes, retrieved.values()))
        window = self._lists.window_chunks
        self._attended = [retrieved[chunk] if chunk in retrieved else window[chunk] for chunk in plan.attended.tolist()]
        self._plan = plan
        return plan

    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        clean: bool = False,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Attention over everything concatenated anew; `[B, S, H, D]` each, as in `WorldCache.attend`."""
        own = keys.transpose(1, 2), values.transpose(1, 2)
        every = [*(chunk[layer] for chunk in self._attended), own]
        all_keys, all_values = (torch.cat([pair[part] for pair in every], dim=2) for part in (0, 1))
        if clean:
            self._current.append((own[0].contiguous(), own[1].contiguous()))
        return attend(queries.transpose(1, 2), all_keys, all_values).transpose(1, 2)

    def commit(self) -> StepRecord:
        """The clean pass's keys and values join the window; what the policy lets go is compressed and stored."""
        if self._plan is None or len(self._current) != self._geometry.layers:
            raise PolicyError("commit comes after a clean pass through all layers")
        self._attended = []
        self._lists.window_chunks[self._plan.step] = self._current
        self._current, self._plan = [], None
        return self.engine.commit()


class _Lists(SimBackend):
    """Counts as the simulator does, and beside it keeps every chunk's tensors in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.window_chunks: dict[int, Layers] = {}
        self.host_chunks: dict[int, Layers] = {}

    def apply(self, moves: Sequence[Move]) -> None:
        """What is stored is copied to the host, what leaves the window is let go of; replicas are sent anew anyway."""
        super().apply(moves)
        for move in moves:
            match move:
                case Store(chunk, keep, _, _):
                    self.host_chunks[chunk] = _kept(self.window_chunks[chunk], keep)
                case Shrink(chunk, _, _) if chunk not in self.host_chunks:
                    raise PolicyError("the naive cache shrinks nothing in place; take a policy that banks or discards")
                case Drop(chunk) | Shrink(chunk, _, _):
                    self.window_chunks.pop(chunk, None)
                case Forget(chunk, _, _):
                    del self.host_chunks[chunk]

    def tensors(self, chunk: int) -> ChunkTensors:  # type: ignore[override]  # the simulator has none
        """Keys `(layers, kv_heads, tokens, head_dim)` of a window chunk, stacked for its compression."""
        keys, values = (torch.stack([pair[part][0] for pair in self.window_chunks[chunk]]) for part in (0, 1))
        return ChunkTensors(keys.float(), lambda: values)


def _kept(layers: Layers, keep: object) -> Layers:
    if not isinstance(keep, Keep) or (keep.tokens is not None and keep.tokens.ndim > 2):
        raise PolicyError("the naive cache stores chunks whose heads keep the same tokens; take another policy")
    if keep.tokens is None:
        return _copied(layers)
    rows = np.broadcast_to(keep.tokens, (len(layers), keep.count))
    index = [torch.tensor(row.copy()) for row in rows]
    return [(k[:, :, row], v[:, :, row]) for (k, v), row in zip(layers, index, strict=True)]


def _copied(layers: Layers) -> Layers:
    """A copy over the bus: on a machine whose device is the host, a clone."""
    return [(keys.clone(), values.clone()) for keys, values in layers]


def _num_bytes(layers: Layers) -> int:
    return sum(part.numel() * part.element_size() for pair in layers for part in pair)
