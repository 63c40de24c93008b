"""Configuration of a cache: budgets of its tiers, and what happens where they do not suffice."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from worldkv.errors import check_choice
from worldkv.tiers import FILE_BYTES, TierLimits

WhenLost = Literal["error", "go-on"]
"""What happens when a banked chunk cannot be stored or read back."""


@dataclass(frozen=True)
class CacheConfig:
    """How much room the cache has.

    Attributes:
        window_budget_bytes: most the window may hold, the current chunk included; None for no budget.
        over_budget: "error" refuses a plan over it, "flag" lets it pass and notes the first step.
        limits: capacities of the bank's tiers.
        staging_chunks: whole chunks of device memory kept for prefetching.
        rewind_chunks: how many of the last chunks `rewind` can take back; what the bank forgot in them is held so long
            within `limits`, see `bank_limits`.
        when_lost: what happens when a banked chunk cannot be stored or read back: "error" stops, "go-on" discards it
            and asks the policy again.
    """

    window_budget_bytes: int | None = None
    over_budget: Literal["error", "flag"] = "error"
    limits: TierLimits = TierLimits()
    staging_chunks: int = 2
    rewind_chunks: int = 0
    when_lost: WhenLost = "error"

    def bank_limits(self, chunk_bytes: int) -> TierLimits:
        """What of `limits` the bank itself may fill, where a whole chunk has `chunk_bytes`.

        A bank that forgets its oldest chunks leaves room for as many as `rewind` may bring back, one a step and one
        for an open step, but never more than half of a limit, nor the room of its only chunk.
        """
        limits, steps = self.limits, self.rewind_chunks + 1
        if not self.rewind_chunks or limits.when_full != "forget-oldest":
            return limits
        if limits.host_bytes is None or limits.disk_bytes is None:
            return limits  # nothing is ever forgotten for want of room
        host, disk = (
            max(whole - steps * chunk, whole // 2, min(whole, chunk))
            for whole, chunk in ((limits.host_bytes, chunk_bytes), (limits.disk_bytes, chunk_bytes + FILE_BYTES))
        )
        return dataclasses.replace(limits, host_bytes=host, disk_bytes=disk)

    def __post_init__(self) -> None:
        check_choice("when_lost", self.when_lost, get_args(WhenLost))
        check_choice("over_budget", self.over_budget, ("error", "flag"))
