"""Check output files before the work starts; write and print results after it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from worldkv.errors import printable
from worldkv.experiments.outputs import STANDARD_OUTPUT
from worldkv.files import finite, write_bytes

if TYPE_CHECKING:
    from worldkv.experiments.result import Result


def write_json(name: str, document: dict[str, Any]) -> None:
    """Write the document as JSON to a file, or to standard output for `-`; numbers that are not finite become null."""
    text = json.dumps(finite(document), indent=2, allow_nan=False) + "\n"
    if name == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_bytes(name, text.encode())


def print_result(result: Result, json: str | None, files: Sequence[str | None]) -> None:
    """Write the document to `json`, if given; print report and written files unless that is standard output."""
    if json is not None:
        write_json(json, result.to_dict())
    if json == STANDARD_OUTPUT:
        return
    from worldkv.report.printer import TextPrinter

    result.write(TextPrinter())
    written = [name for name in files if name is not None]
    if written:
        print(f"\nWritten: {printable(', '.join(written))}")
