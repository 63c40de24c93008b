"""World Compression's similarity and what it does with ties, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.parts.test_world_compression import view
from worldkv.geometry import CacheGeometry
from worldkv.parts import key_layers
from worldkv.parts.compression.world_compression import WorldCompression
from worldkv.parts.scorer import unlike_anchor
from worldkv.parts.scorer.unlike_anchor import anchor_similarity
from worldkv.views import ChunkView


def ties_view(tokens_per_frame: int) -> ChunkView:
    """Keys of which, in each later frame, every third token is the anchor's opposite and all others are the anchor."""
    geometry = CacheGeometry(2, 1, 1, 4, tokens_per_frame, 1)
    keys = np.ones((2, 1, 3 * tokens_per_frame, 4), np.float32)
    keys[:, :, tokens_per_frame::3] = -1.0
    return view(geometry, keys)


@pytest.mark.parametrize("pooled", [False, True])
def test_among_equally_similar_tokens_the_first_are_kept(pooled: bool) -> None:
    frame = 300
    chunk = ties_view(frame)
    keep = WorldCompression(0.5, pooled).keep(chunk)
    assert keep.tokens is not None
    similar = [0] * frame + [-1 if t % 3 == 0 else 1 for t in range(2 * frame)]
    if pooled:
        chosen = sorted(sorted(range(frame, 3 * frame), key=lambda t: (similar[t], t))[:frame])
    else:
        frames = [range(frame, 2 * frame), range(2 * frame, 3 * frame)]
        chosen = [t for own in frames for t in sorted(sorted(own, key=lambda t: (similar[t], t))[: frame // 2])]
    assert keep.tokens.tolist() == [[*range(frame), *chosen]] * 2


def test_pooled_counts_of_a_frame_are_means_over_layers() -> None:
    geometry = CacheGeometry(2, 1, 1, 2, 2, 1)
    towards, away = [1.0, 0.0], [-1.0, 0.0]
    first = [towards, towards, away, away, towards, towards]  # both kept tokens from the middle frame
    second = [towards, towards, away, towards, towards, away]  # one from each
    keep = WorldCompression(0.5, pooled=True).keep(view(geometry, np.array([[first], [second]])))
    assert keep.tokens is not None
    assert keep.tokens.tolist() == [[0, 1, 2, 3], [0, 1, 2, 5]]
    assert keep.count == 4 and keep.frame_tokens == (2.0, 1.5, 0.5)
    assert WorldCompression(0.5, pooled=False).keep(view(geometry, np.array([[first], [second]]))).frame_tokens == (
        2,
        1,
        1,
    )


@pytest.mark.parametrize("at_a_time", [1, 2 * 2 * 36 * 8, 1 << 24])
def test_similarity_is_the_cosine_over_heads_and_channels_together(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_layers, "NUMBERS_AT_A_TIME", at_a_time)
    geometry = CacheGeometry(3, 2, 2, 8, 4, 3)
    keys = 5.0 * np.random.default_rng(4).normal(size=(3, 2, 36, 8)) + 1.0
    found = anchor_similarity(view(geometry, keys), 12)
    assert found.shape == (3, 36) and found.dtype == np.float32
    for layer in range(3):
        together = keys[layer].transpose(1, 0, 2).reshape(36, 16)
        centre = together[:12].mean(axis=0)
        expected = together @ centre / np.linalg.norm(together, axis=1) / np.linalg.norm(centre)
        np.testing.assert_allclose(found[layer], expected, atol=1e-6)


def test_keys_of_nothing_resemble_nothing() -> None:
    geometry = CacheGeometry(1, 1, 1, 2, 2, 1)
    keys = np.array([[[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]]], np.float32)
    assert anchor_similarity(view(geometry, keys), 2).tolist() == [[1, 1, 0, 1, 0, -1]]


class Noting:
    """A namespace that notes which of its functions are called."""

    def __init__(self, space: Any, calls: list[str]) -> None:
        self._space, self._calls = space, calls

    def __getattr__(self, name: str) -> Any:
        self._calls.append(name)
        return getattr(self._space, name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the namespaces asked for and the functions called in them."""
    import array_api_compat

    noted: list[str] = []
    ask = array_api_compat.array_namespace

    def note(*arrays: Any) -> Any:
        space = ask(*arrays)
        noted.append(space.__name__.rpartition(".")[2])
        return Noting(space, noted)

    monkeypatch.setattr(array_api_compat, "array_namespace", note)
    return noted


@pytest.mark.parametrize(
    ("numbers_for_numpy", "is_split", "wanted"),
    [(3 * 2 * 36 * 8, False, "numpy"), (3 * 2 * 36 * 8 - 1, False, "torch"), (1 << 20, True, "torch")],
    ids=["small", "one number too many", "summed over ranks"],
)
def test_only_small_keys_of_one_rank_are_taken_to_numpy(
    numbers_for_numpy: int, is_split: bool, wanted: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(unlike_anchor, "_NUMBERS_FOR_NUMPY", numbers_for_numpy)
    geometry = CacheGeometry(3, 2, 2, 8, 4, 3)
    keys = torch.from_numpy(np.random.default_rng(8).normal(size=(3, 2, 36, 8)).astype(np.float32))
    reduce = (lambda sums: sums) if is_split else None
    anchor_similarity(ChunkView(0, 1, geometry, (12.0, 12.0, 12.0), keys, reduce=reduce), 12)
    assert calls[0] == wanted


@pytest.mark.parametrize(("layers_that_fit", "groups"), [(0.5, 3), (1, 3), (1.99, 3), (2, 2), (3, 1), (99, 1)])
def test_layers_are_taken_together_only_as_far_as_they_fit(
    layers_that_fit: float, groups: int, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_layers, "NUMBERS_AT_A_TIME", int(layers_that_fit * 2 * 36 * 8))
    keys = np.random.default_rng(4).normal(size=(3, 2, 36, 8))
    anchor_similarity(view(CacheGeometry(3, 2, 2, 8, 4, 3), keys), 12)
    assert calls.count("mean") == groups
