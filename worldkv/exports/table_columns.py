"""The columns of a page's table, taken from the keys that the rows of a document have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worldkv.exports.series import edge_name

Column = dict[str, str]
"""`head`, the `key` of a row, and the `kind` of number, as `Series.kind` names it."""

_FIRST = (
    ("policy", "policy", "text"),
    ("budget", "budget", "text"),
    ("status", "status", "text"),
    ("window tokens", "window_tokens_peak", "count"),
)
_LAST = (
    ("recall", "revisit_recall", "share"),
    ("of oracle", "share_of_oracle", "share"),
    ("precision", "retrieval_precision", "share"),
    ("FPS first", "fps_first", "rate"),
    ("FPS last", "fps_last", "rate"),
    ("FPS mean", "fps_mean", "rate"),
    ("speed-up", "speedup_vs_full", "times"),
    ("step ms p95", "step_ms_p95", "ms"),
    ("measured ms", "measured_mean_ms", "ms"),
    ("predicted / measured", "predicted_over_measured", "times"),
    ("PSNR visit", "psnr_visit", "decibels"),
    ("PSNR truth", "psnr_truth", "decibels"),
    ("SSIM visit", "ssim_visit", "share"),
    ("attention mass", "mass", "share"),
)
_SWEPT = (
    ("trajectory", "trajectory", "text"),
    ("policy", "policy", "text"),
    ("budget", "budget", "text"),
    ("budget tokens", "budget_tokens", "count"),
    ("window tokens", "window_tokens_peak", "count"),
    ("seed", "seed", "count"),
    ("recall", "revisit_recall", "share"),
    ("of oracle", "share_of_oracle", "share"),
    ("attention recall", "attention_recall", "share"),
    ("precision", "retrieval_precision", "share"),
    ("moved", "bytes_moved", "bytes"),
    ("FPS mean", "fps_mean", "rate"),
    ("status", "status", "text"),
)


def compared_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns that tell something, of rows of `compare`, `run` or `promote`; tiers and edges by their keys."""
    wanted = [*_FIRST, *_tiers(rows), *_edges(rows), *_LAST]
    return [_column(*one) for one in wanted if _tells(rows, one[1])]


def swept_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of rows of `sweep`."""
    return [_column(*one) for one in _SWEPT if _tells(rows, one[1])]


def _tiers(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """`device_bytes_peak` and whatever other tier there is."""
    for key in rows[0] if rows else ():
        if key.endswith("_bytes_peak") and key != "resident_bytes_peak":
            tier = key.removesuffix("_bytes_peak")
            yield ("window memory" if tier == "device" else f"bank, {tier.replace('_', ' ')}"), key, "bytes"


def _edges(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """`bytes_device_to_host` and whatever other edge there is."""
    for key in rows[0] if rows else ():
        if key.startswith("bytes_") and "_to_" in key:
            yield edge_name(key.removeprefix("bytes_")), key, "bytes"


def _tells(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether a column has anything in it; a status only where it is not `ok` everywhere."""
    values = [row.get(key) for row in rows]
    if key == "status":
        return any(value != "ok" for value in values)
    return any(value not in (None, 0) for value in values)


def _column(head: str, key: str, kind: str) -> Column:
    return {"head": head, "key": key, "kind": kind}
