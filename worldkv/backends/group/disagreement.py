"""The sentence about ranks that disagree, or of which one failed."""

from __future__ import annotations

import json
import os
from typing import Any

WHERE, FAILED = "where", "failed"
"""Keys of what a rank says: in which call or question it is, and the error it failed with."""
OPENING = "making the cache"
"""Where ranks meet first."""
_LONGEST, _BEFORE = 80, 30


def difference(said: list[dict[str, Any]]) -> str:
    """The sentence about ranks that failed or, if none did, about the first that says otherwise than rank 0."""
    for rank, one in enumerate(said):
        if FAILED in one:
            return f"rank {rank} failed in {one[WHERE]}: {one[FAILED]}; the others stop here: restore or end all ranks"
    first = said[0]
    rank, one = next((rank, one) for rank, one in enumerate(said) if one != first)
    if one[WHERE] != first[WHERE]:
        return (
            f"rank {rank} is in {one[WHERE]} where rank 0 is in {first[WHERE]}; all ranks must make the same calls, in "
            "the same order"
        )
    keys = [key for key in {**first, **one} if first.get(key) != one.get(key)]
    told = ", ".join(_told(key, rank, one.get(key), first.get(key)) for key in keys)
    cure = "make their caches alike"
    if one[WHERE] != OPENING:
        cure = (
            "give them the same viewpoints, and reduce what a policy of your own compares over heads (ChunkView.reduce)"
        )
    return f"rank {rank} differs from rank 0 in {one[WHERE]}: {told}; {cure}"


def _told(name: str, rank: int, other: object, first: object) -> str:
    """One thing that differs, from a little before the first letter in which it does."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (other, first)]
    if all(text.startswith("#") for text in texts):
        return f"other {name}"
    start = max(0, len(os.path.commonprefix(texts)) - _BEFORE)
    there, here = (f"{'...' * (start > 0)}{text[start : start + _LONGEST]}" for text in texts)
    return f"{name} is {there} on rank {rank} and {here} on rank 0"
