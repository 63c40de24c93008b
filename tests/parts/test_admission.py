"""Admission against its rule, token by token and head by head in plain Python; utilities that are functions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from worldkv.answers import Eviction, RaggedKeep
from worldkv.chunks import ChunkTable
from worldkv.errors import PolicyError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Admission, LearnedUtility, Novelty, ScoredBy
from worldkv.policies import Composed, NoveltyAdmission, SelfPrunedKV, WorldKV
from worldkv.policy import CachePolicy, needs_of
from worldkv.signals import Signal, Viewpoint
from worldkv.specs.parse import parse_policy, spec_of
from worldkv.testing import check_policy
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.replay_code import replay_code
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial, rollout_difference
from worldkv.views import ChunkView, WindowView

GEOMETRY = CacheGeometry(2, 4, 2, 4, 2, 3, frames_per_chunk=3, rope_frames=1 << 16)
TOKENS, HIDDEN, CHANNELS = GEOMETRY.chunk_tokens, 5, 6
HEADS = [(layer, head) for layer in range(2) for head in range(2)]


def network(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    shapes = {"w1": (2, HIDDEN, CHANNELS), "b1": (2, HIDDEN), "w2": (2, 2, HIDDEN), "b2": (2, 2)}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def utility_of(net: dict[str, Any], hidden: Any, layer: int, head: int, token: int) -> float:
    """The utility of one token in one head, a product at a time."""
    total = float(net["b2"][layer, head])
    for unit in range(HIDDEN):
        inner = float(net["b1"][layer, unit])
        for channel in range(CHANNELS):
            inner += float(net["w1"][layer, unit, channel]) * float(hidden[layer, token, channel])
        total += float(net["w2"][layer, head, unit]) * inner / (1 + math.exp(-inner))
    return 1 / (1 + math.exp(-total))


def leaving(policy: CachePolicy, seed: int, step: int = 5) -> tuple[Eviction, ChunkView]:
    """What becomes of the chunk that has just ceased to be recent, and the chunk."""
    draw = np.random.default_rng(seed)
    keys = draw.standard_normal((2, 2, TOKENS, 4), np.float32)
    hidden = draw.standard_normal((2, TOKENS, CHANNELS), np.float32)
    table = ChunkTable(GEOMETRY, frozenset())
    for _ in range(step):
        table.append(Viewpoint(), None)

    def shown(chunk: int) -> ChunkView:
        return ChunkView(chunk, step, GEOMETRY, (6.0,) * 3, keys, hidden=hidden)

    eviction = policy.evict(WindowView(table, slice(0, step), frozenset({Signal.HIDDEN_STATE}), shown))
    return eviction, shown(step - 3)


def expect(found: Eviction, chunk: ChunkView, admitted: dict[tuple[int, int], list[int]]) -> None:
    """Every head keeps the tokens that are its own; a chunk of which no head keeps any is gone."""
    if not any(admitted.values()):
        assert found == Eviction(discard=(chunk.id,))
        return
    assert (found.bank, found.discard, list(found.shrink)) == ((), (), [chunk.id])
    keep = found.shrink[chunk.id]
    assert isinstance(keep, RaggedKeep) and keep.tokens is not None
    keep.check(TOKENS, GEOMETRY)
    for layer, head in HEADS:
        assert keep.tokens[layer][head].tolist() == admitted[layer, head]
        assert keep.counts[layer, head] == len(admitted[layer, head])
    for frame in range(3):
        inside = sum(6 * frame <= token < 6 * frame + 6 for tokens in admitted.values() for token in tokens)
        assert keep.frame_tokens[frame] == pytest.approx(inside / 4)


@pytest.mark.parametrize("least", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_sp_kv_by_a_trained_network(tmp_path: Path, seed: int, least: float) -> None:
    net, file = network(seed), tmp_path / "utility.safetensors"
    save_file(net, file)
    found, chunk = leaving(SelfPrunedKV(6, least, LearnedUtility(str(file))), seed)
    utilities = {
        (*place, token): utility_of(net, chunk.hidden, *place, token) for place in HEADS for token in range(TOKENS)
    }
    assert min(abs(utility - least) for utility in utilities.values()) > 1e-5, "no rounding decides"
    admitted = {place: [t for t in range(TOKENS) if utilities[*place, t] >= least] for place in HEADS}
    assert len({len(tokens) for tokens in admitted.values()}) > 1, "heads differ"
    expect(found, chunk, admitted)


def test_a_utility_of_exactly_the_threshold_is_admitted(tmp_path: Path) -> None:
    """Where w2 and b2 are 0 the utility is one half, to the bit."""
    net, file = network(0), tmp_path / "utility.safetensors"
    for name in ("w2", "b2"):
        net[name][1, 0] = 0
    save_file(net, file)
    scorer = LearnedUtility(str(file))
    found, chunk = leaving(SelfPrunedKV(6, 0.5, scorer), 0)
    keep = found.shrink[chunk.id]
    assert isinstance(keep, RaggedKeep) and keep.counts[1, 0] == TOKENS
    drawn = sorted(scorer.token_scores(chunk)[0, 1].tolist())
    found, _ = leaving(SelfPrunedKV(6, drawn[4], scorer), 0)
    keep = found.shrink[chunk.id]
    assert isinstance(keep, RaggedKeep) and keep.counts[0, 1] == TOKENS - 4, "the fifth is the threshold itself"


# ---------------------------------------------------------------------- a function in the place of a network


def likes_even_tokens(chunk: ChunkView) -> Any:
    """0.9 for every other token of the first head, by hidden state for the second."""
    scores = np.full(chunk.keys.shape[:3], 0.2, np.float32)
    scores[:, 0, ::2] = 0.9
    scores[:, 1:] = chunk.hidden[:, None, :, 0] > 0
    return scores


def test_a_function_is_a_utility() -> None:
    for policy in (
        SelfPrunedKV(utility=likes_even_tokens),
        SelfPrunedKV(utility=lambda chunk: likes_even_tokens(chunk)),
        Composed(eviction=Admission(utility=likes_even_tokens)),
    ):
        found, chunk = leaving(policy, 3)
        admitted = {}
        for layer in range(2):
            admitted[layer, 0] = list(range(0, TOKENS, 2))
            admitted[layer, 1] = [token for token in range(TOKENS) if chunk.hidden[layer, token, 0] > 0]
        expect(found, chunk, admitted)
        assert Signal.HIDDEN_STATE in needs_of(policy)


def test_a_policy_with_a_function_is_a_value_as_any_other() -> None:
    policy = SelfPrunedKV(utility=likes_even_tokens)
    assert policy == SelfPrunedKV(utility=likes_even_tokens)
    assert hash(policy) == hash(SelfPrunedKV(utility=likes_even_tokens))
    assert policy != SelfPrunedKV(utility=lambda chunk: likes_even_tokens(chunk))
    assert check_policy(policy, examples=2).passed
    assert "import likes_even_tokens\n" in replay_code(PolicyUnderTest(policy), "retrieve_fits", None)
    aside = SelfPrunedKV(utility=lambda chunk: chunk.keys)
    assert replay_code(PolicyUnderTest(aside), "retrieve_fits", None).startswith(
        "# SelfPrunedKV is made inside a function"
    )
    said = spec_of(policy)
    assert said == f"sp-kv:utility={__name__}:likes_even_tokens"
    with pytest.raises(SpecError, match=r"has no policy or index 'likes_even_tokens'"):
        parse_policy(said)
    with pytest.raises(SpecError):
        parse_policy(spec_of(Composed(eviction=Admission(utility=likes_even_tokens))))


def test_a_function_of_keys_says_so() -> None:
    by_keys = ScoredBy(lambda chunk: Novelty().token_scores(chunk), frozenset())
    assert needs_of(SelfPrunedKV(utility=by_keys)) == frozenset()
    same = [
        Trial(policy, Scenario(MotionScript((Move(1.0),) * 9), GEOMETRY, has_keys=True)).run().records
        for policy in (NoveltyAdmission(), SelfPrunedKV(utility=by_keys))
    ]
    assert rollout_difference(*same, bytes_too=True) is None


def test_what_is_no_utility_is_refused() -> None:
    with pytest.raises(SpecError, match=r"must be a scorer or a function of a ChunkView, got 0.5; take Nov"):
        SelfPrunedKV(utility=0.5)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"make one of the class: add \(\)"):
        Admission(utility=Novelty)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"must score \(layers, kv_heads, tokens\) = \(2, 2, 18\).*got shape \(18,\)"):
        leaving(SelfPrunedKV(utility=lambda chunk: chunk.keys[0, 0, :, 0]), 0)


# ---------------------------------------------------------------------- admission among the parts of composed


@pytest.mark.parametrize("least", [0.45, 0.55])
def test_composed_admits_as_the_policy_of_it(least: float) -> None:
    composed = parse_policy(f"composed:eviction=admission,least_utility={least}")
    assert composed == Composed(eviction=Admission(6, least))
    rollouts = [
        Trial(policy, Scenario(MotionScript((Move(1.0, 10.0),) * 12), GEOMETRY, has_keys=True, seed=4)).run().records
        for policy in (NoveltyAdmission(6, least), composed)
    ]
    assert rollout_difference(*rollouts, bytes_too=True) is None
    assert any(record.shrunk or record.discarded for record in rollouts[1])


def test_who_is_ragged_is_said_by_the_parts() -> None:
    assert Composed(eviction=Admission()).ragged and SelfPrunedKV().ragged and NoveltyAdmission().ragged
    assert not Composed().ragged and not WorldKV().ragged
