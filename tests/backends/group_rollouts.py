"""One rollout of random inputs, whole or as one rank's heads or branches, and the policies that are rolled out so."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from tests.backends.rollouts import PASSES, inputs, loop, open_cache
from tests.policies.all_policies import EVERY
from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.backend import Move, Shrink, Store
from worldkv.backends.cache import WorldCache
from worldkv.backends.group.rank_group import Split
from worldkv.config import CacheConfig
from worldkv.engine.state import StepRecord
from worldkv.geometry import CacheGeometry, ModelShape
from worldkv.parts import (
    AnchorPenalty,
    AttentionReceived,
    KeyDiff,
    LearnedUtility,
    Participation,
    ScoredTokens,
    SinkRecent,
    TokenPool,
    WholeChunk,
    WorldCompression,
)
from worldkv.parts.scorer.anchor_penalty import mean_difference, save_direction
from worldkv.policies import Composed, SelfPrunedKV
from worldkv.policy import CachePolicy, shape_of
from worldkv.signals import Signal
from worldkv.views import BankView, ChunkView, Query, WindowView

WHOLE = CacheGeometry(2, 8, 4, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
TWO_BRANCHES = dataclasses.replace(WHOLE, branches=2)
CHUNKS = 12


@dataclass(frozen=True)
class Neglected(CachePolicy):
    """Fetches the banked chunks that received least attention."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(3, 3).evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(tuple(bank.ids[np.argsort(bank.attention_mass, kind="stable")[:2]].tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        return WholeChunk().keep(chunk)


def policies(folder: Path) -> dict[str, CachePolicy]:
    """Every policy of the list but those bound to another model's files, and what there is of scores over heads."""
    direction, weights = str(folder / "direction.safetensors"), str(folder / "utility.safetensors")
    scorers = {
        "key-diff": KeyDiff(),
        "attention-received": AttentionReceived(3),
        "participation": Participation(),
        "anchor-penalty": AnchorPenalty(KeyDiff(), 0.7, direction),
    }
    return {
        **{name: policy for name, policy in EVERY.items() if shape_of(policy) == ModelShape()},
        "neglected": Neglected(),
        "sp-kv, trained": SelfPrunedKV(recent_frames=3, least_utility=0.5, utility=LearnedUtility(weights)),
        **{f"scored-tokens, {name}": Composed(compression=ScoredTokens(one, 0.4)) for name, one in scorers.items()},
        **{f"world-compression, {name}": Composed(compression=WorldCompression(0.4, True, one))
           for name, one in scorers.items()},
        **{f"token-pool, {name}": Composed(eviction=TokenPool(3, 6, one)) for name, one in scorers.items()},
    }  # fmt: skip


def write_weights(folder: Path) -> None:
    """The files that `policies` reads, of the whole model."""
    draw = np.random.default_rng(2)
    one, other = draw.standard_normal((2, WHOLE.layers, WHOLE.kv_heads, 9, WHOLE.head_dim))
    save_direction(mean_difference(one, other), folder / "direction.safetensors")
    shapes = {"w1": (2, 6, WHOLE.heads * WHOLE.head_dim), "b1": (2, 6), "w2": (2, 4, 6), "b2": (2, 4)}
    net = {name: 0.3 * draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save_file({**net, "b2": net["b2"] + np.array([[0, -9, 9, 0]], np.float32)}, folder / "utility.safetensors")


class Share(NamedTuple):
    """What of the whole this process holds: part `rank` of `size`."""

    rank: int = 0
    size: int = 1
    split: Split = "heads"
    group: Any = None

    @property
    def geometry(self) -> CacheGeometry:
        if self.split == "branches":
            return dataclasses.replace(TWO_BRANCHES, branches=2 // self.size)
        return dataclasses.replace(WHOLE, heads=8 // self.size, kv_heads=4 // self.size)

    def of(self, whole: Tensor) -> Tensor:
        """This process's part of `[B, S, H, D]`."""
        return whole.chunk(self.size, dim=0 if self.split == "branches" else 2)[self.rank]


class Step(NamedTuple):
    """What attention gave in all layers of all passes, and what was decided."""

    out: Tensor
    decided: dict[str, Any]
    keeps: list[tuple[int, Any]]


@functools.cache
def path() -> Any:
    return loop(WHOLE, CHUNKS)


def opened(policy: CachePolicy, share: Share, config: CacheConfig | None = None) -> WorldCache:
    return open_cache(policy, share.geometry, path(), group=share.group, split=share.split, config=config)


def generate(cache: WorldCache, share: Share, step: int) -> tuple[Tensor, StepRecord]:
    """One chunk: every process draws the whole and hands the cache its part."""
    whole = TWO_BRANCHES if share.split == "branches" else WHOLE
    cache.begin(path().views[step])
    outs = []
    for number in range(PASSES):
        for layer in range(whole.layers):
            q, k, v = inputs(whole, cache.dtype, step, number, layer)
            hidden = q.flatten(2) if share.split == "heads" else share.of(q).flatten(2)
            parts = [share.of(part) for part in (q, k, v)]
            outs.append(cache.attend(layer, *parts, clean=number == PASSES - 1, hidden=hidden))  # type: ignore[misc]
    return torch.stack(outs), cache.commit()


def noting_keeps(cache: WorldCache) -> list[tuple[int, Any]]:
    """A list that is filled with the tokens of every keep that is carried out."""
    kept: list[tuple[int, Any]] = []
    carry_out = cache.backend.apply

    def apply(moves: Sequence[Move]) -> None:
        carry_out(moves)
        for move in moves:
            if isinstance(move, Store | Shrink):
                tokens = move.keep.tokens
                of_heads = isinstance(tokens, tuple)
                kept.append((move.chunk, [[head.tolist() for head in row] for row in tokens] if of_heads else tokens))  # type: ignore[union-attr]

    cache.backend.apply = apply  # type: ignore[method-assign]
    return kept


def steps_of(policy: CachePolicy, share: Share, steps: int = CHUNKS) -> Iterator[Step]:
    """A rollout, chunk by chunk."""
    with opened(policy, share) as cache:
        kept = noting_keeps(cache)
        for step in range(steps):
            kept.clear()
            out, record = generate(cache, share, step)
            yield Step(out, decisions(record, cache), [(chunk, _plain(tokens)) for chunk, tokens in kept])


def decisions(record: StepRecord, cache: WorldCache) -> dict[str, Any]:
    """All that ranks must have in common of a step."""
    table = cache.engine.table
    return {
        "attended": record.plan.attended.tolist(),
        "attended_tokens": record.plan.attended_tokens,
        "retrieved": record.plan.retrieved,
        "evicted": record.evicted,
        "kept_tokens": record.kept_tokens,
        "discarded": record.discarded,
        "shrunk": record.shrunk,
        "shrunk_tokens": record.shrunk_tokens,
        "frame_tokens": table.columns["frame_tokens"][: len(table)].round(9).tolist(),
    }


def _plain(tokens: Any) -> Any:
    return tokens.tolist() if isinstance(tokens, np.ndarray) else tokens


def of_heads(kept: Any, share: Share) -> Any:
    """The part of a keep's tokens that a rank with some of the heads has: rows of heads are the second axis."""
    if share.split == "branches" or not kept or not isinstance(kept[0], list) or not isinstance(kept[0][0], list):
        return kept
    heads = WHOLE.kv_heads // share.size
    return [layer[share.rank * heads : (share.rank + 1) * heads] for layer in kept]


Kind = Literal["heads on 2", "heads on 4", "branches on 2"]
