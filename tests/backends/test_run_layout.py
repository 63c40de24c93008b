"""The layout of the run against a plain list of places."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from worldkv.backends.window.run_layout import MOST_EXTENTS, Copy, RunLayout

Token = tuple[int, int]


class Memory:
    """Places that hold tokens, and what each chunk should consist of."""

    def __init__(self) -> None:
        self.places: list[Token | None] = [None] * 5000
        self.chunks: dict[int, list[Token]] = {}

    def carry_out(self, copies: Iterable[Copy]) -> None:
        for target, source, tokens in copies:
            assert target + tokens <= source or source + tokens <= target, "a copy overlaps itself"
            self.places[target : target + tokens] = self.places[source : source + tokens]

    def fill(self, layout: RunLayout, chunk: int, tokens: list[Token]) -> None:
        self.chunks[chunk] = tokens
        for place, token in zip(layout.places(chunk), tokens, strict=True):
            self.places[place] = token

    def check(self, layout: RunLayout) -> None:
        assert list(layout.extents.keys() ^ self.chunks.keys()) == []
        assert layout.length == sum(map(len, self.chunks.values()))
        taken = sorted(place for chunk in self.chunks for place in layout.places(chunk).tolist())
        assert taken == list(range(layout.length)), "the run has a hole"
        for chunk, tokens in self.chunks.items():
            assert [self.places[place] for place in layout.places(chunk)] == tokens
            assert layout.tokens(chunk) == len(tokens)


@given(st.data())
def test_the_run_is_whole_and_every_chunk_in_its_order(data: st.DataObject) -> None:
    layout, memory, number = RunLayout(), Memory(), 0
    for _ in range(data.draw(st.integers(1, 25))):
        fates = {chunk: data.draw(st.sampled_from(["stay", "stay", "go", "cut"])) for chunk in memory.chunks}
        gone = [chunk for chunk, fate in fates.items() if fate == "go"]
        cut = {}
        for chunk in (chunk for chunk, fate in fates.items() if fate == "cut"):
            tokens = memory.chunks[chunk]
            kept = data.draw(st.lists(st.sampled_from(tokens), min_size=1, unique=True).map(sorted))
            for place, token in zip(layout.places(chunk), kept, strict=False):
                memory.places[place] = token  # what is kept stands at the chunk's first places when `update` is asked
            cut[chunk], memory.chunks[chunk] = len(kept), kept
        arriving = {}
        for _ in range(data.draw(st.integers(0, 2))):
            arriving[number] = data.draw(st.integers(1, 12))
            number += 1
        for chunk in gone:
            del memory.chunks[chunk]
        memory.carry_out(layout.update(gone, cut, arriving))
        if data.draw(st.booleans()):
            arriving[number] = data.draw(st.integers(1, 12))
            layout.append(number, arriving[number])
            number += 1
        for chunk, count in arriving.items():
            memory.fill(layout, chunk, [(chunk, token) for token in range(count)])
        memory.check(layout)
        for chunk in layout.scattered():
            for copies in layout.gather(chunk):
                memory.carry_out(copies)
            assert len(layout.extents[chunk]) == 1
        memory.check(layout)


def test_an_arrival_takes_the_hole_it_fits_and_nothing_moves() -> None:
    layout = RunLayout()
    for chunk, tokens in enumerate([10, 4, 10, 6, 10]):
        layout.append(chunk, tokens)
    assert layout.update([1, 3], {}, {7: 6, 8: 4}) == []
    assert (layout.extents[7], layout.extents[8]) == ([(24, 6)], [(10, 4)])


def test_a_hole_is_filled_with_the_last_tokens_only() -> None:
    layout = RunLayout()
    for chunk in range(4):
        layout.append(chunk, 10)
    assert layout.update([0], {}, {}) == [Copy(0, 30, 10)]
    assert layout.extents == {1: [(10, 10)], 2: [(20, 10)], 3: [(0, 10)]}
    assert layout.update([], {1: 4}, {}) == [Copy(14, 24, 6)]
    assert layout.extents == {1: [(10, 4)], 2: [(20, 4), (14, 6)], 3: [(0, 10)]}


def test_a_chunk_in_many_pieces_is_named() -> None:
    layout = RunLayout()
    for chunk in range(2 * MOST_EXTENTS + 2):
        layout.append(chunk, 1)
    layout.append(99, 2 * MOST_EXTENTS + 2)
    layout.update([chunk for chunk in range(2 * MOST_EXTENTS + 2) if chunk % 2], {}, {})
    assert layout.scattered() == [99]
    assert len(layout.extents[99]) > MOST_EXTENTS


def test_a_twin_goes_its_own_way() -> None:
    layout = RunLayout()
    layout.append(0, 5)
    twin = layout.copy()
    twin.update([0], {}, {1: 3})
    assert layout.extents == {0: [(0, 5)]} and layout.length == 5
    assert twin.extents == {1: [(0, 3)]} and twin.length == 3
