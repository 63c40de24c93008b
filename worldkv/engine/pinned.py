"""Chunks that a caller pins, beside what a policy decides."""

from __future__ import annotations

from worldkv.answers import NOTHING_LEAVES, Eviction
from worldkv.chunks import ChunkTable, Tier
from worldkv.errors import PolicyError


def without_pinned(eviction: Eviction, pinned: tuple[int, ...]) -> Eviction:
    """The eviction without what is pinned: that stays in the window as it is."""
    if not pinned or eviction is NOTHING_LEAVES:
        return eviction
    bank, discard = (tuple(chunk for chunk in ids if chunk not in pinned) for ids in (eviction.bank, eviction.discard))
    shrink = {chunk: keep for chunk, keep in eviction.shrink.items() if chunk not in pinned}
    return Eviction(bank, discard, shrink) if bank or discard or shrink else NOTHING_LEAVES


def check_there(table: ChunkTable, chunk: int, what: str) -> None:
    """Refuse to do `what` with a chunk that was never generated, or is gone.

    Raises:
        PolicyError: it is.
    """
    if isinstance(chunk, bool) or not isinstance(chunk, int) or not 0 <= chunk < len(table):
        raise PolicyError(f"{what} takes a chunk's number, 0 to {len(table) - 1}, got {chunk!r}")
    if table.columns["tier"][chunk] == Tier.NONE:
        raise PolicyError(f"chunk {chunk} is gone; {what} takes one that is in the window or the bank")
