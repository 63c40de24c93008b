"""The quantised bank counts one byte a number and one scale a channel, whatever it is put round."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldkv.answers import Keep, stored_bytes
from worldkv.errors import PolicyError, SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import QuantisedBank, ScoredTokens, WholeChunk, WorldCompression
from worldkv.policies import Composed
from worldkv.specs.parse import parse_policy
from worldkv.views import ChunkView

TINY, LINGBOT = PRESETS["tiny"], PRESETS["lingbot-world-fast-480p"]
WHOLE = ChunkView(0, 1, TINY, (16.0, 16.0, 16.0))


def test_bytes_by_counting_numbers_and_scales() -> None:
    counted = 0
    for _ in range(2 * TINY.branches * TINY.layers * TINY.kv_heads):
        for _ in range(TINY.head_dim):
            counted += 24 * 1 + 4  # tokens at a byte, one float32 scale
    assert stored_bytes(TINY, 24) == counted
    assert stored_bytes(LINGBOT, 4680) / LINGBOT.chunk_bytes == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("inner", [WholeChunk(), WorldCompression(0.25), ScoredTokens(keep_ratio=0.3)])
def test_it_keeps_what_the_inner_rule_keeps(inner: WholeChunk | WorldCompression | ScoredTokens) -> None:
    keys = np.random.default_rng(0).standard_normal((2, 2, 48, 16)).astype(np.float32)
    for chunk in (WHOLE, dataclasses.replace(WHOLE, keys=keys)):
        plain = inner.kept_tokens(chunk) if chunk.keys is None else inner.keep(chunk)
        rule = QuantisedBank(inner, "fp8")
        found = rule.kept_tokens(chunk) if chunk.keys is None else rule.keep(chunk)
        assert (found.count, found.frame_tokens) == (plain.count, plain.frame_tokens)
        assert (found.tokens is None and plain.tokens is None) or np.array_equal(found.tokens, plain.tokens)  # type: ignore[arg-type]
        assert found.stored_as == "fp8" and found.bytes(TINY) == stored_bytes(TINY, plain.count)
        assert found.window_bytes(TINY) == plain.window_bytes(TINY)
        found.check(48, TINY)


def test_a_keep_that_miscounts_is_refused() -> None:
    with pytest.raises(PolicyError, match="takes .* bytes .*got stored_bytes=7"):
        Keep(48, (16.0, 16.0, 16.0), None, 7, "int8").check(48, TINY)


def test_it_is_named_in_a_spec() -> None:
    spec = "composed:compression=quantised,inner=world-compression,keep_ratio=0.5,stored_as=fp8"
    assert parse_policy(spec) == Composed(compression=QuantisedBank(WorldCompression(0.5), "fp8"))
    with pytest.raises(SpecError, match="stored_as must be one of int8, fp8"):
        parse_policy("composed:compression=quantised,stored_as=int4")
