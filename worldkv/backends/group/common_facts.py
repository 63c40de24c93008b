"""What of an answer ranks with other heads have in common, and what of it is a mean over heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.engine.ranks import Answer, digest

AnyKeep = Keep | RaggedKeep


def common_facts(answer: Retrieval | Eviction | AnyKeep) -> dict[str, Any]:
    """What ranks that hold other heads must answer alike, as JSON has it; arrays of tokens as digests.

    A keep that names tokens head by head has only its counts in common, a ragged one nothing but that it is one.
    """
    match answer:
        case Retrieval(ids, next_ids, refreshed):
            return {"ids": list(ids), "next_ids": list(next_ids or ()), "refreshed": bool(refreshed)}
        case Eviction(bank, discard, shrink):
            keeps = {f"shrink {chunk}": common_facts(keep) for chunk, keep in shrink.items()}
            return {"bank": list(bank), "discard": list(discard), "shrink": list(map(int, shrink)), **keeps}
        case RaggedKeep():
            return {"kind": "ragged"}
        case Keep(count, frame_tokens, tokens, stored_bytes, stored_as):
            facts = {"count": int(count), "stored_bytes": stored_bytes, "stored_as": stored_as}
            if _is_by_head(answer):
                return {**facts, "tokens": "by head"}
            named = "all" if tokens is None else digest(tokens.astype(np.int64))
            return {**facts, "tokens": named, "frame_tokens": list(map(float, frame_tokens))}


def own_means(answer: Retrieval | Eviction | AnyKeep) -> NDArray[np.float64]:
    """What of the answer is a mean over this rank's heads: of each keep by head tokens a frame, and tokens in all."""
    keeps = [keep for keep in _keeps(answer) if _is_by_head(keep)]
    return np.array([[*keep.frame_tokens, _mean_of(keep)] for keep in keeps], np.float64).ravel()


def with_means(answer: Answer, means: NDArray[np.float64]) -> Answer:
    """The answer with the means of all ranks in place of its own, in the order of `own_means`."""
    left = list(means.tolist())

    def take(keep: AnyKeep) -> AnyKeep:
        if not _is_by_head(keep):
            return keep
        frames = tuple(left.pop(0) for _ in keep.frame_tokens)
        mean = left.pop(0)
        if isinstance(keep, RaggedKeep):
            return dataclasses.replace(keep, frame_tokens=frames, mean_count=mean)
        return dataclasses.replace(keep, frame_tokens=frames)

    return _with_keeps(answer, take)


def _is_by_head(keep: AnyKeep) -> bool:
    return isinstance(keep, RaggedKeep) or (keep.tokens is not None and keep.tokens.ndim == 3)


def _mean_of(keep: AnyKeep) -> float:
    return keep.mean if isinstance(keep, RaggedKeep) else float(keep.count)


def _keeps(answer: Retrieval | Eviction | AnyKeep) -> list[AnyKeep]:
    match answer:
        case Retrieval():
            return []
        case Eviction():
            return list(answer.shrink.values())
        case _:
            return [answer]


def _with_keeps(answer: Answer, change: Callable[[AnyKeep], AnyKeep]) -> Answer:
    match answer:
        case Retrieval():
            return answer
        case Eviction():
            return answer._replace(shrink={chunk: change(keep) for chunk, keep in answer.shrink.items()})
        case _:
            return change(answer)
