"""Caches that keep a window and a bank: ours, plain concatenation, and the flow of WorldKV's published code."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.peer_windows import RollingDict
from benchmarks.peer_work import Job, Peer, kernel, least_like_anchor, turned
from worldkv import WorldCache, scene_of, viewpoints

Pair = tuple[Tensor, Tensor]
"""Keys and values `(1, tokens, heads, head_dim)`."""


class Ours(Peer):
    """`WorldCache`, which also makes the decisions that the others are given."""

    def __init__(self, job: Job) -> None:
        """A window allocated at once."""
        geometry = job.geometry
        self.views = list(viewpoints(job.path))
        self.cache = WorldCache(
            job.policy, geometry, device=job.device, scene=scene_of(job.path), capacity_tokens=9 * geometry.chunk_tokens
        )

    def begin(self, step: int) -> None:
        """See `Peer.begin`."""
        self.cache.begin(self.views[step])

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """See `Peer.attend`."""
        return self.cache.attend(layer, queries, keys, values, clean=clean)

    def commit(self) -> None:
        """See `Peer.commit`."""
        self.cache.commit()

    def close(self) -> None:
        """See `Peer.close`."""
        self.cache.close()


class Plain(Peer):
    """Chunks in lists on the device, joined anew by `torch.cat` in every layer and pass.

    A chunk that leaves the window is compressed where the work has a bank, and dropped where it has none. Retrieved
    keys are turned once a step.
    """

    def __init__(self, job: Job) -> None:
        """Empty lists."""
        self.job = job
        self.whole: dict[int, list[Pair]] = {}
        self.banked: dict[int, list[Pair]] = {}
        self.attended: list[list[Pair]] = []
        self.current: list[Pair] = []
        self.step = 0

    def begin(self, step: int) -> None:
        """Gather what the step attends, and turn what is retrieved."""
        plan, self.step = self.job.plans[step], step
        retrieved = {chunk: self.banked[chunk] for chunk in plan.retrieved}
        for chunk, frames in plan.shifts.items():
            retrieved[chunk] = [(turned(keys, frames), values) for keys, values in retrieved[chunk]]
        self.attended = [self.whole[chunk] for chunk in plan.resident] + list(retrieved.values())
        self.current = []

    def window(self, layer: int, keys: Tensor, values: Tensor) -> Pair:
        """Everything that the layer attends, joined."""
        every = [chunk[layer] for chunk in self.attended] + [(keys, values)]
        all_keys, all_values = (torch.cat([pair[part] for pair in every], dim=1) for part in (0, 1))
        return all_keys, all_values

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """See `Peer.attend`."""
        out = kernel(queries, *self.window(layer, keys, values))
        if clean:
            self.note(keys, values)
        return out

    def note(self, keys: Tensor, values: Tensor) -> None:
        """The clean pass's keys and values of the next layer."""
        self.current.append((keys, values))

    def commit(self) -> None:
        """See `Peer.commit`."""
        self.whole[self.step] = self.current
        later = self.job.plans[self.step + 1].resident if self.step + 1 < len(self.job.plans) else ()
        ratio = self.job.work.keep_ratio
        for chunk in [chunk for chunk in self.whole if chunk not in later and chunk != self.step]:
            left = self.whole.pop(chunk)
            if ratio is not None:
                self.banked[chunk] = [_compressed(pair, self.job, ratio) for pair in left]


class Published(RollingDict):
    """WorldKV's published flow: a rolling dict of sink and recent chunks, and a bank of every chunk.

    Once a step the retrieved chunks are brought to the device and joined; in every layer and pass they are cloned,
    turned where positions are corrected, and joined with sink and recent tokens. Every chunk is compressed and written
    to the bank when it is committed, sink and recent ones included. Written from the description of the published code;
    retrieval is given, as to all peers.
    """

    is_on_device = False

    def __init__(self, job: Job) -> None:
        """An empty bank; until something can come back, the dict has room for what is too young for it."""
        super().__init__(job, job.work.sink_chunks + job.work.recent_chunks + 2)
        self.job = job
        self.bank: list[list[Pair]] = []
        self.retrieved: list[Pair | None] = []
        self.shifts: list[tuple[int, int, int]] = []  # first token, the one behind the last, frames

    def begin(self, step: int) -> None:
        """Bring what is retrieved to the device."""
        super().begin(step)
        plan = self.job.plans[step]
        self.retrieved = []
        for layer in range(self.job.geometry.layers):
            pairs = [self.sent(self.bank[chunk][layer], self.job.device) for chunk in plan.retrieved]
            if not pairs:
                self.retrieved.append(None)
                continue
            self.retrieved.append(
                (torch.cat([pair[0] for pair in pairs], 1), torch.cat([pair[1] for pair in pairs], 1))
            )
        ends = 0
        self.shifts = []
        for chunk in plan.retrieved:
            begins, ends = ends, ends + self.bank[chunk][0][0].shape[1]
            self.shifts.append((begins, ends, plan.shifts.get(chunk, 0)))

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """See `Peer.attend`."""
        all_keys, all_values, end = self.write(layer, keys, values)
        brought = self.retrieved[layer]
        if brought is None:
            return kernel(queries, all_keys[:, :end], all_values[:, :end])
        more_keys, more_values = (part.clone() for part in brought)
        for begins, ends, frames in self.shifts:
            if frames:
                more_keys[:, begins:ends] = turned(more_keys[:, begins:ends], frames)
        sink = slice(0, self.sink)
        recent = slice(max(self.sink, end - (self.job.work.recent_chunks + 1) * self.tokens), end)
        return kernel(
            queries,
            torch.cat([all_keys[:, sink], more_keys, all_keys[:, recent]], 1),
            torch.cat([all_values[:, sink], more_values, all_values[:, recent]], 1),
        )

    def commit(self) -> None:
        """Compress the chunk and write it to the bank."""
        stored = []
        for held in self.layers:
            end = int(held["local_end"].item())
            own = held["k"][:, end - self.tokens : end], held["v"][:, end - self.tokens : end]
            stored.append(self.sent(_compressed(own, self.job, self.job.work.keep_ratio or 1.0), "cpu"))
        self.bank.append(stored)

    def sent(self, pair: Pair, device: str) -> Pair:
        """The pair over the bus: on a machine whose device is the host, a copy."""
        if self.is_on_device:
            return pair
        return pair[0].to(device, copy=True), pair[1].to(device, copy=True)


class PublishedOnDevice(Published):
    """The same with its bank on the device, as in the published quick start: nothing goes over the bus."""

    is_on_device = True


def _compressed(pair: Pair, job: Job, ratio: float) -> Pair:
    kept = least_like_anchor(pair[0], job.geometry, ratio)
    return pair[0].index_select(1, kept), pair[1].index_select(1, kept)
