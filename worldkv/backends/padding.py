"""Windows of one length: which of their tokens are to be attended."""

from __future__ import annotations

from torch import Tensor

from worldkv.errors import PolicyError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy


def check_pad_to(pad_to: int, policy: CachePolicy, geometry: CacheGeometry) -> None:
    """Refuse a length that no window can have.

    Raises:
        SpecError: no whole number, less than a chunk, or the policy's heads have windows of their own.
    """
    if isinstance(pad_to, bool) or not isinstance(pad_to, int) or pad_to < geometry.chunk_tokens:
        raise SpecError(
            f"pad_to must be a whole number of tokens, at least the {geometry.chunk_tokens} of a chunk, got {pad_to!r}"
        )
    if policy.ragged:
        raise SpecError(
            f"{type(policy).__name__} keeps other tokens in every head, which no window of one length holds; leave "
            "pad_to out"
        )


def mark_valid(valid: Tensor, tokens: int) -> None:
    """Mark the first `tokens` of a window of `len(valid)` as those to attend, in place.

    Raises:
        PolicyError: the step attends more.
    """
    if tokens > len(valid):
        raise PolicyError(
            f"the step attends {tokens} tokens, more than pad_to = {len(valid)}; raise pad_to, or take a policy whose "
            "window is bounded"
        )
    valid[:tokens] = True
    valid[tokens:] = False
