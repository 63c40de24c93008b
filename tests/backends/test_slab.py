"""Slabs: rooms of any lengths never meet, and what comes back can be cut again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worldkv.backends.bank.slab import ALIGNED_BYTES, Slab


@given(st.data(), st.sampled_from([torch.float32, torch.bfloat16, torch.uint8]))
def test_rooms_keep_what_is_written_to_them(data: st.DataObject, dtype: torch.dtype) -> None:
    unit = ALIGNED_BYTES // dtype.itemsize
    slab, rooms, number = Slab(torch.zeros(12 * unit, dtype=dtype)), dict[int, Tensor](), 0
    for _ in range(data.draw(st.integers(1, 30))):
        if len(rooms) > 0 and data.draw(st.booleans()):
            slab.give_back(rooms.pop(data.draw(st.sampled_from(sorted(rooms)))))
        else:
            number += 1
            elements = data.draw(st.integers(1, 5 * unit))
            room = slab.cut(elements)
            if room is not None:
                assert room.shape == (elements,)
                assert (room.data_ptr() - slab.memory.data_ptr()) % ALIGNED_BYTES == 0
                rooms[number] = room.fill_(number)
        for held, room in rooms.items():
            assert (room == held).all()
        assert slab.free_elements == 12 * unit - sum(-(-room.numel() // unit) * unit for room in rooms.values())
    for room in rooms.values():
        slab.give_back(room)
    assert slab.fits(12 * unit) == 1  # all gaps have joined


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_rooms_of_one_length_fill_it_to_the_end(order: tuple[int, ...]) -> None:
    unit = ALIGNED_BYTES // 4
    slab = Slab(torch.empty(9 * unit)[unit:])
    rooms = [slab.cut(2 * unit - 5) for _ in range(4)]
    assert all(room is not None and slab.holds(room) for room in rooms)
    assert (slab.fits(1), slab.free_elements, slab.cut(1)) == (0, 0, None)
    for at in order:
        slab.give_back(rooms[at])  # type: ignore[arg-type]
    again = [slab.cut(2 * unit) for _ in range(4)]
    assert sorted(room.data_ptr() for room in again if room is not None) == sorted(r.data_ptr() for r in rooms)  # type: ignore[union-attr]
    assert slab.num_bytes == 8 * ALIGNED_BYTES
    assert not slab.holds(torch.empty(3))


def test_the_smallest_gap_that_fits_is_cut() -> None:
    unit = ALIGNED_BYTES // 4
    slab = Slab(torch.empty(10 * unit))
    first, _, third, _ = (slab.cut(length * unit) for length in (3, 1, 2, 1))
    assert first is not None
    assert third is not None
    slab.give_back(first)
    slab.give_back(third)
    again = slab.cut(2 * unit)
    assert again is not None
    assert again.data_ptr() == third.data_ptr()
