"""KeyDiff: tokens whose keys are unlike the rest carry what the rest does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from worldkv.parts.key_layers import key_layers
from worldkv.policy import TokenScorer
from worldkv.views import ChunkView


@dataclass(frozen=True)
class KeyDiff(TokenScorer):
    """Score = - cosine of a token's key with the mean direction of the chunk's keys, per layer and head.

    The mean is that of the keys at unit length. Needs neither queries nor attention. Source: KeyDiff (arXiv
    2504.15364).

    Published for a prompt's whole cache; here the mean is one chunk's, since a chunk is compressed once, when it is
    banked. Whether positions count among the differences is the model's affair: keys are scored as they were given to
    the cache.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("key-diff",)

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`."""
        from array_api_compat import array_namespace

        xp, scores = array_namespace(chunk.keys), []
        for _, keys in key_layers(chunk.keys):
            unit = normalised(keys, xp)
            centre = normalised(xp.mean(unit, axis=2, keepdims=True), xp)
            scores.append(-xp.sum(unit * centre, axis=3))
        return scores[0] if len(scores) == 1 else xp.concat(scores, axis=0)


def normalised(vectors: Any, xp: Any) -> Any:
    """Vectors along the last axis at length 1; a vector of nothing stays one.

    Args:
        vectors: `(..., channels)`, floating.
        xp: their array-API namespace.
    """
    length = xp.sqrt(xp.sum(vectors * vectors, axis=-1, keepdims=True))
    return vectors / xp.clip(length, xp.finfo(vectors.dtype).smallest_normal)
