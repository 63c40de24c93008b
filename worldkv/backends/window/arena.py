"""The window on the device: one preallocated buffer whose valid tokens are one contiguous run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worldkv.answers import Keep, RaggedKeep
from worldkv.backends.transfer.device_ops import DeviceOps
from worldkv.backends.transfer.tensor_copy import copy, join, select
from worldkv.backends.window.copy_on_write import ArenaState, Pages
from worldkv.backends.window.head_groups import HeadGroup
from worldkv.backends.window.run_layout import Copy, Extent, RunLayout
from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry

KEYS, VALUES, ROTATED = 0, 1, 2
"""Planes of the buffer; the third is there only where keys are rebased."""

Shift = Callable[[Tensor, Tensor], None]
"""Writes attended keys from stored ones, of one piece of a chunk."""

MOST_GATHERED = 2
"""Scattered chunks gathered in one step and head group: many short ones would scatter each other again and again."""


class ArenaForm(NamedTuple):
    """Shape and kind of an arena.

    Attributes:
        geometry: the cache's shape.
        dtype: of every cached number.
        channels: numbers a token and head, `head_dim` or more where a debug channel rides along.
        is_rebased: whether attended keys are a rotated copy of the stored ones.
        is_ragged: whether chunks may have different counts in every layer and head.
        has_mass: whether attention received is summed up for every token.
        riders: the last so many branches are further planes of the same tokens, whose keys carry no position in time.
        is_padded: whether places that were never written are read: they are 0 then, since NaN gets through any mask.
    """

    geometry: CacheGeometry
    dtype: torch.dtype
    channels: int
    is_rebased: bool = False
    is_ragged: bool = False
    has_mass: bool = False
    riders: int = 0
    is_padded: bool = False


class Arena:
    """The window's keys and values, `[0, length)` of them valid and attended without mask or concatenation.

    The chunk being generated stands right behind the run and joins it at commit. Everything is allocated at once
    unless no capacity is given; then the buffer grows by half when a step needs more. Snapshots are copy-on-write by
    pages of one latent frame.

    Attributes:
        form: what it is made for.
        buffer: `(layers, planes, branches, kv_heads, capacity, channels)`.
        groups: one head group, or one a layer and head where ragged.
        capacity: tokens the buffer holds.
        upload: brings a small host array to where the buffer is.
        turned: latent frames by which the attended keys of every chunk are turned on from the stored ones; without
            those whose attended keys are not written yet. Only kept where attended keys are a rotated copy.
    """

    def __init__(self, ops: DeviceOps, form: ArenaForm, capacity_tokens: int | None) -> None:
        """An empty window of `capacity_tokens`, the chunk being generated included; None to grow as needed."""
        self.form, self._ops, self._can_grow, self.upload = form, ops, capacity_tokens is None, ops.upload
        self._pages = Pages(form.geometry.tokens_per_frame)
        self.turned: dict[int, int] = {}
        groups = form.geometry.layers * form.geometry.kv_heads if form.is_ragged else 1
        self._allocate([RunLayout() for _ in range(groups)], capacity_tokens or 4 * form.geometry.chunk_tokens)

    # ------------------------------------------------------------------ reading

    @property
    def attended_plane(self) -> int:
        """The plane whose keys are attended."""
        return ROTATED if self.form.is_rebased else KEYS

    def group(self, layer: int, head: int) -> HeadGroup:
        """The head group of one layer and head: of a ragged arena layer after layer, else the only one."""
        return self.groups[layer * self.form.geometry.kv_heads + head if self.form.is_ragged else 0]

    def length(self, layer: int = 0, head: int = 0) -> int:
        """Tokens of the run in one layer and head."""
        return self.group(layer, head).layout.length

    def chunks(self) -> list[int]:
        """Chunks whose tokens are in the window, as they came."""
        return list(self.groups[0].layout.extents)

    def counts(self, chunk: int) -> tuple[int, ...]:
        """Tokens of a chunk in every head group."""
        return tuple(group.layout.tokens(chunk) for group in self.groups)

    def attended(self, layer: int, extra: int = 0, branch: int | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values to attend, with `extra` tokens behind the run: `(branches, kv_heads, tokens, channels)`.

        Of one branch where it is named: `(1, kv_heads, tokens, channels)`.
        """
        end = self.length() + extra
        planes = self.buffer[layer] if branch is None else self.buffer[layer, :, branch : branch + 1]
        return planes[self.attended_plane].narrow(2, 0, end), planes[VALUES].narrow(2, 0, end)

    def attended_head(self, layer: int, head: int, extra: int = 0, branch: int | None = None) -> tuple[Tensor, Tensor]:
        """The same of one head of a ragged arena: `(branches, 1, tokens, channels)`."""
        end = self.length(layer, head) + extra
        branches = slice(None) if branch is None else slice(branch, branch + 1)
        planes = self.buffer[layer, :, branches, head : head + 1]
        return planes[self.attended_plane, :, :, :end], planes[VALUES, :, :, :end]

    def read(self, chunk: int, plane: int, branch: int = 0) -> Tensor:
        """One plane of a chunk `(layers, kv_heads, tokens, channels)`, a view where it is in one piece.

        Raises:
            PolicyError: its heads have different counts.
        """
        source = self.buffer[:, plane, branch]
        if not self.form.is_ragged:
            return join(source, self.groups[0].layout.extents[chunk])
        counts = self.counts(chunk)
        if len(set(counts)) > 1:
            raise PolicyError(f"chunk {chunk} is ragged already and cannot be compressed again; keep it as it is")
        # One group a layer and head, layer after layer: group `number` is divmod(number, heads), see `group`.
        heads, rows = self.form.geometry.kv_heads, []
        for number, group in enumerate(self.groups):
            rows.append(join(source[number // heads, number % heads], group.layout.extents[chunk]))
        return torch.stack([torch.stack(rows[at : at + heads]) for at in range(0, len(rows), heads)])

    def read_mass(self, chunk: int) -> Tensor | None:
        """Attention each token of a chunk has received `(layers, kv_heads, tokens)`; None where it is not summed."""
        if self.mass is None or self.form.is_ragged:
            return None
        return join(self.mass, self.groups[0].layout.extents[chunk])[..., 0]

    @property
    def saved_bytes(self) -> int:
        """Bytes that snapshots hold of the window beside it."""
        return self._pages.saved_bytes

    # ------------------------------------------------------------------ writing

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` behind the longest run, and keep what snapshots still need of it.

        Raises:
            PolicyError: the capacity is fixed and too small.
        """
        # Once a step, before `write_tail`, which writes these places in every layer and pass and saves nothing. A
        # snapshot whose run was longer may need what stands there.
        longest = max(group.layout.length for group in self.groups)
        self._fit(longest + tokens)
        for number, group in enumerate(self.groups):
            self._pages.will_write(number, group.layout.length, tokens)

    def write_tail(
        self,
        layer: int,
        keys: Tensor,
        values: Tensor,
        attended_keys: Tensor | None = None,
        branch: int | None = None,
    ) -> None:
        """One layer of the chunk being generated, behind the run.

        Args:
            layer: the layer.
            keys: stored keys `(branches, kv_heads, tokens, channels)`.
            values: likewise.
            attended_keys: keys as they are attended, where these are a rotated copy; the stored ones by default.
            branch: the one branch that the tensors are of `(1, kv_heads, tokens, channels)`; None for all.
        """
        tokens, planes = keys.shape[2], self.buffer[layer]
        if branch is not None:
            planes = planes[:, branch : branch + 1]
        if not self.form.is_ragged:
            self._write_run(planes.narrow(3, self.length(), tokens), keys, values, attended_keys)
            return
        for head in range(keys.shape[1]):
            run = planes[:, :, head : head + 1].narrow(3, self.length(layer, head), tokens)
            own = None if attended_keys is None else attended_keys[:, head : head + 1]
            self._write_run(run, keys[:, head : head + 1], values[:, head : head + 1], own)

    def _write_run(self, run: Tensor, keys: Tensor, values: Tensor, attended_keys: Tensor | None) -> None:
        """Fill the planes of a piece of the buffer `(planes, branches, kv_heads, tokens, channels)`."""
        copy(run[KEYS], keys)
        copy(run[VALUES], values)
        if self.form.is_rebased:
            copy(run[ROTATED], keys if attended_keys is None else attended_keys)

    def tail(self, start: int, tokens: int) -> Tensor:
        """Copies of stored keys and values `start` tokens behind the run, in a tensor of its own.

        Returns:
            `(layers, 2, branches, kv_heads, tokens, channels)`.
        """
        if not self.form.is_ragged:
            first = self.length() + start
            return self.buffer[:, :ROTATED, ..., first : first + tokens, :].clone()
        layers, heads, rows = self.form.geometry.layers, self.form.geometry.kv_heads, []
        for number, group in enumerate(self.groups):
            first = group.layout.length + start
            rows.append(self.buffer[number // heads, :ROTATED, :, number % heads, first : first + tokens])
        return torch.stack([torch.stack(rows[at * heads : (at + 1) * heads], dim=2) for at in range(layers)])

    def append(self, chunk: int, tokens: int, turned: int | None = 0) -> None:
        """The chunk behind the run joins it, its attended keys `turned` (None: not written); no attention yet."""
        if self.form.is_rebased and turned is not None:
            self.turned[chunk] = turned
        for group in self.groups:
            group.clear_mass(group.layout.length, tokens)
            group.layout.append(chunk, tokens)

    def update(
        self,
        gone: Iterable[int],
        cut: Mapping[int, Keep | RaggedKeep],
        arriving: Mapping[int, Sequence[int]],
        gathered: Mapping[int, Tensor],
        scratch: Tensor,
    ) -> None:
        """Let chunks go, shrink some to what is kept, and find places for others, which `scatter` fills later.

        Args:
            gone: chunks that leave.
            cut: what is kept of each chunk that shrinks.
            arriving: tokens of each chunk that comes, one count a head group.
            gathered: what is kept of chunks that shrink, flat, where it is on the device already.
            scratch: room for what is kept of one chunk, flat, for the others.
        """
        # All that can be refused is refused here, before anything has moved.
        gone = tuple(gone)
        for number, group in enumerate(self.groups):
            freed = sum(group.layout.tokens(chunk) for chunk in (*gone, *cut))
            kept = sum(group.count(keep) for keep in cut.values())
            self._fit(group.layout.length - freed + kept + sum(counts[number] for counts in arriving.values()))
        for chunk in (*gone, *cut, *arriving):  # all turned afresh from their stored keys before they are attended
            self.turned.pop(chunk, None)
        # Cut while the layout still says where all tokens of a chunk are. Kept tokens move within the chunk's own
        # places, where one could overwrite another: so they take the way round by `flat`.
        for chunk, keep in cut.items():
            flat = gathered.get(chunk)
            if flat is None:
                flat = scratch[: self.stored_elements(self.counts_of(keep))]
                self.gather(chunk, keep, flat)
            self._cut(chunk, keep, flat)
        for number, group in enumerate(self.groups):
            shorter = {chunk: group.count(keep) for chunk, keep in cut.items()}
            coming = {chunk: counts[number] for chunk, counts in arriving.items()}
            self._carry_out(number, group.layout.update(gone, shorter, coming))
            for _ in range(MOST_GATHERED):  # putting one together may scatter another, which the next step gathers
                movable = [chunk for chunk in group.layout.scattered() if self._has_room_behind(group, chunk)]
                if not movable:
                    break
                for copies in group.layout.gather(movable[0]):
                    self._carry_out(number, copies)
            # `scatter` fills these places when their copy has come, and saves nothing; snapshots save now.
            for chunk in coming:
                for start, tokens in group.layout.extents[chunk]:
                    self._pages.will_write(number, start, tokens)

    def scatter(self, chunk: int, flat: Tensor, layers: range) -> None:
        """Fill a chunk's places in some layers from what `gather` wrote of them.

        Its attended keys are not written yet.
        """
        counts = self.counts(chunk)
        for group, count, part in zip(
            self._groups_of(layers), self._counts_of(counts, layers), self._views(flat, counts, layers), strict=True
        ):
            if count:
                group.scatter(chunk, part, layers)

    def gather(self, chunk: int, keep: Keep | RaggedKeep, out: Tensor) -> None:
        """Collect what is kept of a chunk into `out`, flat, all layers' keys and values together."""
        for group, part in zip(self.groups, self.views_by_group(out, self.counts_of(keep)), strict=True):
            group.gather(chunk, keep, part, self.upload)

    def rotate(self, chunk: int, shift: Shift, layers: range | None = None) -> None:
        """Write a chunk's attended keys anew from its stored ones, in some layers or all of them.

        The keys of riders are copied as they are.
        """
        geometry, every = self.form.geometry, range(self.form.geometry.layers)
        moved, layers = geometry.branches - self.form.riders, every if layers is None else layers
        for number, group in enumerate(self.groups):
            if group.place is not None and group.place[0] not in layers:
                continue
            planes = group.by_plane
            if group.place is None and layers != every:
                planes = planes[:, layers.start : layers.stop]
            for start, tokens in group.layout.extents[chunk]:
                self._pages.will_write(number, start, tokens)
                piece = planes[..., start : start + tokens, :]
                stored, attended = piece[KEYS], piece[ROTATED]
                if self.form.riders:
                    axis = group.branch_axis
                    copy(attended.narrow(axis, moved, self.form.riders), stored.narrow(axis, moved, self.form.riders))
                    stored, attended = stored.narrow(axis, 0, moved), attended.narrow(axis, 0, moved)
                shift(stored, attended)

    # ------------------------------------------------------------------ flat chunks

    def stored_elements(self, counts: Sequence[int]) -> int:
        """Numbers that `gather` writes of a chunk of `counts` tokens a head group."""
        return self._elements_of(counts, range(self.form.geometry.layers))

    def span_of_layers(self, counts: Sequence[int], layers: range) -> tuple[int, int]:
        """First number of some layers of what `gather` writes, and the one behind the last."""
        before = range(layers.start)
        return self._elements_of(counts, before), self._elements_of(counts, range(layers.stop))

    def views_by_group(self, flat: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
        """What `gather` writes, head group by head group, each shaped as its `stored` with the chunk's tokens."""
        return self._views(flat, counts, range(self.form.geometry.layers))

    def _groups_of(self, layers: range) -> Sequence[HeadGroup]:
        heads = self.form.geometry.kv_heads
        return self.groups[layers.start * heads : layers.stop * heads] if self.form.is_ragged else self.groups

    def _counts_of(self, counts: Sequence[int], layers: range) -> Sequence[int]:
        heads = self.form.geometry.kv_heads
        return counts[layers.start * heads : layers.stop * heads] if self.form.is_ragged else counts

    def _elements_of(self, counts: Sequence[int], layers: range) -> int:
        shapes = zip(self._counts_of(counts, layers), self._groups_of(layers), strict=True)
        return sum(math.prod(group.stored_shape(count, layers)) for count, group in shapes)

    def _views(self, flat: Tensor, counts: Sequence[int], layers: range) -> Iterator[Tensor]:
        """What `gather` writes of some layers, head group by head group."""
        offset = 0
        for count, group in zip(self._counts_of(counts, layers), self._groups_of(layers), strict=True):
            shape = group.stored_shape(count, layers)
            size = math.prod(shape)
            yield flat[offset : offset + size].view(shape)
            offset += size

    def counts_of(self, keep: Keep | RaggedKeep) -> tuple[int, ...]:
        """Tokens that `keep` holds in every head group."""
        return tuple(group.count(keep) for group in self.groups)

    # ------------------------------------------------------------------ going back

    def snapshot(self) -> ArenaState:
        """The window as it is; pages are copied only when they are written again."""
        state = self._pages.snapshot()
        state.turned = dict(self.turned)
        if self.mass is not None:
            state.mass = self.mass.clone()  # it is added to everywhere at every step, and small
        return state

    def restore(self, state: ArenaState) -> None:
        """Back to `state`, of this arena or of one it was forked from, bit for bit."""
        self._fit(max(layout.length for layout in state.layouts))
        self._pages.write_back(state)
        if self.mass is not None and state.mass is not None:
            tokens = min(self.capacity, state.mass.shape[2])
            self.mass[:, :, :tokens].copy_(state.mass[:, :, :tokens])
        self.turned = dict(state.turned)
        self._rebind([layout.copy() for layout in state.layouts])

    @property
    def can_grow(self) -> bool:
        """Whether the buffer grows when a step needs more."""
        return self._can_grow

    def take_in(self, layouts: list[RunLayout], capacity: int, turned: dict[int, int]) -> None:
        """Room for what `layouts` say, to be filled by `put`; whatever was there is gone."""
        if capacity != self.capacity and self._can_grow:
            self._allocate(layouts, capacity)
        self._fit(max(layout.length for layout in layouts))
        self._rebind(layouts)
        self.turned = dict(turned)

    def whole(self, chunk: int) -> list[Tensor]:
        """All that is there of a chunk: of every head group what moves, its attended keys where they are written.

        Contiguous copies, each with the tokens in the last axis but one.
        """
        return [join(tensor, extents).contiguous() for tensor, extents in self._pieces_of(chunk)]

    def put(self, chunk: int, parts: Iterator[Tensor]) -> None:
        """Write what `whole` answered to a chunk's places; each part may be flat, and on the host."""
        for tensor, extents in self._pieces_of(chunk):
            offset, tokens = 0, sum(piece.tokens for piece in extents)
            part = next(parts).view(*tensor.shape[:-2], tokens, tensor.shape[-1])
            for piece in extents:
                tensor[..., piece.start : piece.end, :].copy_(part[..., offset : offset + piece.tokens, :])
                offset += piece.tokens

    def shapes_of(self, chunk: int) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of what `whole` answers of a chunk."""
        return [
            ((*tensor.shape[:-2], sum(piece.tokens for piece in extents), tensor.shape[-1]), tensor.dtype)
            for tensor, extents in self._pieces_of(chunk)
        ]

    def _pieces_of(self, chunk: int) -> Iterator[tuple[Tensor, list[Extent]]]:
        """The tensors in which a chunk has places that count, and the places."""
        for group in self.groups:
            buffer, *others = group.moved
            is_turned = chunk in self.turned
            for tensor in (buffer if is_turned else group.stored, *others):
                yield tensor, group.layout.extents[chunk]

    def fork(self) -> Arena:
        """An independent twin with the same tokens in the same places."""
        twin = Arena(self._ops, self.form, None)
        twin._can_grow = self._can_grow
        twin._allocate([group.layout.copy() for group in self.groups], self.capacity)
        twin._copy_from(self, max(group.layout.length for group in self.groups))
        twin.turned = dict(self.turned)
        return twin

    def clear(self) -> None:
        """No tokens."""
        self.turned.clear()
        self._rebind([RunLayout() for _ in self.groups])

    # ------------------------------------------------------------------ inside

    def _allocate(self, layouts: list[RunLayout], capacity: int) -> None:
        """Memory for `capacity` tokens; where there is not that much the arena stays as it is."""
        form, geometry, mass = self.form, self.form.geometry, None
        planes = 3 if form.is_rebased else 2
        shape = (geometry.layers, planes, geometry.branches, geometry.kv_heads, capacity, form.channels)
        buffer = self._ops.empty(shape, form.dtype)
        if form.is_padded:
            buffer.zero_()
        if form.has_mass:
            mass = self._ops.empty((geometry.layers, geometry.kv_heads, capacity, 1), torch.float32)
        self.buffer, self.mass, self.capacity = buffer, mass, capacity
        self._rebind(layouts)

    def _rebind(self, layouts: list[RunLayout]) -> None:
        """Head groups over the buffer as it is."""
        self.groups: list[HeadGroup] = []
        for number, layout in enumerate(layouts):
            buffer, mass, place = self.buffer, self.mass, None
            if self.form.is_ragged:
                place = layer, head = divmod(number, self.form.geometry.kv_heads)
                buffer, mass = buffer[layer, :, :, head], None if mass is None else mass[layer, head]
            stored = buffer[:, :ROTATED] if place is None else buffer[:ROTATED]
            self.groups.append(HeadGroup(layout, (buffer,) if mass is None else (buffer, mass), stored, place))
        self._pages.groups = self.groups

    def _fit(self, tokens: int) -> None:
        """Hold at least `tokens`."""
        if tokens <= self.capacity:
            return
        if not self._can_grow:
            raise PolicyError(
                f"the window was allocated for {self.capacity} tokens and the step needs {tokens}; "
                "give it a larger capacity or budget, or none to let it grow"
            )
        old = Arena.__new__(Arena)  # the arena as it is, so that its tensors can be copied once new ones are bound
        old.__dict__.update(self.__dict__)
        self._allocate([group.layout for group in old.groups], max(tokens, self.capacity * 3 // 2))
        self._copy_from(old, old.capacity)  # snapshots may still need what stands behind the run

    def _copy_from(self, other: Arena, tokens: int) -> None:
        for mine, theirs in zip(self.groups, other.groups, strict=True):
            for target, source in zip(mine.moved, theirs.moved, strict=True):
                copy(target[..., :tokens, :], source[..., :tokens, :])

    def _carry_out(self, number: int, copies: Iterable[Copy]) -> None:
        for target, source, tokens in copies:
            self._pages.will_write(number, target, tokens)
            for tensor in self.groups[number].moved:
                copy(tensor[..., target : target + tokens, :], tensor[..., source : source + tokens, :])

    def _has_room_behind(self, group: HeadGroup, chunk: int) -> bool:
        """Whether a chunk fits behind the run, where it is put together; if not, another step will have the room."""
        return group.layout.length + group.layout.tokens(chunk) <= self.capacity

    def _cut(self, chunk: int, keep: Keep | RaggedKeep, flat: Tensor) -> None:
        """Write what is kept to the chunk's first places; which these are the layout knows."""
        counts = self.counts_of(keep)
        for number, (group, part) in enumerate(zip(self.groups, self.views_by_group(flat, counts), strict=True)):
            chosen, offset = group.chosen(keep), 0
            if chosen is None:
                continue
            places = group.layout.places(chunk)
            # Attention received is cut alike; collected first, since the writes below run over what it is read from.
            extras = []
            for extra in group.moved[1:]:
                extras.append(extra.new_empty((*extra.shape[:-2], counts[number], extra.shape[-1])))
                select(extra, places, chosen, extras[-1], self.upload)
            for start, tokens in group.layout.extents[chunk]:
                if offset == counts[number]:
                    break
                kept = slice(offset, min(offset + tokens, counts[number]))
                offset = kept.stop
                place = slice(start, start + kept.stop - kept.start)
                self._pages.will_write(number, start, kept.stop - kept.start)
                copy(group.stored[..., place, :], part[..., kept, :])
                for extra, values in zip(group.moved[1:], extras, strict=True):
                    copy(extra[..., place, :], values[..., kept, :])
