"""Several policies over one path, each at several sizes that the user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from worldkv.sim.budgets import Budget
from worldkv.sim.compare import Comparison, Contest, Execute, LeftOut, Row, run_entrant, share_of_oracle, simulated
from worldkv.sim.entrant import Entrant
from worldkv.sim.rollout import OnStep

Watch = Callable[[Entrant, Budget | None], OnStep]
"""Given who runs and at which budget (None for its own size), what to call after each of its steps."""


def compare_at_budgets(
    contest: Contest,
    entrants: Sequence[Entrant],
    budgets: Sequence[Budget],
    *,
    on_step: Watch | None = None,
    execute: Execute = simulated,
) -> Comparison:
    """Run every entrant at every budget; those whose size cannot be set run once, first, at their own.

    Args:
        contest: what they share.
        entrants: the policies, in table order.
        budgets: the sizes, in table order.
        on_step: see `Watch`.
        execute: who carries the rows out.

    Returns:
        The rows budget by budget, and who could not be made how small.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`; a budget that holds not even one chunk.
    """

    def run(entrant: Entrant, budget: Budget | None) -> Row:
        rollout = run_entrant(contest, entrant, None if on_step is None else on_step(entrant, budget), execute)
        tokens = None if budget is None else budget.tokens(geometry, num_chunks)
        return Row(entrant, rollout, budget=budget, budget_tokens=tokens)

    geometry, num_chunks = contest.geometry, contest.chunked.num_chunks
    result = Comparison(budgets=tuple(budgets))
    sizeable = [entrant for entrant in entrants if entrant.takes_budgets(geometry)]
    result.rows = [run(entrant, None) for entrant in entrants if entrant not in sizeable]
    for budget in budgets:
        tokens = budget.tokens(geometry, num_chunks)
        for entrant in sizeable:
            sized = entrant.resized(tokens, geometry)
            if sized is None:
                result.left_out.append(LeftOut(entrant.label, budget, tokens))
            else:
                result.rows.append(replace(run(sized, budget), is_matched=True))
    share_of_oracle(contest, result.rows)
    return result
