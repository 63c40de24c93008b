"""Send a chunk to the bank, make room for it there, and let chunks go for good."""

from __future__ import annotations

import dataclasses

from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import Forget, Move, Shrink, Spill, Store
from worldkv.chunks import DISK, SPARE, ChunkTable, Tier
from worldkv.engine.state import EngineState
from worldkv.engine.window import unstage


def bank_chunk(
    state: EngineState, table: ChunkTable, chunk: int, keep: Keep | RaggedKeep
) -> tuple[list[Move], list[int]]:
    """Move a window chunk's home to the bank; its tokens stay in the window until the next begin.

    Returns:
        The moves, and the ids that the bank had to forget for it.

    Raises:
        BudgetError: it fits nowhere; nothing has changed.
    """
    columns, geometry, tiers = table.columns, table.geometry, state.tiers
    stored = keep.bytes(geometry)
    placement = tiers.place(chunk, stored, table, state.pinned)
    moves: list[Move] = []
    for old in placement.forgotten:
        moves += forget_chunk(state, table, old)
    for old, source, target in placement.spilled:
        size = int(columns["stored_bytes"][old])
        tiers.ledger(source).give(size)
        if source is SPARE and target is DISK:
            tiers.host.pass_through(size)
        tiers.ledger(target).take(size)
        table.write("tier", old, target)
        moves.append(Spill(old, size, source, target))
    if placement.tier is DISK:
        tiers.host.pass_through(stored)
    tiers.ledger(placement.tier).take(stored)
    moves.append(Store(chunk, keep, placement.tier, stored))
    held = int(columns["window_bytes"][chunk])
    state.leaving[chunk] = (held, keep)
    state.home_bytes -= held
    _count_keep(state, table, chunk, keep)
    state.counts.window -= keep.count
    state.counts.banked += keep.count
    table.write("tier", chunk, placement.tier)
    table.write("stored_bytes", chunk, stored)
    state.bank_add(chunk)
    return moves, list(placement.forgotten)


def discard_chunk(state: EngineState, table: ChunkTable, chunk: int) -> None:
    """A window chunk is gone for good; its tokens stay in the window until the next begin."""
    tokens = int(table.columns["tokens"][chunk])
    held = int(table.columns["window_bytes"][chunk])
    state.leaving[chunk] = (held, None)
    state.home_bytes -= held
    state.counts.window -= tokens
    state.counts.discarded += tokens
    table.write("tier", chunk, Tier.NONE)


def shrink_chunk(state: EngineState, table: ChunkTable, chunk: int, keep: Keep | RaggedKeep) -> Move:
    """A window chunk is reduced in place, at once."""
    freed = int(table.columns["window_bytes"][chunk]) - keep.window_bytes(table.geometry)
    state.tiers.device.give(freed)
    state.home_bytes -= freed
    _count_keep(state, table, chunk, keep)
    table.write("stored_bytes", chunk, keep.bytes(table.geometry))
    if isinstance(keep, RaggedKeep):
        state.ragged[chunk] = dataclasses.replace(keep, tokens=None)
    return Shrink(chunk, keep, freed)


def as_it_is(state: EngineState, table: ChunkTable, chunk: int) -> Keep | RaggedKeep | None:
    """All that is left of a chunk at home that was cut before; None for a whole one."""
    columns = table.columns
    tokens = columns["tokens"].item(chunk)
    if chunk in state.ragged:
        return state.ragged[chunk]
    if tokens == columns["frames"].item(chunk) * table.geometry.tokens_per_frame:
        return None
    return Keep(tokens, tuple(columns["frame_tokens"][chunk].tolist()))


def _count_keep(state: EngineState, table: ChunkTable, chunk: int, keep: Keep | RaggedKeep) -> None:
    """Write what is kept of `chunk` into its row; what is not is pruned."""
    pruned = int(table.columns["tokens"][chunk]) - keep.count
    state.counts.window -= pruned
    state.counts.pruned += pruned
    table.write("tokens", chunk, keep.count)
    table.write("frame_tokens", chunk, keep.frame_tokens)
    table.write("window_bytes", chunk, keep.window_bytes(table.geometry))


def forget_chunk(state: EngineState, table: ChunkTable, chunk: int) -> list[Move]:
    """A banked chunk is deleted; a replica of it leaves the window at the next begin."""
    columns = table.columns
    tokens, size = int(columns["tokens"][chunk]), int(columns["stored_bytes"][chunk])
    tier = Tier(int(columns["tier"][chunk]))
    state.tiers.ledger(tier).give(size)
    state.counts.banked -= tokens
    state.counts.discarded += tokens
    state.counts.forgotten += tokens
    table.write("tier", chunk, Tier.NONE)
    state.bank_remove(chunk, table)
    state.resident = tuple(other for other in state.resident if other != chunk)
    state.planned = tuple(other for other in state.planned if other != chunk)
    moves: list[Move] = [Forget(chunk, tier, size)]
    if chunk in state.replicas:
        state.leaving[chunk] = (state.replicas.pop(chunk), None)
    elif chunk in state.leaving:
        state.leaving[chunk] = (state.leaving[chunk][0], None)
    if chunk in state.staged:
        moves.append(unstage(state, chunk))
    return moves
