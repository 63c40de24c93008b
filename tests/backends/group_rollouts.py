"""One rollout of random inputs, whole or as one rank's heads or branches, and the policies that are rolled out so."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from tests.backends.retrieval_policies import Neglected
from tests.backends.rollouts import PASSES, inputs, loop, open_cache
from worldkv.backend import Move, Shrink, Store
from worldkv.backends.cache import WorldCache
from worldkv.backends.group.rank_group import Split
from worldkv.config import CacheConfig
from worldkv.engine.state import StepRecord
from worldkv.geometry import CacheGeometry
from worldkv.parts import (
    AnchorPenalty,
    KeyDiff,
    LearnedUtility,
    Lookahead,
    Participation,
    QuantisedBank,
    Rebased,
    ScoredTokens,
    WorldCompression,
)
from worldkv.parts.scorer.anchor_penalty import mean_difference, save_direction
from worldkv.policies import (
    H2O,
    ArkVale,
    AttentionOracle,
    Composed,
    DeepForcing,
    FlashMemory,
    KeyDiffKV,
    MeanKeyRetrieval,
    NoveltyAdmission,
    QuestBounds,
    SelfPrunedKV,
    SnapKV,
    WorldKV,
)
from worldkv.policy import CachePolicy

WHOLE = CacheGeometry(2, 8, 4, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
TWO_BRANCHES = dataclasses.replace(WHOLE, branches=2)
CHUNKS = 9
MEASURED = ("attention_mass", "key_mean", "key_min", "key_max")
DIRECTION, UTILITY = "direction.safetensors", "utility.safetensors"


def policies(folder: Path | None = None) -> dict[str, CachePolicy]:
    """Policies by what they read of keys, queries, attention and hidden states; with their files in `folder`."""
    files = [str(folder / name) if folder else "" for name in (DIRECTION, UTILITY)]
    direction, utility = AnchorPenalty(KeyDiff(), 0.7, files[0]), LearnedUtility(files[1])
    small: dict[str, Any] = {"sink_frames": 0, "retrieved_frames": 6, "recent_frames": 3}
    return {
        "worldkv": WorldKV(**small),
        "worldkv, pooled and rebased": WorldKV(**small, keep_ratio=0.3, pooled=True, positions=Rebased()),
        "mean-key": MeanKeyRetrieval(**small),
        "quest-bounds": QuestBounds(**small),
        "arkvale": ArkVale(**small),
        "flash-memory, lookahead": FlashMemory(
            sink_frames=0, retrieved_frames=6, recent_frames=3, least_score=0.5, index=Lookahead(layers=1, weight=2.0)
        ),
        "neglected": Neglected(),
        "h2o": H2O(recent_frames=6, heavy_frames=3),
        "h2o, by keys": H2O(recent_frames=3, heavy_frames=6, scorer=KeyDiff()),
        "deep-forcing": DeepForcing(sink_frames=3, middle_frames=3, recent_frames=3),
        "keydiff": KeyDiffKV(**small, keep_ratio=0.3),
        "snapkv": SnapKV(**small, keep_ratio=0.3),
        "scored-tokens, participation": Composed(compression=ScoredTokens(Participation(), 0.4)),
        "world-compression, anchor-penalty": Composed(compression=WorldCompression(0.4, True, direction)),
        "quantised": Composed(compression=QuantisedBank(WorldCompression(0.5), "int8"), retrieved_frames=6),
        "sp-kv": SelfPrunedKV(recent_frames=3, least_utility=0.5, utility=utility),
        "novelty-admission": NoveltyAdmission(recent_frames=3),
        "attention-oracle": AttentionOracle(retrieved_frames=6),
    }


ON_TWO = (
    "mean-key",
    "quest-bounds",
    "neglected",
    "h2o",
    "snapkv",
    "world-compression, anchor-penalty",
    "sp-kv",
    "novelty-admission",
)
"""Those of which two heads a rank say more than one: scores and counts that are means over heads."""
BY_BRANCH = ("worldkv", "quest-bounds", "h2o", "snapkv", "sp-kv")
"""One of every kind of answer: chunks, tokens of all heads, of layers and heads, and ragged ones."""


def write_weights(folder: Path) -> None:
    """The files that `policies` reads, of the whole model."""
    draw = np.random.default_rng(2)
    one, other = draw.standard_normal((2, WHOLE.layers, WHOLE.kv_heads, 9, WHOLE.head_dim))
    save_direction(mean_difference(one, other), folder / DIRECTION)
    shapes = {"w1": (2, 6, WHOLE.heads * WHOLE.head_dim), "b1": (2, 6), "w2": (2, 4, 6), "b2": (2, 4)}
    net = {name: 0.3 * draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save_file({**net, "b2": net["b2"] + np.array([[0, -9, 9, 0]], np.float32)}, folder / UTILITY)


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
    """What attention gave in all layers of all passes, what was decided, and what the chunk table says of keys."""

    out: Tensor
    decided: dict[str, Any]
    keeps: list[tuple[int, Any]]
    seen: list[Tensor]


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
            q, k, v = share.of(q * 3), share.of(k), share.of(v)  # attention with favourites
            outs.append(cache.attend(layer, q, k, v, number == PASSES - 1, hidden))
    return torch.stack(outs), cache.commit()


def prefilled(share: Share) -> Tensor:
    """What windows hold after a prefill of three chunks in one pass, by a kernel of one's own: sums of their tokens."""
    sums = []
    with opened(QuestBounds(sink_frames=0, retrieved_frames=3, recent_frames=3), share) as cache:
        for step, views in enumerate([path().views[:3], *path().views[3:6]]):
            cache.begin(views)
            for number, layer in itertools.product(range(2), range(WHOLE.layers)):
                drawn = [
                    inputs(WHOLE, cache.dtype, 100 + step, number, layer, part) for part in range(1 if step else 3)
                ]
                q, k, v = (share.of(torch.cat(parts, dim=1)) for parts in zip(*drawn, strict=True))
                keys, values = cache.window(layer, k, v, queries=q)
                sums.append(torch.stack([keys.sum(1), values.sum(1)]))
            cache.commit()
    return torch.stack(sums)


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
            columns, rows = cache.engine.table.columns, len(cache.engine.table)
            seen = [torch.tensor(columns[name][:rows]) for name in MEASURED if name in columns]
            yield Step(out, decisions(record, cache), [(chunk, _plain(tokens)) for chunk, tokens in kept], seen)


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
