"""Index plus selector make a retrieval: the step every retrieving policy shares."""

from __future__ import annotations

import numpy as np

from worldkv.answers import NOTHING_RETRIEVED, Retrieval
from worldkv.errors import PolicyError, SpecError
from worldkv.policy import (
    Ask,
    CoverageIndex,
    CoverageSelector,
    Index,
    Part,
    RetrievalWrapper,
    ScoreWrapper,
    Selector,
    Wrapper,
)
from worldkv.pose import Array
from worldkv.views import BankView, Query


def check_pair(index: Index | CoverageIndex, selector: Selector | CoverageSelector) -> None:
    """Refuse a selector that cannot take what the index gives.

    Raises:
        SpecError: one speaks of scores, the other of coverage.
    """
    if isinstance(index, Index) != isinstance(selector, Selector):
        raise _unfit(index, selector)


def fetch(
    index: Index | CoverageIndex,
    selector: Selector | CoverageSelector,
    query: Query,
    bank: BankView,
    retrieved_frames: int,
    wrappers: tuple[Wrapper, ...] = (),
) -> Retrieval:
    """The retrieval of at most `retrieved_frames` latent frames that `selector` makes of `index`.

    Args:
        index: judges every row of `bank`.
        selector: picks among them.
        query: the step's query.
        bank: the banked chunks.
        retrieved_frames: latent frames fetched at most.
        wrappers: parts round both, outermost first.

    Raises:
        PolicyError: the index's answer has the wrong shape, or scores that are not finite.
        SpecError: the selector cannot take what the index gives.
    """
    chunks = retrieved_frames // query.geometry.frames_per_chunk
    if chunks == 0 or len(bank) == 0:
        return NOTHING_RETRIEVED

    ask: Ask = lambda query, bank: _picked(index, selector, query, bank, chunks, wrappers)  # noqa: E731
    for wrapper in reversed(wrappers):
        if isinstance(wrapper, RetrievalWrapper):
            ask = _wrapped(wrapper, ask)
    return ask(query, bank)


def _wrapped(wrapper: RetrievalWrapper, ask: Ask) -> Ask:
    return lambda query, bank: wrapper.retrieve(query, bank, ask)


def _picked(
    index: Index | CoverageIndex,
    selector: Selector | CoverageSelector,
    query: Query,
    bank: BankView,
    chunks: int,
    wrappers: tuple[Wrapper, ...],
) -> Retrieval:
    """What the selector picks, from what the index and every `ScoreWrapper` say."""
    added: Array | None = None
    for wrapper in wrappers:
        if isinstance(wrapper, ScoreWrapper):
            with np.errstate(over="ignore"):  # refused by name, in a sentence
                added_here = wrapper.added(query, bank)
            more = _checked(wrapper, "added", added_here, query, bank)
            added = more if added is None else added + more
    if isinstance(index, Index) and isinstance(selector, Selector):
        scores = _checked(index, "scores", index.scores(query, bank), query, bank)
        if added is not None:
            spread = float(scores.max() - scores.min())
            scores = scores + (spread or 1.0) * added
        rows = selector.select(scores, query, bank, chunks)
        return Retrieval(tuple(bank.ids[rows].tolist()), scores=scores)
    if not isinstance(index, CoverageIndex) or not isinstance(selector, CoverageSelector):
        raise _unfit(index, selector)
    coverage = index.coverage(query, bank)
    if coverage.ndim != 2 or len(coverage) != len(bank) or coverage.dtype != np.bool_:
        raise PolicyError(
            f"{type(index).__name__}.coverage must be booleans ({len(bank)} chunks, points), got "
            f"{coverage.dtype} {coverage.shape} at step {query.step}"
        )
    rows = selector.select(coverage, query, bank, chunks, added)
    bits = np.packbits(coverage, axis=1)
    shares = np.bitwise_count(bits).sum(axis=1) / max(1, coverage.shape[1])
    return Retrieval(tuple(bank.ids[rows].tolist()), scores=shares if added is None else shares + added)


def _unfit(index: Index | CoverageIndex, selector: Selector | CoverageSelector) -> SpecError:
    gives, takes = ("scores", "coverage") if isinstance(index, Index) else ("coverage", "scores")
    return SpecError(
        f"{type(index).__name__} gives {gives} but {type(selector).__name__} takes {takes}; "
        f"use {'top-k' if gives == 'scores' else 'greedy-coverage'}"
    )


def _checked(part: Part, method: str, scores: Array, query: Query, bank: BankView) -> Array:
    """Numbers that can be ranked: one finite one a row."""
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(bank),):
        raise PolicyError(
            f"{type(part).__name__}.{method} must be one number for each of {len(bank)} banked chunks, got shape "
            f"{scores.shape} at step {query.step}"
        )
    if not np.isfinite(scores).all():
        chunk = int(bank.ids[~np.isfinite(scores)][0])
        raise PolicyError(
            f"{type(part).__name__}.{method} must be finite, chunk {chunk} is not at step {query.step}; look for "
            "a division by zero, or a number that is too large"
        )
    return scores
