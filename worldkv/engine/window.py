"""Bring the window and staging from what they hold to what a step wants; only the difference moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from worldkv.backend import Drop, Fetch, Land, Move, Prefetch, Shrink, Unstage
from worldkv.chunks import DISK, SPARE, ChunkTable, Tier
from worldkv.engine.state import EngineState


class WindowChange(NamedTuple):
    """How the attended set changed; the fields are `StepPlan`'s of the same name."""

    moves: Sequence[Move]
    entered: tuple[int, ...]
    changed: tuple[int, ...]
    left: tuple[int, ...]
    fetched_bytes: int
    fetched_disk_bytes: int
    fetched_spare_bytes: int


def reconcile_window(state: EngineState, table: ChunkTable, wanted: tuple[int, ...]) -> WindowChange:
    """Make the banked chunks `wanted` the window's replicas, and let go of everything else that is not at home there.

    A replica that stays is not touched. A chunk evicted since the last step that is wanted at once is shrunk in place
    to its kept tokens and becomes a replica: nothing crosses the bus. Everything that goes, goes before anything comes.
    """
    # The newest chunk was generated in the last step, not attended by it: it can enter, but neither change nor leave.
    newest = len(table) - 1
    if not (wanted or state.leaving or state.replicas or state.shrunk):
        return _NO_CHANGE
    moves: list[Move] = []
    entered: list[int] = []
    changed: list[int] = []
    left: list[int] = []
    device = state.tiers.device
    if state.shrunk:
        changed += [chunk for chunk in state.shrunk if chunk != newest]
        state.shrunk = ()
    if state.replicas:
        for chunk in set(state.replicas).difference(wanted):
            freed = state.replicas.pop(chunk)
            moves.append(Drop(chunk, freed))
            left.append(chunk)
            device.give(freed)
    # Evicted and discarded chunks have kept their tokens in the window until now, so that those wanted at once stay.
    for chunk, (held, keep) in state.leaving.items():
        if keep is not None and chunk in wanted:
            size = keep.window_bytes(table.geometry)
            if size < held:
                moves.append(Shrink(chunk, keep, held - size))
            state.replicas[chunk] = size
            device.give(held - size)
            (entered if chunk == newest else changed).append(chunk)
        else:
            moves.append(Drop(chunk, held))
            device.give(held)
            if chunk != newest:
                left.append(chunk)
    state.leaving = {}
    fetched = fetched_disk = fetched_spare = 0
    for chunk in wanted:
        if chunk in state.replicas:
            continue
        entered.append(chunk)
        if chunk in state.staged:  # the device's ledger has counted it since it was prefetched
            size = state.replicas[chunk] = state.staged.pop(chunk)
            moves.append(Land(chunk, size))
            continue
        move = _copy_in(state, table, chunk, Fetch)
        moves.append(move)
        _, source, stored, state.replicas[chunk] = move
        if source is SPARE:
            fetched_spare += stored
            continue
        fetched += stored
        fetched_disk += stored if source is DISK else 0
    # Now the replicas are exactly `wanted`, nothing is leaving, and the device's ledger holds the chunks at home, the
    # replicas and what is staged; the engine adds the chunk being generated.
    return WindowChange(moves, tuple(entered), tuple(changed), tuple(left), fetched, fetched_disk, fetched_spare)


def reconcile_staging(state: EngineState, table: ChunkTable, planned: Iterable[int], staging_bytes: int) -> list[Move]:
    """Let go of prefetched chunks no longer `planned`, and prefetch those that are, best first, as room allows.

    What lies in spare memory of the window's own device is there already, and takes no room in staging.
    """
    planned = tuple(planned)
    moves: list[Move] = []
    for chunk in [chunk for chunk in state.staged if chunk not in planned]:
        moves.append(unstage(state, chunk))
    room = staging_bytes - sum(state.staged.values())
    is_at_hand = state.tiers.limits.spare_device is None
    for chunk in planned:
        if is_at_hand and table.columns["tier"][chunk] == SPARE:
            continue
        size = int(table.columns["window_bytes"][chunk])
        if chunk in state.replicas or chunk in state.staged or size > room:
            continue
        moves.append(_copy_in(state, table, chunk, Prefetch))
        state.staged[chunk] = size
        room -= size
    return moves


def unstage(state: EngineState, chunk: int) -> Move:
    """A prefetched chunk leaves staging."""
    size = state.staged.pop(chunk)
    state.tiers.device.give(size)
    return Unstage(chunk, size)


def _copy_in(state: EngineState, table: ChunkTable, chunk: int, kind: type[Fetch] | type[Prefetch]) -> Fetch | Prefetch:
    """A banked chunk is copied to the window's device, through the host if it lies on disk."""
    columns = table.columns
    stored, source = int(columns["stored_bytes"][chunk]), Tier(int(columns["tier"][chunk]))
    size = int(columns["window_bytes"][chunk])
    state.tiers.device.take(size)
    if source is DISK:
        state.tiers.host.pass_through(stored)
    return kind(chunk, source, stored, size)


_NO_CHANGE = WindowChange((), (), (), (), 0, 0, 0)
