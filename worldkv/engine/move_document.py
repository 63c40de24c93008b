"""Moves in plain JSON types, as a step plan tells them."""

from __future__ import annotations

from typing import Any, Literal

from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import Drop, Fetch, Forget, Land, Move, Prefetch, Shrink, Spill, Store, Unstage
from worldkv.chunks import Tier

When = Literal["begin", "first_pass", "commit"]
"""When a move is made: before the first pass, between the first and the second, or after the last."""

WINDOW, STAGING, SPARE, HOST, DISK = "window", "staging", "spare", "host", "disk"
"""Places by name; None is nowhere."""

_BANK = {Tier.SPARE: SPARE, Tier.HOST: HOST, Tier.DISK: DISK}


def move_document(move: Move, at: When) -> dict[str, Any]:
    """One move: `op`, `at`, `chunk`, `from`, `to`, `bytes`, and what its kind adds; docs/step-plans.md has the table.

    Args:
        move: what was moved.
        at: when.
    """
    match move:
        case Drop(chunk, num_bytes):
            return _told("drop", at, chunk, WINDOW, None, num_bytes)
        case Shrink(chunk, keep, freed_bytes):
            # Before a pass it is the cut to what the last commit stored, whose indices are told there.
            return _told("shrink", at, chunk, WINDOW, WINDOW, freed_bytes) | _kept(keep, has_indices=at == "commit")
        case Fetch(chunk, source, num_bytes, window_bytes):
            return _told("fetch", at, chunk, _BANK[source], WINDOW, num_bytes) | {"window_bytes": int(window_bytes)}
        case Prefetch(chunk, source, num_bytes, window_bytes):
            return _told("prefetch", at, chunk, _BANK[source], STAGING, num_bytes) | {"window_bytes": int(window_bytes)}
        case Land(chunk, num_bytes):
            return _told("land", at, chunk, STAGING, WINDOW, num_bytes)
        case Unstage(chunk, num_bytes):
            return _told("unstage", at, chunk, STAGING, None, num_bytes)
        case Store(chunk, keep, target, num_bytes):
            stored = _told("store", at, chunk, WINDOW, _BANK[target], num_bytes) | _kept(keep, has_indices=True)
            if isinstance(keep, Keep) and keep.stored_as is not None:
                stored["stored_as"] = keep.stored_as
            return stored
        case Spill(chunk, num_bytes, source, target):
            return _told("spill", at, chunk, _BANK[source], _BANK[target], num_bytes)
        case Forget(chunk, tier, num_bytes):
            return _told("forget", at, chunk, _BANK[tier], None, num_bytes)


def commit_document(chunk: int, tokens: int, num_bytes: int) -> dict[str, Any]:
    """The chunk just generated enters the window."""
    return _told("commit", "commit", chunk, None, WINDOW, num_bytes) | {"tokens": tokens}


def _told(op: str, at: When, chunk: int, source: str | None, target: str | None, num_bytes: int) -> dict[str, Any]:
    return {"op": op, "at": at, "chunk": int(chunk), "from": source, "to": target, "bytes": int(num_bytes)}


def _kept(keep: Keep | RaggedKeep, *, has_indices: bool) -> dict[str, Any]:
    """How many tokens are kept, of each latent frame too, and which, where that is known."""
    told: dict[str, Any] = {"tokens": int(keep.count), "frame_tokens": [float(n) for n in keep.frame_tokens]}
    if has_indices and keep.tokens is not None:
        named = keep.tokens
        told["kept"] = (
            [[head.tolist() for head in row] for row in named] if isinstance(named, tuple) else named.tolist()
        )
    return told
