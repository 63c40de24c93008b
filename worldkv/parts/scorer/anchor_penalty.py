"""Anchor penalty: a token that points along a given direction is worth less, round any scorer."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError, WorldKVError
from worldkv.files import read_plain
from worldkv.geometry import ModelShape
from worldkv.parts.key_layers import key_layers
from worldkv.parts.scorer.key_diff import KeyDiff
from worldkv.policy import TokenScorer
from worldkv.views import ChunkView


@dataclass(frozen=True)
class AnchorPenalty(TokenScorer):
    """Score - penalty x range of scores x max(0, cosine of the key with the anchor direction of its layer).

    Heads and channels jointly make the cosine; the range is that of the layer's and head's scores. At penalty 0 it is
    its base, to the bit; below 0 it protects what it would suppress. The published formula is not known to us, this one
    is ours. Source: AnchorKV (arXiv 2606.17872), which scores keys against the difference of mean harmful and harmless
    keys; `mean_difference` makes and `save_direction` stores one.

    Attributes:
        base: the scorer whose scores are changed.
        penalty: what full alignment costs, as a share of the range of scores.
        direction: path of a safetensors file with `direction` `(layers, kv_heads, head_dim)` of the whole model (under
            a `reduce=` of one's own of this rank's heads); empty for none, which changes nothing.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("anchor-penalty",)

    base: TokenScorer = KeyDiff()
    penalty: float = 1.0
    direction: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite(self.penalty):
            raise SpecError(f"penalty must be a finite number, got {self.penalty}")
        if self.direction:
            load_direction(self.direction)

    @property
    def bound_to(self) -> ModelShape | None:
        """See `Part.bound_to`: the model whose keys the direction lies among."""
        return ModelShape(*load_direction(self.direction).shape) if self.direction else None

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`.

        Raises:
            SpecError: the direction is not of this model's shape.
        """
        from array_api_compat import array_namespace, device

        scores = self.base.token_scores(chunk)
        if self.penalty == 0 or not self.direction:
            return scores
        anchor = load_direction(self.direction)[:, chunk.heads or slice(None)]
        keys = chunk.keys
        if anchor.shape != (keys.shape[0], keys.shape[1], keys.shape[3]):
            raise SpecError(
                f"{self.direction}: the direction is {anchor.shape}, the model's keys are (layers, kv_heads, head_dim) "
                f"= {(keys.shape[0], keys.shape[1], keys.shape[3])}; compute it with this model"
            )
        xp = array_namespace(keys)
        along, scores = (xp.asarray(part, device=device(keys)) for part in (anchor, scores))
        # Per layer and token the dot product and the key's squared norm, over this rank's heads: (2, layers, tokens).
        # Ranks are summed before the cosine is taken; a direction has length 1, as `mean_difference` makes it.
        parts = [
            xp.stack([xp.sum(some * along[rows, :, None, :], axis=(1, 3)), xp.sum(some * some, axis=(1, 3))])
            for rows, some in key_layers(keys)
        ]
        sums = parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)
        if chunk.reduce is not None:
            sums = chunk.reduce(sums)
        cosine = sums[0, ...] / xp.sqrt(xp.clip(sums[1, ...], xp.finfo(xp.float32).smallest_normal))
        spread = xp.max(scores, axis=2, keepdims=True) - xp.min(scores, axis=2, keepdims=True)
        return scores - self.penalty * spread * xp.clip(cosine, 0.0)[:, None, :]


def mean_difference(harmful_keys: NDArray[Any], harmless_keys: NDArray[Any]) -> NDArray[np.float32]:
    """The direction from the mean of one set of keys to that of another, at length 1 in every layer.

    Args:
        harmful_keys: keys of tokens to suppress `(layers, kv_heads, tokens, head_dim)`.
        harmless_keys: keys of tokens to keep, in the same shape but for the number of tokens.

    Returns:
        `(layers, kv_heads, head_dim)`, of length 1 over heads and channels jointly.

    Raises:
        SpecError: the shapes differ, or the means are the same in a layer.
    """
    if harmful_keys.ndim != 4 or harmful_keys.shape[:2] + harmful_keys.shape[3:] != (
        harmless_keys.shape[:2] + harmless_keys.shape[3:]
    ):
        raise SpecError(
            f"both sets of keys must be (layers, kv_heads, tokens, head_dim), got {harmful_keys.shape} and "
            f"{harmless_keys.shape}"
        )
    apart = harmful_keys.mean(axis=2, dtype=np.float64) - harmless_keys.mean(axis=2, dtype=np.float64)
    length = np.sqrt((apart**2).sum(axis=(1, 2), keepdims=True))
    if (length == 0).any():
        raise SpecError(f"both sets of keys have the same mean in layer {int(np.argmin(length))}; take other prompts")
    direction: NDArray[np.float32] = (apart / length).astype(np.float32)
    return direction


def save_direction(direction: NDArray[np.float32], path: Path) -> None:
    """Write a direction, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors.numpy import save

    from worldkv.files import write_atomically

    write_atomically(path, save({"direction": np.ascontiguousarray(direction, np.float32)}))


@functools.lru_cache(maxsize=4)
def load_direction(path: str) -> NDArray[np.float32]:
    """The direction a file holds.

    Raises:
        SpecError: the file cannot be read, or holds no direction.
    """
    from safetensors.numpy import load

    try:
        found = load(read_plain(Path(path), SpecError)).get("direction")
    except WorldKVError:
        raise
    except Exception as error:  # KeyError, TypeError and more for headers that are not its own
        raise SpecError(f"{path} is no readable safetensors file of a direction: {error}") from None
    if found is None or found.ndim != 3 or not np.isfinite(found).all():
        raise SpecError(f"{path} must hold `direction` (layers, kv_heads, head_dim), finite numbers")
    direction: NDArray[np.float32] = found.astype(np.float32)
    return direction
