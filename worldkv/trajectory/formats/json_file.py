"""Read JSON from untrusted files, and matrices and intrinsics out of it, with the place in every error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array

MAX_BYTES = 1 << 30
"""Largest JSON file read (1 GiB): no camera path is longer, even with a picture in it."""


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        TrajectoryError: it cannot be read, is too large, or is no JSON.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrajectoryError(f"{path} is larger than 1 GiB, which no camera path is; leave out what is none")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise TrajectoryError(f"{path} cannot be read ({error.strerror}); check the path") from None
    except json.JSONDecodeError as error:
        raise TrajectoryError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); the file may be cut off, fetch it again"
        ) from None
    except (ValueError, RecursionError):
        raise TrajectoryError(f"{path} is not JSON of ordinary size; fetch or save it again") from None


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
