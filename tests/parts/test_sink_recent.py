"""The window of sink and recent frames, against a set of ids; the answers of the rules that do nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldkv.answers import NOTHING_LEAVES, Eviction
from worldkv.chunks import ChunkTable
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import NeverEvict, SinkRecent, WholeChunk, WorldCompression
from worldkv.parts.eviction.sink_recent import recent_chunks
from worldkv.signals import Viewpoint
from worldkv.views import ChunkView, WindowView

TINY = PRESETS["tiny"]


def window_of(ids: list[int], step: int) -> WindowView:
    table = ChunkTable(TINY, frozenset())
    for _ in range(step):
        table.append(Viewpoint(), None)
    return WindowView(table, np.asarray(ids, np.int64), frozenset(), lambda chunk: pytest.fail("nobody looks inside"))


@given(
    sink=st.integers(0, 4),
    recent=st.integers(0, 4),
    step=st.integers(1, 12),
    gone=st.sets(st.integers(0, 11)),
    to_bank=st.booleans(),
)
def test_what_is_neither_sink_nor_recent_leaves(
    sink: int, recent: int, step: int, gone: set[int], to_bank: bool
) -> None:
    rule = SinkRecent(3 * sink, 3 * recent, to_bank)
    ids = [chunk for chunk in range(step) if chunk not in gone]
    stays = {chunk for chunk in range(step) if chunk < sink or chunk >= step - recent}
    leaves = tuple(chunk for chunk in ids if chunk not in stays)
    assert rule.evict(window_of(ids, step)) == (Eviction(bank=leaves) if to_bank else Eviction(discard=leaves))
    assert rule.pinned(step, TINY).tolist() == sorted(stays)


def test_a_step_that_nobody_leaves_is_the_shared_answer() -> None:
    """The engine knows it by identity and looks no further."""
    assert SinkRecent(3, 6).evict(window_of([0, 1, 2], 3)) is NOTHING_LEAVES
    assert SinkRecent(3, 6).evict(window_of([0, 5, 6], 7)) is NOTHING_LEAVES
    assert NeverEvict().evict(window_of([0, 1, 2], 3)) is NOTHING_LEAVES
    assert NeverEvict().pinned(9, TINY).tolist() == []


@pytest.mark.parametrize(
    ("settings", "got"), [((4, 6), "sink_frames {} 4; take 3 or 6"), ((3, 7), "recent_frames {} 7; take 6 or 9")]
)
def test_frames_that_are_no_whole_chunks_are_refused_by_their_name(settings: tuple[int, int], got: str) -> None:
    with pytest.raises(SpecError) as caught:
        SinkRecent(*settings).pinned(9, TINY)
    assert str(caught.value) == got.format("must be whole chunks of 3 latent frames, got")


@pytest.mark.parametrize("name", ["sink_frames", "recent_frames"])
def test_fewer_than_no_frames_are_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        SinkRecent(**{name: -3})  # type: ignore[arg-type]
    assert str(caught.value) == f"{name} must be at least 0 latent frames, got -3"
    assert SinkRecent(0, 0).pinned(5, TINY).tolist() == []


def test_a_chunk_stored_whole_is_what_it_has_now() -> None:
    view = ChunkView(3, 7, TINY, (16.0, 5.0, 2.0))
    for keep in (WholeChunk().keep(view), WholeChunk().kept_tokens(view)):
        assert (keep.count, keep.frame_tokens, keep.tokens) == (23, (16.0, 5.0, 2.0), None)


def test_the_defaults_are_the_papers_and_the_promises_are_what_the_rules_do() -> None:
    assert SinkRecent() == SinkRecent(sink_frames=3, recent_frames=6, to_bank=True)
    assert WorldCompression() == WorldCompression(keep_ratio=0.25, pooled=False)
    assert (SinkRecent().is_bounded, NeverEvict().is_bounded) == (True, False)
    assert WholeChunk().keeps_anchor and WorldCompression().keeps_anchor


def test_recent_frames_that_are_no_whole_chunks_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"^recent_frames "):
        recent_chunks(4, 10, PRESETS["tiny"])
    assert recent_chunks(6, 10, PRESETS["tiny"]).tolist() == [8, 9]
