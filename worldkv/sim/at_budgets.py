"""Run several policies along one trajectory at the window sizes that the user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from worldkv.sim.budgets import Budget
from worldkv.sim.candidate import Candidate
from worldkv.sim.compare import (
    ComparedRows,
    ComparisonSetup,
    Execute,
    LeftOut,
    Row,
    run_candidate,
    share_of_oracle,
    simulated,
)
from worldkv.sim.rollout import OnStep

Watch = Callable[[Candidate, Budget | None], OnStep]
"""Makes the callback of a row's steps from its candidate and budget (None: the candidate's own size)."""


def compare_at_budgets(
    setup: ComparisonSetup,
    candidates: Sequence[Candidate],
    budgets: Sequence[Budget],
    *,
    on_step: Watch | None = None,
    execute: Execute = simulated,
) -> ComparedRows:
    """Run every candidate at every budget; those whose size cannot be set run once, first, at their own.

    Args:
        setup: trajectory, cache shape, machine and room of all rows.
        candidates: the policies, in table order.
        budgets: the sizes, in table order.
        on_step: makes each row's callback; see `Watch`.
        execute: runs one row, by simulation or on tensors.

    Returns:
        The rows budget by budget, and the policies left out of a budget that is too small for them.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`; a budget that holds not even one chunk.
    """

    def run(candidate: Candidate, budget: Budget | None) -> Row:
        rollout = run_candidate(setup, candidate, None if on_step is None else on_step(candidate, budget), execute)
        tokens = None if budget is None else budget.tokens(geometry, num_chunks)
        return Row(candidate, rollout, budget=budget, budget_tokens=tokens)

    geometry, num_chunks = setup.geometry, setup.chunked.num_chunks
    result = ComparedRows(setup, budgets=tuple(budgets))
    sizeable = [candidate for candidate in candidates if candidate.takes_budgets(geometry)]
    result.rows = [run(candidate, None) for candidate in candidates if candidate not in sizeable]
    for budget in budgets:
        tokens = budget.tokens(geometry, num_chunks)
        for candidate in sizeable:
            sized = candidate.resized(tokens, geometry)
            if sized is None:
                result.left_out.append(LeftOut(candidate.label, budget, tokens))
            else:
                result.rows.append(replace(run(sized, budget), is_matched=True))
    share_of_oracle(setup, result.rows)
    return result
