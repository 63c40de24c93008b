"""Window budgets as users write them: `10%`, `32760`, `7chunks`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry

_WORD = re.compile(r"(?P<amount>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>%|chunks?|tokens?|)")

MOST = 2**40
"""Chunks or tokens; more than any memory holds."""

Unit = Literal["%", "chunks", "tokens"]


@dataclass(frozen=True)
class Budget:
    """The most tokens a step attends, its own chunk included.

    Attributes:
        word: as the user wrote it.
        amount: how many units; a share is in percent.
        unit: `%` of what full KV attends at a path's last step, whole chunks, or tokens.
    """

    word: str
    amount: Fraction
    unit: Unit

    def tokens(self, geometry: CacheGeometry, num_chunks: int) -> int:
        """Tokens on a path of `num_chunks` chunks; a share is rounded down to whole chunks, but is at least one.

        Raises:
            SpecError: a number of tokens that does not hold the chunk being generated.
        """
        if self.unit == "%":
            return max(1, int(self.amount * num_chunks / 100)) * geometry.chunk_tokens
        if self.unit == "chunks":
            return int(self.amount) * geometry.chunk_tokens
        if self.amount < geometry.chunk_tokens:
            raise SpecError(
                f"budget {self.word} does not hold the chunk being generated, {geometry.chunk_tokens:,} tokens of "
                f"{geometry.name}; give more tokens, a share such as 10% or a count such as 7chunks"
            )
        return int(self.amount)


def parse_budget(word: str) -> Budget:
    """Parse one budget, such as `10%`.

    Raises:
        SpecError: no number, a share outside 0 to 100 %, a part of a chunk or token, or an empty word.
    """
    match = _WORD.fullmatch(word.strip())
    if match is None:
        raise SpecError(
            f"a budget is a share such as 10%, chunks such as 7chunks, or tokens such as 32760, got {word!r}"
        )
    amount, letter = Fraction(match["amount"]), match["unit"][:1]
    unit: Unit = "%" if letter == "%" else "chunks" if letter == "c" else "tokens"
    if unit == "%" and not 0 < amount <= 100:
        raise SpecError(
            f"a budget's share must be over 0% and at most 100%, got {word!r}; 100% is what full KV attends"
        )
    if unit != "%" and (amount.denominator != 1 or not 1 <= amount <= MOST):
        raise SpecError(f"a budget counts whole {unit}, 1 to {MOST:,}, got {word!r}; write 7chunks, 32760 or 10%")
    return Budget("".join(word.split()), amount, unit)


def parse_budgets(text: str) -> tuple[Budget, ...]:
    """Parse several budgets, such as `5%,10%,7chunks`: each size once, in the order given.

    Raises:
        SpecError: see `parse_budget`.
    """
    found: dict[tuple[Fraction, Unit], Budget] = {}
    for budget in map(parse_budget, text.split(",")):
        found.setdefault((budget.amount, budget.unit), budget)
    return tuple(found.values())
