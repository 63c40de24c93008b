"""Place the chunks of a saved bank again, where the cache that goes on has other room than the one that was saved."""

from __future__ import annotations

import numpy as np

from worldkv.answers import Ids
from worldkv.chunks import BANK_TIERS, ChunkTable, Tier
from worldkv.config import CacheConfig
from worldkv.engine.banking import forget_chunk
from worldkv.engine.state import EngineState
from worldkv.errors import BudgetError
from worldkv.tiers import FILE_BYTES, banked_rows


def place_again(state: EngineState, table: ChunkTable, before: CacheConfig, now: CacheConfig) -> None:
    """Bring state and table of a saved world to the room that there is now; nothing where it is the same.

    The chunks retrieved last get the fastest tier that has room; where they do not fit, the oldest are forgotten first
    if the limits say so. Moving them is no traffic of the rollout.

    Raises:
        BudgetError: the room is too small, and nothing may be forgotten.
    """
    chunk_bytes = table.geometry.chunk_bytes
    was, limits = before.bank_limits(chunk_bytes), now.bank_limits(chunk_bytes)
    state.tiers.limits = limits
    room = now.staging_chunks * chunk_bytes
    while state.staged and (limits != was or sum(state.staged.values()) > room):  # the next step plans anew
        state.tiers.device.give(state.staged.popitem()[1])
    if limits == was:
        return
    columns, rows = table.columns, banked_rows(table)
    for chunk in rows.tolist():
        state.tiers.ledger(Tier(int(columns["tier"][chunk]))).give(int(columns["stored_bytes"][chunk]))
    forgotten = list[int]()
    oldest_first = [chunk for chunk in rows.tolist() if chunk not in state.pinned]
    while (homes := _homes(rows[~np.isin(rows, forgotten)], state, table)) is None:
        if limits.when_full == "error" or not oldest_first:
            raise BudgetError(
                f"the bank of the saved world, {int(columns['stored_bytes'][rows].sum())} bytes, does not fit into the "
                f"room that it has now ({now.limits}); give it more, or let it forget-oldest"
            )
        forgotten.append(oldest_first.pop(0))
    for chunk in forgotten:
        homes[chunk] = Tier.DISK  # only to be taken out again
    for chunk, tier in homes.items():
        columns["tier"][chunk] = tier
        state.tiers.ledger(tier).take(int(columns["stored_bytes"][chunk]))
    for chunk in forgotten:
        state.forgets = (*state.forgets, *forget_chunk(state, table, chunk))
        state.lost = (*state.lost, chunk)


def _homes(chunks: Ids, state: EngineState, table: ChunkTable) -> dict[int, Tier] | None:
    """The fastest tier with room for each chunk, those retrieved last first; None where some fit nowhere."""
    sizes = table.columns["stored_bytes"]
    free = {tier: state.tiers.room(tier) for tier in BANK_TIERS}
    homes: dict[int, Tier] = {}
    for chunk in chunks[np.lexsort((chunks, table.columns["last_used"][chunks]))[::-1]].tolist():
        for tier, room in free.items():
            size = int(sizes[chunk]) + (FILE_BYTES if tier is Tier.DISK else 0)
            if size <= room:
                homes[chunk], free[tier] = tier, room - size
                break
        else:
            return None
    return homes
