"""Sizes and numbers as people write and read them."""

from __future__ import annotations

import pytest

from worldkv.errors import SpecError
from worldkv.files import finite
from worldkv.report.format import folded, gib, listed, size
from worldkv.specs.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24GiB", 24 * 1024**3),
        ("80GB", 80 * 10**9),
        ("512MB", 512 * 10**6),
        ("1.5 gib", 3 * 1024**3 // 2),
        ("2TiB", 2 * 1024**4),
        ("100 B", 100),
        ("0", 0),
        ("123456789", 123_456_789),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text, "--device-budget") == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "24 apples", "1GBB", "nan", "24,5GB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(SpecError, match="--device-budget must be a size such as"):
        parse_size(text, "--device-budget")


def test_words() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert [size(n) for n in (80 * 10**9, 24 * 1024**3, 5 * 10**6, 1234)] == ["80 GB", "24 GiB", "5 MB", "1,234 bytes"]
    assert [gib(n * 2**30) for n in (0, 0.452, 3.57, 25.0, 1350.2)] == ["0", "0.45", "3.6", "25.0", "1,350"]


def test_long_labels_fold() -> None:
    assert folded("worldkv") == "worldkv"
    assert folded("worldkv:keep_ratio=0.5,retrieved_frames=30") == "worldkv:keep_ratio=0.5,\nretrieved_frames=30"


def test_json_values_are_finite() -> None:
    assert finite({"a": [float("nan"), 1.0, (float("inf"), "x")]}) == {"a": [None, 1.0, [None, "x"]]}
