"""One HTML file that shows a result in a browser: no network, everything in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from worldkv.errors import printable
from worldkv.exports.packed import Packed
from worldkv.files import finite

if TYPE_CHECKING:
    from worldkv.exports.reported import Reported

_SCRIPTS = ("elements", "numbers", "packed", "table")
_OF_STEPS = ("verdict", "roles", "steps", "map", "matrix", "curves", "pictures", "words", "player", "rows_page")
_OF_SWEEPS = ("front", "sweep_page")


def rows_page(reported: Reported, verdict: Mapping[str, Any] | None = None) -> bytes:
    """The page of rows along one trajectory: table, map, matrix of attended chunks, curves, pictures.

    Args:
        reported: the rows.
        verdict: of a promotion: `verdict`, `reasons`, `remarks`, `stages` with their status.
    """
    from worldkv.exports.packed_pictures import pack_pictures
    from worldkv.exports.packed_rows import pack_path, pack_rows
    from worldkv.exports.series import series_of
    from worldkv.exports.table_columns import compared_columns
    from worldkv.plots.style import colours

    packed = Packed()
    names, document = reported.names, reported.document
    path = pack_path(packed, reported.path)
    num_missed = pack_rows(packed, reported)
    series = series_of(reported, num_missed)
    for one in series:
        packed.add(f"series.{one.key}", one.values, "f8")
    palette = colours(names)
    head = {
        "document": document,
        "columns": compared_columns(document["rows"]),
        "names": names,
        "colours": [palette[name] for name in names],
        "path": path,
        "series": [one.head() for one in series],
        "has_landmarks": reported.setup.landmarks is not None,
        "pictures": None if reported.world is None else pack_pictures(packed, reported.world),
        "start": _start(reported),
        "verdict": verdict,
    }
    title = f"worldkv: {document['trajectory']['name']}, {_policies(len(names))}"
    return _page(title, ("verdict", "steps"), head, packed, _OF_STEPS)


def sweep_page(document: Mapping[str, Any], geometry: str, references: Sequence[str]) -> bytes:
    """The page of a sweep: all rows in a table, and recall against what it costs.

    Args:
        document: `rows` and `notes` of the sweep.
        geometry: the cache shape's name.
        references: policies that are no part of a front: oracles, and those whose window grows without end.
    """
    from worldkv.exports.table_columns import swept_columns
    from worldkv.plots.style import colours

    rows = document["rows"]
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    palette = colours(policies)
    head = {
        "document": document,
        "columns": swept_columns(rows),
        "names": policies,
        "colours": [palette[name] for name in policies],
        "references": list(references),
        "geometry": geometry,
    }
    title = f"worldkv: a sweep of {_policies(len(policies))}, {len(rows):,} rows"
    return _page(title, ("sweep",), head, Packed(), _OF_SWEEPS)


def verdict_page(title: str, verdict: Mapping[str, Any]) -> bytes:
    """The page of a promotion that has no rows: the verdict alone."""
    return _page(title, ("verdict",), {"verdict": verdict}, Packed(), ("verdict", "verdict_page"))


def _policies(count: int) -> str:
    return f"{count} {'policy' if count == 1 else 'policies'}"


def _start(reported: Reported) -> dict[str, int]:
    """The row and step that a page opens at: the first policy that retrieves by itself, where most comes back."""
    from worldkv.report.notes import ORACLES_AND_RANDOM

    rows = reported.document["rows"]
    own = [
        place
        for place, row in enumerate(rows)
        if row["spec"].partition(":")[0] not in ORACLES_AND_RANDOM and row["bytes_host_to_device"]
    ]
    landmarks, steps = reported.setup.landmarks, len(reported.rows[0].rollout.seconds)
    step = steps - 1
    if landmarks is not None and landmarks.num_counted[:steps].any():
        step = int(landmarks.num_counted[:steps].argmax())
    return {"row": own[0] if own else 0, "step": step}


def _page(title: str, bodies: Sequence[str], head: Mapping[str, Any], packed: Packed, scripts: Sequence[str]) -> bytes:
    """Put a page together; the browser runs only the scripts whose hashes its policy names."""
    script = "\n".join(_part(f"{name}.js") for name in (*_SCRIPTS, *scripts))
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    style = _part("page.css")
    fields = {
        "title": html.escape(printable(title)),
        "policy": f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'",
        "style": style,
        "body": "\n".join(_part(f"{name}.html") for name in bodies),
        "head": in_script({**head, "packed": packed.columns}),
        "packed": packed.text(),
        "script": script,
    }
    whole = _part("page.html")
    for name, text in fields.items():
        before, _, after = whole.partition(f"<!--{name}-->")
        whole = before + text + after
    return whole.encode()


def in_script(value: Any) -> str:
    """A value as JSON that no text in it can end: neither the element it stands in nor a comment is closed by it."""
    text = json.dumps(finite(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return (resources.files("worldkv.exports") / "page" / name).read_text(encoding="utf-8")
