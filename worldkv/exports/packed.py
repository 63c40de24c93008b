"""Columns of numbers packed into one piece of text for a page: typed arrays, deflated, in base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ALIGNED = 8
_UNSIGNED = (np.uint8, np.uint16, np.uint32)


class Packed:
    """Columns by name, each an array of little-endian numbers.

    Attributes:
        columns: by name the type (numpy's, such as `u2`), first byte and length of each.
    """

    def __init__(self) -> None:
        """No columns yet."""
        self.columns: dict[str, tuple[str, int, int]] = {}
        self._bytes = bytearray()

    def add(self, name: str, values: ArrayLike, kind: str | None = None) -> None:
        """A column.

        Args:
            name: its name.
            values: of any shape; packed in C order.
            kind: numpy's name of the type; where None the smallest of whole numbers from 0 that holds the values.
        """
        array = np.asarray(values)
        packed: NDArray[Any] = array.astype(f"<{kind}" if kind else _smallest(array))
        self._bytes.extend(bytes(-len(self._bytes) % _ALIGNED))
        self.columns[name] = (packed.dtype.str[1:], len(self._bytes), packed.size)
        self._bytes += packed.tobytes()

    def add_lists(self, name: str, lists: Iterable[Sequence[int] | NDArray[np.int64]]) -> None:
        """Two columns: the numbers of all lists one behind the other, and under `name.ends` where each list ends."""
        arrays = [np.asarray(one, np.int64) for one in lists]
        self.add(name, np.concatenate(arrays) if arrays else np.empty(0, np.int64))
        self.add(f"{name}.ends", np.cumsum([len(one) for one in arrays], dtype=np.int64))

    def add_bytes(self, name: str, content: bytes) -> None:
        """A column of plain bytes, such as a file."""
        self.add(name, np.frombuffer(content, np.uint8), "u1")

    def text(self) -> str:
        """All columns as base64 of a zlib stream."""
        return base64.b64encode(zlib.compress(bytes(self._bytes), 9)).decode()


def runs(ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending ids as first and length of each run: `[0, 3, 4, 5]` is `[0, 1, 3, 3]`."""
    ascending = np.asarray(ids, np.int64)
    if not len(ascending):
        return ascending
    starts = np.flatnonzero(np.diff(ascending, prepend=ascending[0] - 2) != 1)
    lengths = np.diff(np.append(starts, len(ascending)))
    return np.stack([ascending[starts], lengths], axis=1).ravel()


def _smallest(array: NDArray[Any]) -> np.dtype[Any]:
    """The smallest unsigned type; floats where a number needs more than 32 bits."""
    top = array.max(initial=0)
    for kind in _UNSIGNED:
        if top <= np.iinfo(kind).max:
            return np.dtype(kind).newbyteorder("<")
    return np.dtype("<f8")
