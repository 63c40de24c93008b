"""Whether a file that a command left is whole and says what it says in a run that nothing disturbed."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

_OWN = ("measured_", "predicted_over_measured", "resident_bytes_peak", "seconds", "wall_seconds")
"""How keys begin whose values differ from run to run."""


def own_keys(one: Path, other: Path) -> tuple[str, ...]:
    """Further such keys: those whose values differ between the documents of two undisturbed runs."""
    found = set[str]()

    def compare(left: Any, right: Any, key: str) -> None:
        if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
            for name in left:
                compare(left[name], right[name], name)
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            for a, b in zip(left, right, strict=True):
                compare(a, b, key)
        elif left != right:
            found.add(key)

    for file in one.glob("*.json*"):
        left, right = (_documents((folder / file.name).read_bytes(), file.suffix, ()) for folder in (one, other))
        compare(left, right, "")
    return tuple(sorted(found))


def is_same(found: Path, expected: Path, own: tuple[str, ...] = ()) -> bool:
    """Whether two files hold the same result; measured times in JSON, and the keys `own`, are left out."""
    content, reference = found.read_bytes(), expected.read_bytes()
    if content == reference:
        return True
    if found.suffix == ".safetensors":  # whose metadata are in any order
        return _recording(found) == _recording(expected)
    if found.suffix == ".csv":
        return _rows(found) == _rows(expected)
    if found.suffix not in (".json", ".jsonl"):
        return False
    try:
        return _documents(content, found.suffix, own) == _documents(reference, found.suffix, own)
    except ValueError:
        return False


def rows_are_of(found: Path, expected: Path) -> bool:
    """Whether every row of a sweep's file is one of the whole sweep's; raises OutputError where it is no whole file."""
    whole = rows_of(expected)
    return all(whole.get(key) == row for key, row in _rows(found))


def rows_of(file: Path) -> dict[str, dict[str, Any]]:
    """A sweep's rows by key, without what a clock said."""
    return dict(_rows(file))


def chunk_is_whole(file: Path) -> bool:
    """Whether a stored chunk's file agrees with its own checksum, by safetensors and zlib."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        told = opened.metadata()
        content = opened.get_tensor("parcel").tobytes()
    return len(content) == int(told["num_bytes"]) and zlib.crc32(content) == int(told["crc32"], 16)


def _recording(file: Path) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...], bytes]]]:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        told = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
        return dict(opened.metadata()), told


def _rows(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """A sweep's rows by key, in order, without what a clock said."""
    from worldkv.experiments.sweep_file import SweepFile

    rows = SweepFile(str(file)).rows
    return [(key, {name: value for name, value in row.items() if name != "wall_seconds"}) for key, row in rows.items()]


def _documents(content: bytes, suffix: str, own: tuple[str, ...]) -> list[Any]:
    text = content.decode()
    parts = text.splitlines() if suffix == ".jsonl" else [text]
    return [_lasting(json.loads(part), own) for part in parts]


def _lasting(value: Any, own: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if not key.startswith(_OWN) and key not in own}
        return {key: _lasting(inner, own) for key, inner in kept.items()}
    return [_lasting(inner, own) for inner in value] if isinstance(value, list) else value
