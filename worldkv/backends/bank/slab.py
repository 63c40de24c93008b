"""A slab: one piece of memory, allocated once, from which flat rooms of any length are cut and given back to."""

from __future__ import annotations

from torch import Tensor

ALIGNED_BYTES = 256
"""Rooms start at multiples of this, from the slab's own start: what a device's copies like best."""


class Slab:
    """Rooms of one flat tensor. It allocates nothing, and is not told what device it is on.

    The smallest gap that fits is cut; a room that comes back joins the gaps beside it. So rooms of one length never
    leave gaps that are too short, and rooms of several lengths leave few. Not safe for threads by itself.

    Attributes:
        memory: flat, of the dtype of its rooms.
    """

    def __init__(self, memory: Tensor) -> None:
        """A slab over `memory`, all of it free."""
        self.memory = memory
        self._unit = max(1, ALIGNED_BYTES // memory.itemsize)
        self._gaps = [(0, memory.numel())]  # start and end, ascending, no two of them neighbours
        self._first = int(memory.storage_offset())

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole slab."""
        return self.memory.numel() * self.memory.itemsize

    @property
    def free_elements(self) -> int:
        """Numbers in no room."""
        return sum(end - start for start, end in self._gaps)

    def fits(self, elements: int) -> int:
        """How many rooms of `elements` numbers could be cut now."""
        return sum((end - start) // self._length(elements) for start, end in self._gaps)

    def cut(self, elements: int) -> Tensor | None:
        """A room of `elements` numbers, its content anything; None where no gap is as long."""
        length = self._length(elements)
        fitting = [gap for gap in self._gaps if gap[1] - gap[0] >= length]
        if not fitting:
            return None
        start, end = gap = min(fitting, key=lambda gap: gap[1] - gap[0])
        at = self._gaps.index(gap)
        self._gaps[at : at + 1] = [(start + length, end)] if start + length < end else []
        room: Tensor = self.memory[start : start + elements]
        return room

    def holds(self, room: Tensor) -> bool:
        """Whether a room was cut from this slab."""
        return room.untyped_storage().data_ptr() == self.memory.untyped_storage().data_ptr()

    def give_back(self, room: Tensor) -> None:
        """A room that was cut here is free; its content stays until it is cut again."""
        start = int(room.storage_offset()) - self._first
        end = start + self._length(room.numel())
        gaps: list[tuple[int, int]] = []
        for gap in sorted([*self._gaps, (start, end)]):
            if gaps and gaps[-1][1] == gap[0]:
                gaps[-1] = (gaps[-1][0], gap[1])
            else:
                gaps.append(gap)
        self._gaps = gaps

    def _length(self, elements: int) -> int:
        """Numbers that a room of `elements` takes."""
        return -(-max(1, elements) // self._unit) * self._unit
