"""Read JSON from untrusted files, and matrices and intrinsics out of it, with the place in every error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.files import MOST_TEXT_BYTES, read_plain
from worldkv.pose import Array

MOST_VALUES = 1 << 25
"""Commas and brackets of the largest JSON read: a million 4x4 matrices have 22 million."""

MOST_NESTED = 60
"""Deepest JSON read; what is deeper would exhaust Python's stack, here or wherever its value is shown."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[]{},"))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        TrajectoryError: it cannot be read, is too large, or is no JSON.
    """
    raw = read_plain(path, TrajectoryError, MOST_TEXT_BYTES)
    try:
        return parsed(raw)
    except json.JSONDecodeError as error:
        raise TrajectoryError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); the file may be cut off, fetch it again"
        ) from None
    except (ValueError, RecursionError):
        raise TrajectoryError(f"{path} is not JSON of ordinary size; fetch or save it again") from None


def parsed(raw: bytes) -> Any:
    """The value of JSON text, byte order mark or not.

    Raises:
        json.JSONDecodeError: it is no JSON.
        ValueError: it is deeper nested, or has more values, than any camera path, or numbers of thousands of digits.
    """
    marks = np.frombuffer(_STRING.sub(b"", raw).translate(None, _OTHERS), dtype=np.uint8)
    if len(marks) > MOST_VALUES:
        raise ValueError("more values than are read")
    # `[` and `{` are 0x5b and 0x7b, `]` and `}` 0x5d and 0x7d
    steps = (marks & 0xDF == 0x5B).astype(np.int32) - (marks & 0xDF == 0x5D)
    if np.cumsum(steps, dtype=np.int32).max(initial=0) > MOST_NESTED:
        raise ValueError("nested deeper than is read")
    return json.loads(raw.decode("utf-8-sig"))


def numbers_of(value: Any, shape: tuple[int, ...], what: str) -> Array:
    """A nested list as numbers of `shape`, whose lists may also be one flat list.

    Raises:
        TrajectoryError: anything else.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if isinstance(value, str) or array.size != int(np.prod(shape)):
        raise TrajectoryError(f"{what} must be {' x '.join(map(str, shape))} numbers; save it so")
    return array.reshape(shape)


def number_of(value: Any, what: str) -> float:
    """A single number above 0.

    Raises:
        TrajectoryError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise TrajectoryError(f"{what} must be a number above 0, got {str(value)[:40]}")
    return float(value)


def objects_of(value: Any, what: str) -> list[dict[str, Any]]:
    """A list of at least one JSON object.

    Raises:
        TrajectoryError: anything else.
    """
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise TrajectoryError(f"{what} must be a list of at least one object")
    return value
