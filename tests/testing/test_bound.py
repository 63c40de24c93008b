"""A policy that loads a file of one model is checked in shapes of that model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, ModelShape
from worldkv.parts import Admission, AnchorPenalty, LearnedUtility, PoseIndex, ScoredTokens
from worldkv.parts.scorer.anchor_penalty import save_direction
from worldkv.policies import Composed, SelfPrunedKV, WorldKV
from worldkv.policy import shape_of
from worldkv.testing import examine
from worldkv.testing.keyed_backend import keyed_backend
from worldkv.testing.kit import put_under_test
from worldkv.testing.policy_under_test import GEOMETRIES, PolicyUnderTest

SOME = ["answers_on_every_path", "keep_is_well_formed", "declares_what_it_reads"]
"""Checks with rollouts, the quickest; the list of all policies gets every one."""


@pytest.fixture
def direction(tmp_path: Path) -> str:
    """Of a model of 3 layers, 5 KV heads and 6 channels."""
    path = tmp_path / "direction.safetensors"
    save_direction(np.random.default_rng(0).standard_normal((3, 5, 6)).astype(np.float32), path)
    return str(path)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """Of a model of 4 layers, 3 KV heads and 10 hidden channels."""
    draw, path = np.random.default_rng(0), tmp_path / "weights.safetensors"
    shapes = {"w1": (4, 2, 10), "b1": (4, 2), "w2": (4, 3, 2), "b2": (4, 3)}
    save_file({name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}, path)
    return str(path)


def test_what_is_bound_says_to_what(direction: str, weights: str) -> None:
    assert shape_of(WorldKV()) == shape_of(PoseIndex()) == shape_of(SelfPrunedKV()) == ModelShape()
    assert shape_of(SelfPrunedKV(utility=LearnedUtility(weights))) == ModelShape(4, 3, None, 10)
    assert shape_of(Composed(compression=ScoredTokens(AnchorPenalty(direction=direction)))) == ModelShape(3, 5, 6)


def test_shapes_are_changed_where_they_are_bound() -> None:
    tiny = PRESETS["tiny"]
    assert ModelShape().of(tiny) is ModelShape(2, 2, 16, 99).of(tiny) is tiny
    for shape in GEOMETRIES:
        bound = ModelShape(3, 5, None).of(shape)
        assert (bound.layers, bound.kv_heads, bound.head_dim) == (3, 5, shape.head_dim)
        assert bound.heads / bound.kv_heads == shape.heads / shape.kv_heads
        assert (bound.chunk_tokens, bound.branches) == (shape.chunk_tokens, shape.branches)


def test_the_kit_checks_it_in_shapes_of_that_model(direction: str, weights: str) -> None:
    for spec, layers in (
        (f"sp-kv:weights={weights}", 4),
        (f"composed:eviction=admission,utility=learned-utility,weights={weights}", 4),
        (f"composed:compression=scored-tokens,scorer=anchor-penalty,penalty=0.7,direction={direction}", 3),
        (f"h2o:recent_frames=6,heavy_frames=3,scorer=anchor-penalty,base=attention-received,direction={direction}", 3),
    ):
        report = examine(spec, examples=1, only=SOME)
        assert {finding.status for finding in report.findings} == {"passed"}, str(report)
        assert {shape.layers for shape in put_under_test(spec).geometries} == {layers}


def test_hidden_states_are_as_wide_as_the_file(weights: str) -> None:
    policy = SelfPrunedKV(utility=LearnedUtility(weights))
    shape = PolicyUnderTest(policy).geometries[0]
    backend = keyed_backend(policy, shape, 0, True)
    for twin in (backend, backend.fork()):
        shown = twin.tensors(0)
        assert shown is not None and shown.hidden.shape == (4, shape.chunk_tokens, 10)


def test_files_of_two_models_are_refused(direction: str, weights: str) -> None:
    policy = Composed(
        eviction=Admission(utility=LearnedUtility(weights)),
        compression=ScoredTokens(AnchorPenalty(direction=direction)),
    )
    with pytest.raises(SpecError, match="files are of different models: layers is 4 in one and 3 in another"):
        shape_of(policy)
    report = examine(policy, examples=1, only=SOME)
    assert not report.passed and "take files of one model" in str(report)


def test_a_scorer_is_checked_alone() -> None:
    report = examine("key-diff", examples=1, only=SOME)
    assert report.passed
    assert PolicyUnderTest(LearnedUtility()).policy == Composed(compression=ScoredTokens(LearnedUtility()))
