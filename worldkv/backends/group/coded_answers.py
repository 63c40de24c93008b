"""Answers as bytes, without pickle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval

AnyKeep = Keep | RaggedKeep


def encoded(answer: Retrieval | Eviction | AnyKeep) -> bytes:
    """An answer as bytes: a line of JSON, then its tokens as 32-bit integers. Scores are left out."""
    arrays: list[NDArray[np.int64]] = []
    head = json.dumps(_plain(answer, arrays))
    return head.encode() + b"\n" + b"".join(array.astype(np.int32).tobytes() for array in arrays)


def decoded(data: bytes) -> Retrieval | Eviction | AnyKeep:
    """The answer that `encoded` made bytes of."""
    head, _, rest = data.partition(b"\n")
    tokens = np.frombuffer(rest, np.int32).astype(np.int64)
    plain = json.loads(head)
    if "ids" in plain:
        next_ids = plain["next_ids"]
        return Retrieval(tuple(plain["ids"]), None if next_ids is None else tuple(next_ids), plain["refreshed"])
    if "bank" in plain:
        shrink = {}
        for chunk, keep in plain["shrink"]:
            shrink[chunk], tokens = _keep_of(keep, tokens)
        return Eviction(tuple(plain["bank"]), tuple(plain["discard"]), shrink)
    return _keep_of(plain, tokens)[0]


def _plain(answer: Retrieval | Eviction | AnyKeep, arrays: list[NDArray[np.int64]]) -> dict[str, Any]:
    """An answer as JSON has it; its tokens go to `arrays`."""
    match answer:
        case Retrieval(ids, next_ids, refreshed):
            return {"ids": ids, "next_ids": next_ids, "refreshed": bool(refreshed)}
        case Eviction(bank, discard, shrink):
            keeps = [(int(chunk), _plain(keep, arrays)) for chunk, keep in shrink.items()]
            return {"bank": bank, "discard": discard, "shrink": keeps}
        case RaggedKeep(counts, frame_tokens, tokens):
            arrays += [head for layer in tokens or () for head in layer]
            return {"counts": counts.tolist(), "frame_tokens": list(map(float, frame_tokens)), "named": bool(tokens)}
        case Keep(count, frame_tokens, tokens, stored_bytes, stored_as):
            if tokens is not None:
                arrays.append(tokens)
            return {
                "count": int(count),
                "frame_tokens": list(map(float, frame_tokens)),
                "shape": None if tokens is None else tokens.shape,
                "stored_bytes": stored_bytes,
                "stored_as": stored_as,
            }


def _keep_of(plain: dict[str, Any], tokens: NDArray[np.int64]) -> tuple[AnyKeep, NDArray[np.int64]]:
    """A keep, and the tokens that are left for those after it."""
    frames = tuple(plain["frame_tokens"])
    if "counts" in plain:
        counts = np.array(plain["counts"], np.int64)
        if not plain["named"]:
            return RaggedKeep(counts, frames), tokens
        total = int(counts.sum())
        heads = np.split(tokens[:total], np.cumsum(counts.ravel())[:-1])
        width = counts.shape[1]
        rows = tuple(tuple(heads[layer * width : (layer + 1) * width]) for layer in range(len(counts)))
        return RaggedKeep(counts, frames, rows), tokens[total:]
    shape, named = plain["shape"], None
    if shape is not None:
        total = int(np.prod(shape))
        named, tokens = tokens[:total].reshape(shape), tokens[total:]
    return Keep(plain["count"], frames, named, plain["stored_bytes"], plain["stored_as"]), tokens
