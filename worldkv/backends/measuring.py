"""Measure the signals that policies read: query and key summaries, attention received, hidden states."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backend import Drop, Move, Shrink, Store
from worldkv.backends.attention import attention_received
from worldkv.backends.group.rank_group import RankGroup
from worldkv.backends.window.arena import KEYS, Arena
from worldkv.backends.window.run_layout import Extent
from worldkv.engine.state import StepPlan
from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.signals import Measured, Signal

ATTENTION_SIGNALS = frozenset({Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY, Signal.ATTENTION_MASS})
"""The signals that attention supplies by itself; all of the first branch."""


class _Received(NamedTuple):
    """Attention that the cached tokens of one layer received, of one head where ragged.

    Attributes:
        call: which of the step's; one a layer.
        of_token: by place in the run, the chunk being generated last `(tokens,)`.
        pieces: where each attended chunk stands.
    """

    call: int
    of_token: Tensor
    pieces: tuple[tuple[Extent, ...], ...]


def on_host(tensors: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Tensors of float32 on one device as arrays; all of them come in one copy, so that the host waits once."""
    if not tensors:
        return []
    flat = tensors[0].flatten() if len(tensors) == 1 else torch.cat([tensor.flatten() for tensor in tensors])
    parts = torch.split(flat.cpu(), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).numpy() for part, tensor in zip(parts, tensors, strict=True)]


class SignalMeter:
    """Measures one step at a time, and only what was asked for.

    Attributes:
        signals: what is measured.
    """

    def __init__(
        self,
        geometry: CacheGeometry,
        signals: frozenset[Signal],
        *,
        is_causal: bool = False,
        ranks: RankGroup | None = None,
    ) -> None:
        """A meter of those of `signals` that attention supplies; `is_causal` as for `attend`.

        What it says is of all heads, or of the first branch, of `ranks`, so all of them ask it together.
        """
        self._is_causal, self._ranks = is_causal, ranks
        self._geometry, self.signals = geometry, signals & ATTENTION_SIGNALS
        self.start_step()

    def start_step(self) -> None:
        """Forget the last step."""
        self._queries: list[Tensor] = []
        self._received: list[_Received] = []

    def forget_pass(self, number: int) -> None:
        """Forget what was measured of a pass that stopped half way and is run again; passes are counted from 1.

        Raises:
            PolicyError: the attention that tokens received in it is added up already.
        """
        if self._received and len({one.call for one in self._received}) % self._geometry.layers:
            raise PolicyError(
                "a pass that measures attention stopped half way and cannot be run again: what tokens received is "
                "added up already; call rewind(0), restore or reset"
            )
        if number == 1:
            self._queries.clear()

    def note_queries(self, queries: Tensor) -> None:
        """Note one layer's queries of the first pass `(branches, heads, tokens, head_dim)`, layers in order."""
        if Signal.QUERY_SUMMARY in self.signals:
            grouped = queries[0].float().reshape(self._geometry.kv_heads, -1, self._geometry.head_dim)
            self._queries.append(grouped.mean(dim=1))

    def wants_queries(self, clean: bool, passes: int, branch: int | None) -> bool:
        """Whether a call in the step's pass of number `passes`, counted from 1, has to bring queries."""
        if branch not in (None, 0):
            return False
        return Signal.QUERY_SUMMARY in self.signals and passes <= 1 or clean and Signal.ATTENTION_MASS in self.signals

    def note_mass(self, layer: int, queries: Tensor, arena: Arena, plan: StepPlan, own_tokens: int) -> None:
        """Add the attention that one layer's cached tokens receive in the clean pass; a second QK product."""
        if Signal.ATTENTION_MASS not in self.signals:
            return
        geometry, is_ragged = self._geometry, arena.form.is_ragged
        call = self._received[-1].call + 1 if self._received else 0
        heads_per_key = geometry.heads // geometry.kv_heads
        heads = range(geometry.kv_heads) if is_ragged else range(1)
        for head in heads:
            rows = slice(head, head + 1) if is_ragged else slice(None)
            some = queries[0, head * heads_per_key : (head + 1) * heads_per_key] if is_ragged else queries[0]
            group, length = arena.group(layer, head), arena.length(layer, head)
            keys = arena.buffer[layer, arena.attended_plane, 0, rows, : length + own_tokens]
            share = attention_received(some, keys[..., : geometry.head_dim], is_causal=self._is_causal)
            if arena.mass is not None:
                arena.mass[layer, rows, :length, 0] += share[:, :length]
            pieces = tuple(tuple(group.layout.extents[chunk]) for chunk in plan.attended.tolist())
            self._received.append(_Received(call, share.mean(dim=0), pieces))

    def summary(self) -> Any:
        """Mean query of the first pass `(layers, kv_heads, head_dim)`; None where it is not measured."""
        queries = on_host([torch.stack(self._queries)])[0] if self._queries else None
        return queries if self._ranks is None else self._ranks.summary(queries)

    def result(self, arena: Arena, tokens: int, offset: int = 0, *, is_first: bool = True) -> Measured | None:
        """All that was measured of the step, once its last pass is done and before its chunk joins the run.

        Args:
            arena: the window.
            tokens: tokens of the chunk.
            offset: tokens of the same pass before it.
            is_first: whether it is the first chunk of the pass, which attention mass counts for.
        """
        if not self.signals:
            return None
        own = self._own_result(arena, tokens, offset, is_first)
        return own if self._ranks is None else self._ranks.measured(own)

    def _own_result(self, arena: Arena, tokens: int, offset: int, is_first: bool) -> Measured:
        """What was measured here."""
        received = self._received if is_first else []
        wanted = [of_head.of_token for of_head in received]
        if self._queries:
            wanted.append(torch.stack(self._queries))
        if Signal.KEY_SUMMARY in self.signals:
            wanted.append(self._key_summary(arena, tokens, offset))
        found = on_host(wanted)
        mean, least, greatest = found.pop() if Signal.KEY_SUMMARY in self.signals else (None, None, None)
        queries = found.pop() if self._queries else None
        return Measured(mean, least, greatest, queries, self._mass(received, found))

    def _key_summary(self, arena: Arena, tokens: int, offset: int) -> Tensor:
        """Mean, least and greatest stored key of the chunk `(3, layers, kv_heads, head_dim)`."""
        geometry, is_ragged = self._geometry, arena.form.is_ragged
        layers = []
        for layer in range(geometry.layers):
            keys = arena.buffer[layer, KEYS, 0, ..., : geometry.head_dim]
            starts = [arena.length(layer, head) + offset for head in range(geometry.kv_heads if is_ragged else 1)]
            if is_ragged:
                tails = torch.stack([keys[head, start : start + tokens] for head, start in enumerate(starts)])
            else:
                tails = keys[:, starts[0] : starts[0] + tokens]
            tails = tails.float()
            layers.append(torch.stack([tails.mean(1), tails.amin(1), tails.amax(1)]))
        return torch.stack(layers, dim=1)

    def _mass(self, received: Sequence[_Received], of_tokens: Sequence[NDArray[np.float32]]) -> Any:
        """Attention that each attended chunk received `(chunks,)`, mean over layers and heads; None if not measured."""
        if not received:
            return None
        mass = np.zeros(len(received[0].pieces))
        for call in range(received[-1].call + 1):
            of_layer = np.zeros(len(mass))
            noted = [at for at, one in enumerate(received) if one.call == call]
            for at in noted:
                of_token = of_tokens[at].astype(np.float64)
                for row, pieces in enumerate(received[at].pieces):
                    of_layer[row] += sum(of_token[piece.start : piece.end].sum() for piece in pieces)
            mass += of_layer / (self._geometry.layers * len(noted))
        return mass.astype(np.float32)

    def without_mass(self, measured: Measured, attended: int) -> Measured:
        """The same, with no attention received by any of `attended` chunks where attention mass is measured."""
        if Signal.ATTENTION_MASS not in self.signals:
            return measured
        return dataclasses.replace(measured, attention_mass=np.zeros(attended, np.float32))


class HiddenStates:
    """Hidden states of the clean pass, of every whole chunk at home in the window; gone once it is shrunk or leaves.

    Tensors are never written again, so a snapshot is a copy of the table.
    """

    def __init__(self, of_chunk: dict[int, Tensor] | None = None) -> None:
        """Those of `of_chunk`; none by default."""
        self._of_chunk = dict(of_chunk or {})
        self._layers: list[Tensor] = []

    def note(self, hidden: Tensor) -> None:
        """One layer's hidden states of the clean pass `(branches, tokens, channels)`, layers in order."""
        self._layers.append(hidden[0].detach().float().clone())

    def forget_pass(self) -> None:
        """Forget what was noted of a pass that is begun again, or abandoned."""
        self._layers.clear()

    def commit(self, chunk: int) -> None:
        """Keep what was noted as the chunk's."""
        if self._layers:
            self._of_chunk[chunk] = torch.stack(self._layers)
        self._layers.clear()

    def of(self, chunk: int) -> Tensor | None:
        """`(layers, tokens, channels)` in float32; None if nothing was noted, or the chunk is no longer whole."""
        return self._of_chunk.get(chunk)

    def apply(self, moves: Sequence[Move]) -> None:
        """Forget those of chunks that are shrunk, stored or gone."""
        if self._of_chunk:
            for move in moves:
                if isinstance(move, Shrink | Store | Drop):
                    self._of_chunk.pop(move.chunk, None)

    def table(self) -> dict[int, Tensor]:
        """All of it, by chunk."""
        return dict(self._of_chunk)
