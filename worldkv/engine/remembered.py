"""What `rewind` still holds of the bank: chunks that were forgotten lately, beside what the limits count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from worldkv.chunks import BANK_TIERS, ChunkTable, Tier


class RememberedBytes(NamedTuple):
    """Bytes of chunks that the bank has forgotten and a rewind would bring back.

    Attributes:
        host: in host memory.
        disk: in files.
        spare: in spare device memory.
    """

    host: int
    disk: int
    spare: int = 0


def remembered_bytes(journals: Iterable[list[tuple[str, int, Any]]], table: ChunkTable) -> RememberedBytes:
    """What the steps of `journals`, oldest first, have forgotten, where it lay last."""
    columns, last = table.columns, dict[int, int]()
    for journal in journals:
        for column, row, old in journal:
            if column == "tier" and old in BANK_TIERS and columns["tier"][row] == Tier.NONE:
                last[row] = int(old)
    sizes = columns["stored_bytes"]
    of_tier = {tier: sum(int(sizes[row]) for row, at in last.items() if at == tier) for tier in BANK_TIERS}
    return RememberedBytes(of_tier[Tier.HOST], of_tier[Tier.DISK], of_tier[Tier.SPARE])
