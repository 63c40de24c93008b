"""Index plus selector make a retrieval: the step every retrieving policy shares."""

from __future__ import annotations

from worldkv.answers import NOTHING_RETRIEVED, Retrieval
from worldkv.errors import SpecError
from worldkv.policy import CoverageIndex, CoverageSelector, Index, Selector
from worldkv.views import BankView, Query


def check_pair(index: Index | CoverageIndex, selector: Selector | CoverageSelector) -> None:
    """Refuse a selector that cannot take what the index gives.

    Raises:
        SpecError: one speaks of scores, the other of coverage.
    """
    if isinstance(index, Index) != isinstance(selector, Selector):
        gives, takes = ("scores", "coverage") if isinstance(index, Index) else ("coverage", "scores")
        raise SpecError(
            f"{type(index).__name__} gives {gives} but {type(selector).__name__} takes {takes}; "
            f"use {'top-k' if gives == 'scores' else 'greedy-coverage'}"
        )


def fetch(
    index: Index | CoverageIndex,
    selector: Selector | CoverageSelector,
    query: Query,
    bank: BankView,
    retrieved_frames: int,
) -> Retrieval:
    """The retrieval of at most `retrieved_frames` latent frames that `selector` makes of `index`."""
    chunks = retrieved_frames // query.geometry.frames_per_chunk
    if chunks == 0 or len(bank) == 0:
        return NOTHING_RETRIEVED
    if isinstance(index, Index) and isinstance(selector, Selector):
        scores = index.scores(query, bank)
        rows = selector.select(scores, query, bank, chunks)
        return Retrieval(tuple(bank.ids[rows].tolist()), scores=scores)
    assert isinstance(index, CoverageIndex) and isinstance(selector, CoverageSelector)
    coverage = index.coverage(query, bank)
    rows = selector.select(coverage, query, bank, chunks)
    return Retrieval(tuple(bank.ids[rows].tolist()), scores=coverage.sum(axis=1) / max(1, coverage.shape[1]))
