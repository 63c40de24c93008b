"""Observe a step on tensors: read what happened from tensors, files and copies instead of from the plan."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv.chunks import Tier
from worldkv.parity.record import ExecutedStep

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache
    from worldkv.backends.window.run_layout import RunLayout

_PLANES = ("keys", "values")


class TensorObserver:
    """Watches a tagged cache: what is handed to attention, where storage lies, how much was copied.

    Call `commit` after every `WorldCache.commit`.
    """

    def __init__(self, cache: WorldCache) -> None:
        """An observer of `cache`, which must be tagged and new."""
        self._cache = cache
        self._is_ragged = cache.backend.form.is_ragged
        self._calls_of_layer = cache.geometry.kv_heads if self._is_ragged else 1
        cache.on_attend = self._attend
        self._traffic = cache.backend.traffic()
        self._banked: set[int] = set()
        self._start_step()

    def commit(self) -> ExecutedStep:
        """The step just committed, as it was observed."""
        cache = self._cache
        backend, geometry = cache.backend, cache.geometry
        backend.drain()
        banked = set(backend.bank.stored)
        evicted = sorted(banked - self._banked)
        kept = tuple(
            -(-sum(counts) // len(counts)) for counts in (backend.bank.stored[chunk].counts for chunk in evicted)
        )
        for chunk in evicted:
            self._check_stored(chunk)
        traffic = backend.traffic()
        observed = ExecutedStep(
            tuple(sorted(self._attended)),
            sum(-(-tokens // self._calls) for tokens in self._tokens.values()),
            tuple(sorted(self._attended & self._held)),
            tuple(evicted),
            kept,
            traffic.since(self._traffic),
            self._tiers,
            faults=tuple(self._faults[:5]),
        )
        if self._calls != geometry.layers * self._calls_of_layer:
            observed = observed._replace(
                faults=(*observed.faults, f"attention saw {self._calls} of {geometry.layers} layers")
            )
        self._traffic, self._banked = traffic, banked
        self._start_step()
        return observed

    # ------------------------------------------------------------------ inside

    def _check_stored(self, chunk: int) -> None:
        """Compare the tokens stored of a chunk that was whole with those that the policy named."""
        from worldkv.backends.tags import read_tags

        cache = self._cache
        arena, bank = cache.backend.arena, cache.backend.bank
        held, keep = cache.engine.state.leaving[chunk]
        frames = int(cache.engine.table.columns["frames"][chunk])
        whole = frames * cache.geometry.tokens_per_frame
        if keep is None or held != whole * cache.geometry.token_bytes:
            return
        for group, part in zip(
            arena.groups, arena.views_by_group(bank.inspect(chunk), bank.stored[chunk].counts), strict=True
        ):
            tags = read_tags(part)
            chosen = group.chosen(keep)
            wanted = np.arange(whole) if chosen is None else chosen
            if wanted.ndim > 1:  # layers, planes, branches, heads, tokens
                wanted = wanted.reshape(len(wanted), 1, 1, -1, wanted.shape[-1])
            if tags.shape[-2] != wanted.shape[-1] or (tags[..., 1] != wanted).any() or (tags[..., 0] != chunk).any():
                self._faults.append(f"the parcel of chunk {chunk} does not hold the tokens that the policy kept")
                return

    def _start_step(self) -> None:
        self._faults: list[str] = []
        self._start_pass()

    def _start_pass(self) -> None:
        """Start anew what is counted of a pass: a step's last one counts, while faults are kept of all."""
        self._attended: set[int] = set()
        self._held: set[int] = set()
        self._tiers: tuple[Tier, ...] = ()
        self._tokens: collections.Counter[int] = collections.Counter()  # of each chunk, over all calls of a pass
        self._tables: dict[int, _PlaceTable] = {}
        self._calls = 0
        self._layer, self._head = -1, 0

    def _attend(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Read the tags of what is about to be attended."""
        from worldkv.backends.tags import read_tags

        cache, step = self._cache, len(self._cache.engine.table)
        if layer == 0 and (self._layer != 0 or self._calls == self._calls_of_layer):
            self._start_pass()
        self._head = self._head + 1 if layer == self._layer else 0
        self._layer = layer
        self._calls += 1
        if not self._tiers:
            self._held = set(cache.backend.bank.stored)
            self._tiers = tuple(cache.backend.tier(chunk) for chunk in range(step))
        group = layer * cache.geometry.kv_heads + self._head if self._is_ragged else 0
        if group not in self._tables:
            layout = cache.backend.arena.groups[group].layout
            self._tables[group] = _PlaceTable.of(layout, step, self._own_tokens(), keys.shape[2])
        tags = np.stack([read_tags(keys), read_tags(values)])
        if (tags[0, ..., :2] != tags[1, ..., :2]).any():
            self._faults.append(f"layer {layer}: keys and values that stand side by side are of different tokens")
        chunks, counts = np.unique(tags[0, 0, 0, :, 0], return_counts=True)
        self._tokens.update(dict(zip(chunks.tolist(), counts.tolist(), strict=True)))
        self._attended |= set(np.unique(tags[..., 0]).tolist()) - {step}
        self._check(tags, self._tables[group], layer)

    def _own_tokens(self) -> int:
        """Tokens of the chunk being generated."""
        return self._cache.chunk_frames * self._cache.geometry.tokens_per_frame

    def _check(self, tags: NDArray[np.int64], table: _PlaceTable, layer: int) -> None:
        """Compare the tags `(planes, branches, heads, tokens, 6)` with what the arena's table says lies there."""
        wrong = tags[..., 0] != table.owners
        if wrong.any():
            plane, branch, head, place = _first(wrong)
            self._faults.append(
                f"layer {layer} {_PLANES[plane]}, branch {branch}, head {head}: place {place} holds a token of chunk "
                f"{tags[plane, branch, head, place, 0]}, the table says chunk {table.owners[place]}"
            )
        planes, branches, heads = tags.shape[:3]
        first_head = self._head if heads < self._cache.geometry.kv_heads else 0
        computed_for = np.empty((planes, branches, heads, 1, 4), np.int64)
        computed_for[..., 0] = layer
        computed_for[..., 1] = first_head + np.arange(heads)[:, None]
        computed_for[..., 2] = np.arange(branches)[:, None, None]
        computed_for[..., 3] = np.arange(planes)[:, None, None, None]
        strange = tags[..., 2:] != computed_for
        if strange.any():
            at = _first(strange)
            name = ("layer", "head", "branch", "plane")[at[-1]]
            self._faults.append(
                f"layer {layer} {_PLANES[at[0]]}: place {at[3]} was computed for {name} {tags[..., 2:][at]}"
            )
        tokens = tags[..., 1][..., table.order]
        unsorted = (np.diff(tokens, axis=-1) <= 0) & table.same_chunk
        if unsorted.any():
            at = _first(unsorted)
            chunk = table.owners[table.order[at[-1]]]
            self._faults.append(f"layer {layer} {_PLANES[at[0]]}: chunk {chunk}'s tokens are not in ascending order")


class _PlaceTable(NamedTuple):
    """What a head group's layout says of the places handed to attention; the chunk being generated is behind the run.

    Attributes:
        owners: the chunk of each place `(tokens,)`, -1 where it names none.
        order: places by chunk, and by the order of the chunk's own tokens in it.
        same_chunk: whether a place and the next, in that order, are of one chunk `(tokens - 1,)`.
    """

    owners: NDArray[np.int64]
    order: NDArray[np.int64]
    same_chunk: NDArray[np.bool_]

    @classmethod
    def of(cls, layout: RunLayout, step: int, own_tokens: int, tokens: int) -> _PlaceTable:
        """The table of the first `tokens` places, which may be fewer or more than there should be."""
        from worldkv.backends.window.run_layout import Extent

        pieces = [(chunk, piece) for chunk, held in layout.extents.items() for piece in held]
        pieces.append((step, Extent(layout.length, own_tokens)))
        owners = np.full(max(tokens, layout.length + own_tokens), -1, np.int64)
        order = np.concatenate([np.arange(piece.start, piece.end) for _, piece in pieces])
        owners[order] = np.repeat([chunk for chunk, _ in pieces], [piece.tokens for _, piece in pieces])
        order, owners = order[order < tokens], owners[:tokens]
        return cls(owners, order, owners[order][1:] == owners[order][:-1])


def _first(found: NDArray[np.bool_]) -> tuple[int, ...]:
    """The indices of the first true element."""
    return tuple(int(index) for index in np.unravel_index(int(found.argmax()), found.shape))
