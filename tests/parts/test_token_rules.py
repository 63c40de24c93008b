"""Token scorers and the compressions that keep by them, against their rules token by token."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts import (
    AnchorOnly,
    AnchorPenalty,
    AttentionReceived,
    KeyDiff,
    LearnedUtility,
    Novelty,
    Participation,
    ScoredTokens,
    UnlikeAnchor,
    WorldCompression,
)
from worldkv.parts.scorer.anchor_penalty import load_direction, mean_difference, save_direction
from worldkv.policy import TokenScorer
from worldkv.views import ChunkView

GEOMETRY = CacheGeometry(2, 4, 2, 6, 2, 3, frames_per_chunk=2)
TOKENS = GEOMETRY.chunk_tokens
SEEDS = st.integers(0, 2**32 - 1)
PLACES = [(layer, head) for layer in range(2) for head in range(2)]


def chunk(seed: int) -> ChunkView:
    draw = np.random.default_rng(seed)
    keys, query = draw.standard_normal((2, 2, TOKENS, 6)), draw.standard_normal((2, 2, 6))
    mass, hidden = draw.random((2, 2, TOKENS)), draw.standard_normal((2, TOKENS, 5))
    whole = (float(GEOMETRY.tokens_per_frame),) * 2
    single = [part.astype(np.float32) for part in (keys, mass, hidden, query)]
    return ChunkView(3, 5, GEOMETRY, whole, single[0], None, single[1], single[2], query_summary=single[3])


def unit(vector: Any) -> Any:
    return np.asarray(vector, float) / math.sqrt(sum(float(x) ** 2 for x in np.ravel(vector)))


@given(SEEDS)
def test_key_diff_and_novelty(seed: int) -> None:
    shown = chunk(seed)
    found, novel = KeyDiff().token_scores(shown), Novelty().token_scores(shown)
    for layer, head in PLACES:
        keys = [unit(key) for key in shown.keys[layer, head]]
        centre = unit(sum(keys))
        for token in range(TOKENS):
            cosine = float(keys[token] @ centre)
            assert found[layer, head, token] == pytest.approx(-cosine, abs=1e-5)
            assert novel[layer, head, token] == pytest.approx((1 - cosine) / 2, abs=1e-5)


@given(SEEDS, st.sampled_from((1, 3, 7)))
def test_attention_received_and_its_greatest_neighbour(seed: int, pooled: int) -> None:
    shown = chunk(seed)
    found = AttentionReceived(pooled).token_scores(shown)
    for layer, head in PLACES:
        for token in range(TOKENS):
            near = range(max(0, token - pooled // 2), min(TOKENS, token + pooled // 2 + 1))
            assert found[layer, head, token] == max(shown.attention_mass[layer, head, other] for other in near)


@given(SEEDS)
def test_participation_is_the_raw_product(seed: int) -> None:
    shown = chunk(seed)
    found = Participation().token_scores(shown)
    for layer, head in PLACES:
        for token in range(TOKENS):
            raw = sum(float(shown.query_summary[layer, head, d] * shown.keys[layer, head, token, d]) for d in range(6))
            assert found[layer, head, token] == pytest.approx(raw, abs=1e-5)
    assert not Participation().token_scores(dataclasses.replace(shown, query_summary=None)).any()


@given(SEEDS, st.sampled_from((0.05, 0.4, 1.0)))
def test_the_highest_scored_share_is_kept_in_every_head(seed: int, ratio: float) -> None:
    shown = chunk(seed)
    keep, count = ScoredTokens(KeyDiff(), ratio).keep(shown), math.ceil(ratio * TOKENS)
    scores = KeyDiff().token_scores(shown)
    assert keep.tokens is not None and keep.count == count == ScoredTokens(KeyDiff(), ratio).kept_tokens(shown).count
    for layer, head in PLACES:
        best = sorted(range(TOKENS), key=lambda token: (-float(scores[layer, head, token]), token))[:count]
        assert keep.tokens[layer, head].tolist() == sorted(best)
    first = [sum(token < GEOMETRY.tokens_per_frame for token in keep.tokens[place]) for place in PLACES]
    assert keep.frame_tokens == pytest.approx((np.mean(first), count - np.mean(first)))


@dataclasses.dataclass(frozen=True)
class Coarse(TokenScorer):
    """Attention above a half or not: many tokens tie."""

    def token_scores(self, chunk: ChunkView) -> Any:
        return np.floor(chunk.attention_mass * 2)


@given(SEEDS, st.sampled_from((0.05, 0.4, 0.7)))
def test_of_equal_scores_the_older_tokens_are_kept(seed: int, ratio: float) -> None:
    shown, count = chunk(seed), math.ceil(ratio * TOKENS)
    keep = ScoredTokens(Coarse(), ratio).keep(shown)
    assert keep.tokens is not None
    for place in PLACES:
        halves = [math.floor(2 * mass) for mass in shown.attention_mass[place].tolist()]
        best = sorted(range(TOKENS), key=lambda token: (-halves[token], token))[:count]
        assert keep.tokens[place].tolist() == sorted(best)


def test_only_the_anchor_frame() -> None:
    keep = AnchorOnly().keep(chunk(0))
    assert (keep.count, keep.frame_tokens) == (6, (6.0, 0.0))
    assert keep.tokens is not None and keep.tokens.tolist() == list(range(6))


# ---------------------------------------------------------------------- a trained utility


def network(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    shapes = {"w1": (2, 7, 5), "b1": (2, 7), "w2": (2, 2, 7), "b2": (2, 2)}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_learned_utility_neuron_by_neuron(tmp_path: Path) -> None:
    shown, net, file = chunk(1), network(2), tmp_path / "u.safetensors"
    save_file(net, file)
    found = LearnedUtility(str(file)).token_scores(shown)
    for layer, head in PLACES:
        for token in range(TOKENS):
            total = float(net["b2"][layer, head])
            for n in range(7):
                inner = float(net["b1"][layer, n] + net["w1"][layer, n] @ shown.hidden[layer, token])
                total += float(net["w2"][layer, head, n]) * inner / (1 + math.exp(-inner))
            assert found[layer, head, token] == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-5)
    start = LearnedUtility().token_scores(shown)
    assert start == pytest.approx(1 / (1 + math.exp(-5))), "where training starts: all is admitted"


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    net = network(0)
    for name, arrays, said in (
        ("other", {"w1": net["w1"]}, "must hold w1"),
        ("torn", {**net, "b2": np.zeros((2, 3), np.float32)}, "do not fit together"),
    ):
        save_file(arrays, tmp_path / f"{name}.safetensors")
        with pytest.raises(SpecError, match=said):
            LearnedUtility(str(tmp_path / f"{name}.safetensors"))
    with pytest.raises(SpecError, match="cannot be read"):
        LearnedUtility(str(tmp_path / "missing.safetensors"))
    (tmp_path / "odd.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]")
    for load in (LearnedUtility, load_direction):
        with pytest.raises(SpecError, match="no readable safetensors"):
            load(str(tmp_path / "odd.safetensors"))
        with pytest.raises(SpecError, match="is a (device|folder)"):
            load("/dev/zero" if os.path.exists("/dev/zero") else str(tmp_path))
    wide = {**net, "w1": np.zeros((2, 7, 9), np.float32)}
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(SpecError, match="do not fit a model of 2 layers, 2 kv_heads and 5 channels"):
        LearnedUtility(str(tmp_path / "wide.safetensors")).token_scores(chunk(0))


# ---------------------------------------------------------------------- a penalty along a direction


@settings(max_examples=25)
@given(SEEDS, st.sampled_from((-1.5, 0.5, 3.0)))
def test_aligned_tokens_lose_a_share_of_the_range(tmp_path_factory: Any, seed: int, penalty: float) -> None:
    draw = np.random.default_rng(seed)
    bad, good = draw.standard_normal((2, 2, 9, 6)), draw.standard_normal((2, 2, 4, 6))
    direction = mean_difference(bad, good)
    for layer in range(2):
        apart = np.array([[bad[layer, h, :, d].mean() - good[layer, h, :, d].mean() for d in range(6)] for h in (0, 1)])
        assert direction[layer] == pytest.approx(unit(apart), abs=1e-5)
    file = tmp_path_factory.mktemp("direction") / "d.safetensors"
    save_direction(direction, file)
    shown = chunk(seed)
    base = KeyDiff().token_scores(shown)
    found = AnchorPenalty(KeyDiff(), penalty, str(file)).token_scores(shown)
    for layer, head in PLACES:
        spread = float(base[layer, head].max() - base[layer, head].min())
        for token in range(TOKENS):
            cosine = float(np.ravel(unit(shown.keys[layer, :, token])) @ np.ravel(direction[layer]))
            expected = float(base[layer, head, token]) - penalty * spread * max(0.0, cosine)
            assert found[layer, head, token] == pytest.approx(expected, abs=1e-4)
    plain = ScoredTokens(KeyDiff(), 0.5).keep(shown).tokens
    for same in (AnchorPenalty(KeyDiff(), 0.0, str(file)), AnchorPenalty(KeyDiff(), 1.0)):
        assert same.token_scores(shown).tobytes() == base.tobytes(), "to the bit"
        assert np.array_equal(ScoredTokens(same, 0.5).keep(shown).tokens, plain)  # type: ignore[arg-type]


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 1.5, -1.0])
def test_world_compression_under_a_penalty(tmp_path: Path, penalty: float, pooled: bool) -> None:
    """The anchor frame is whole whatever it costs; of the others the least like it, less the penalty, are kept."""
    direction, file = mean_difference(*np.random.default_rng(4).standard_normal((2, 2, 2, 9, 6))), tmp_path / "d.st"
    save_direction(direction, file)
    geometry = dataclasses.replace(GEOMETRY, frames_per_chunk=3)
    keys = np.random.default_rng(5).standard_normal((2, 2, 18, 6)).astype(np.float32)
    shown = ChunkView(0, 1, geometry, (6.0,) * 3, keys)
    rule = WorldCompression(0.5, pooled, AnchorPenalty(UnlikeAnchor(), penalty, str(file)))
    found = rule.keep(shown).tokens
    assert found is not None
    for layer in range(2):
        flat = [np.ravel(keys[layer, :, token]).astype(float) for token in range(18)]
        centre = unit(sum(flat[:6]))
        plain = [-float(unit(key) @ centre) for key in flat]
        spread = max(plain) - min(plain)
        aligned = [max(0.0, float(unit(key) @ np.ravel(direction[layer]))) for key in flat]
        scores = [score - penalty * spread * cosine for score, cosine in zip(plain, aligned, strict=True)]
        groups = [range(6, 18)] if pooled else [range(6, 12), range(12, 18)]
        best = [sorted(group, key=lambda token: -scores[token])[: len(group) // 2] for group in groups]
        assert found[layer].tolist() == [*range(6), *sorted(token for group in best for token in group)]
    if penalty == 0:
        assert np.array_equal(found, WorldCompression(0.5, pooled).keep(shown).tokens)  # type: ignore[arg-type]


def test_heads_split_over_ranks_agree_on_the_penalty(tmp_path: Path) -> None:
    """Each rank holds one head of keys and direction; products and norms are summed before the cosine."""
    shown, base = chunk(6), WorldCompression(0.5).scorer
    direction = mean_difference(*np.random.default_rng(7).standard_normal((2, 2, 2, 9, 6)))
    save_direction(direction, tmp_path / "whole.st")
    whole = AnchorPenalty(base, 2.0, str(tmp_path / "whole.st")).token_scores(shown)
    ranks = []
    for head in range(2):
        save_direction(direction[:, head : head + 1], tmp_path / f"{head}.st")
        ranks.append(AnchorPenalty(base, 2.0, str(tmp_path / f"{head}.st")))
    sums: dict[int, list[Any]] = {}

    def ask(head: int, reduce: Any) -> Any:
        return ranks[head].token_scores(dataclasses.replace(shown, keys=shown.keys[:, head : head + 1], reduce=reduce))

    for head in range(2):  # once to hear what each has to say, in its order, and once with the sums
        said: list[Any] = []
        ask(head, lambda part, said=said: said.append(part) or part)
        sums[head] = said
    for head in range(2):
        said = []
        first = ask(head, lambda part, said=said: said.append(part) or sums[0][len(said) - 1] + sums[1][len(said) - 1])
        assert np.asarray(first) == pytest.approx(np.asarray(whole), abs=1e-5)


def test_directions_that_are_none_are_refused(tmp_path: Path) -> None:
    keys = np.ones((2, 2, 3, 6))
    with pytest.raises(SpecError, match="same mean in layer 0"):
        mean_difference(keys, keys)
    with pytest.raises(SpecError, match="must be"):
        mean_difference(keys, np.ones((2, 1, 3, 6)))
    save_file({"arrow": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(SpecError, match="must hold `direction`"):
        AnchorPenalty(direction=str(tmp_path / "a.safetensors"))
    save_direction(np.ones((3, 2, 6), np.float32), tmp_path / "b.safetensors")
    with pytest.raises(SpecError, match="compute it with this model"):
        AnchorPenalty(direction=str(tmp_path / "b.safetensors")).token_scores(chunk(0))


def test_parameters_out_of_range_are_refused() -> None:
    for make in (
        lambda: AttentionReceived(2),
        lambda: ScoredTokens(keep_ratio=0),
        lambda: AnchorPenalty(penalty=math.nan),
    ):
        with pytest.raises(SpecError):
            make()
