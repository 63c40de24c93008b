"""Windows of one length: which of their tokens are to be attended."""

from __future__ import annotations

from torch import Tensor

from worldkv.errors import PolicyError


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
