"""Full KV: keep everything, attend everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.eviction.never_evict import NeverEvict
from worldkv.parts.eviction_only import FromEvictionRule


@dataclass(frozen=True)
class FullKV(FromEvictionRule):
    """Every chunk stays in the window; memory and time grow with the rollout. Source: the models' own default.

    What the others are measured against: its recall is 1 by definition, and speed-up is over its mean rate. After n
    chunks a step reads n chunks' keys and values, so a rollout's attention grows with the square of its length. It
    moves nothing, takes no parameters and cannot be resized; where it outgrows the room that was given, the table says
    from which chunk on.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("full-kv",)

    def make_rule(self) -> NeverEvict:
        """See `FromEvictionRule.make_rule`."""
        return NeverEvict()
