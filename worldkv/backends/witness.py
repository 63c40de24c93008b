"""What really happened at a step, read from tensors, files and copies instead of from the plan."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backend import Traffic
from worldkv.backends.cache import WorldCache
from worldkv.backends.tags import read_tags
from worldkv.chunks import Tier


class Seen(NamedTuple):
    """One step as it lies in memory; everything is compared with the simulator's record of the same name.

    Attributes:
        attended: chunks whose tokens were attended, ascending.
        attended_tokens: tokens attended, the chunk's own included (where layers and heads differ, each chunk's mean
            over them, rounded up).
        retrieved: of them, those the bank held, ascending.
        evicted: chunks the bank holds since this commit, ascending.
        kept_tokens: tokens stored of each.
        traffic: bytes copied over each edge during the step.
        tiers: where every earlier chunk's home was when the step was attended.
        faults: what the debug channel contradicts, one sentence each; empty if nothing.
    """

    attended: tuple[int, ...]
    attended_tokens: int
    retrieved: tuple[int, ...]
    evicted: tuple[int, ...]
    kept_tokens: tuple[int, ...]
    traffic: Traffic
    tiers: tuple[Tier, ...]
    faults: tuple[str, ...]


class Witness:
    """Watches a tagged cache: what is handed to attention, where storage lies, how much was copied.

    Call `commit` after every `WorldCache.commit`. Source: this project.
    """

    def __init__(self, cache: WorldCache) -> None:
        """A witness of `cache`, which must be tagged and new."""
        self._cache = cache
        cache.on_attend = self._attend
        self._traffic = cache.backend.traffic()
        self._banked: set[int] = set()
        self._start_step()

    def commit(self) -> Seen:
        """What was seen of the step just committed."""
        cache = self._cache
        backend, geometry = cache.backend, cache.geometry
        backend.drain()
        banked = set(backend.bank.parcels)
        evicted = sorted(banked - self._banked)
        kept = tuple(
            -(-sum(counts) // len(counts)) for counts in (backend.bank.parcels[chunk].counts for chunk in evicted)
        )
        for chunk in evicted:
            self._check_parcel(chunk)
        traffic = backend.traffic()
        seen = Seen(
            tuple(sorted(self._attended)),
            sum(-(-tokens // self._views) for tokens in self._tokens.values()),
            tuple(sorted(self._attended & self._held)),
            tuple(evicted),
            kept,
            traffic.since(self._traffic),
            self._tiers,
            tuple(self._faults[:5]),
        )
        if self._views != geometry.layers * (geometry.kv_heads if cache.policy.ragged else 1):
            seen = seen._replace(faults=(*seen.faults, f"attention saw {self._views} of {geometry.layers} layers"))
        self._traffic, self._banked = traffic, banked
        self._start_step()
        return seen

    # ------------------------------------------------------------------ inside

    def _check_parcel(self, chunk: int) -> None:
        """Compare the tokens stored of a chunk that was whole with those that the policy named."""
        cache = self._cache
        arena, bank = cache.backend.arena, cache.backend.bank
        held, keep = cache.engine.state.leaving[chunk]
        if keep is None or held != cache.geometry.chunk_bytes:
            return
        for lane, part in zip(
            arena.lanes, arena.parcel_views(bank.look(chunk), bank.parcels[chunk].counts), strict=True
        ):
            tags = read_tags(part)
            chosen = lane.chosen(keep)
            wanted = np.arange(cache.geometry.chunk_tokens) if chosen is None else chosen
            if wanted.ndim > 1:  # layers, planes, branches, heads, tokens
                wanted = wanted.reshape(len(wanted), 1, 1, -1, wanted.shape[-1])
            if tags.shape[-2] != wanted.shape[-1] or (tags[..., 1] != wanted).any() or (tags[..., 0] != chunk).any():
                self._faults.append(f"the parcel of chunk {chunk} does not hold the tokens that the policy kept")
                return

    def _start_step(self) -> None:
        self._attended: set[int] = set()
        self._held: set[int] = set()
        self._tiers: tuple[Tier, ...] = ()
        self._tokens: collections.Counter[int] = collections.Counter()  # of each chunk, over all views
        self._faults: list[str] = []
        self._views = 0
        self._layer, self._head = -1, 0

    def _attend(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Read the tags of what is about to be attended; only a step's last pass is kept."""
        of_layer = self._cache.geometry.kv_heads if self._cache.policy.ragged else 1
        if layer == 0 and (self._layer != 0 or self._views == of_layer):
            self._start_step()
        self._head = self._head + 1 if layer == self._layer else 0
        self._layer = layer
        self._views += 1
        cache = self._cache
        backend, step = cache.backend, len(cache.engine.table)
        if not self._tiers:
            self._held = set(backend.bank.parcels)
            self._tiers = tuple(backend.tier(chunk) for chunk in range(step))
        number = layer * cache.geometry.kv_heads + self._head if cache.policy.ragged else 0
        layout = backend.arena.lanes[number].layout
        # What the table says, the chunk itself behind the run; attention may have been given less or more than that.
        own = np.arange(layout.length, layout.length + cache.geometry.chunk_tokens)
        expected = np.full(max(keys.shape[2], len(own) + layout.length), -1, np.int64)
        for chunk in layout.extents:
            expected[layout.places(chunk)] = chunk
        expected[own] = step
        expected = expected[: keys.shape[2]]
        of_keys, of_values = read_tags(keys), read_tags(values)
        if (of_keys[..., :2] != of_values[..., :2]).any():
            self._faults.append(f"layer {layer}: keys and values that stand side by side are of different tokens")
        for plane, tags in enumerate((of_keys, of_values)):
            self._attended |= set(np.unique(tags[..., 0]).tolist()) - {step}
            if plane == 0:
                self._tokens.update(tags[0, 0, :, 0].tolist())
            self._check(tags, expected, layer, plane, layout.extents)

    def _check(
        self, tags: NDArray[np.int64], expected: NDArray[np.int64], layer: int, plane: int, extents: Iterable[int]
    ) -> None:
        """Compare the tags `(branches, heads, tokens, 6)` with what the arena's table says lies there."""
        what = ("keys", "values")[plane]
        branches, heads = tags.shape[:2]
        wrong = tags[..., 0] != expected
        if wrong.any():
            branch, head, place = (int(i[0]) for i in np.nonzero(wrong))
            self._faults.append(
                f"layer {layer} {what}, branch {branch}, head {head}: place {place} holds a token of chunk "
                f"{tags[branch, head, place, 0]}, the table says chunk {expected[place]}"
            )
        first_head = self._head if heads < self._cache.geometry.kv_heads else 0
        where = {
            "layer": (tags[..., 2], np.full((1, 1, 1), layer)),
            "head": (tags[..., 3], first_head + np.arange(heads)[:, None]),
            "branch": (tags[..., 4], np.arange(branches)[:, None, None]),
            "plane": (tags[..., 5], np.full((1, 1, 1), plane)),
        }
        for name, (found, wanted) in where.items():
            strange = found != wanted
            if strange.any():
                at = tuple(int(i[0]) for i in np.nonzero(strange))
                self._faults.append(f"layer {layer} {what}: place {at[2]} was computed for {name} {found[at]}")
        layout = self._cache.backend.arena.lanes[
            layer * self._cache.geometry.kv_heads + self._head if self._cache.policy.ragged else 0
        ].layout
        own = np.arange(layout.length, layout.length + self._cache.geometry.chunk_tokens)
        for chunk, places in (*((chunk, layout.places(chunk)) for chunk in extents), ("being generated", own)):
            tokens = tags[:, :, places[places < tags.shape[2]], 1]
            if (np.diff(tokens, axis=-1) <= 0).any():
                self._faults.append(f"layer {layer} {what}: chunk {chunk}'s tokens are not in ascending order")
