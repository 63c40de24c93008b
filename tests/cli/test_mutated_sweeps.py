"""Bytes of a sweep's own files are changed: what cannot be read is refused in one short, printable sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.trajectory.test_mutated_files import assert_sentence, changed
from worldkv.errors import OutputError
from worldkv.experiments.sweep_file import csv_bytes, csv_rows, parquet_bytes, parquet_rows
from worldkv.sim.sweep import COLUMNS

EXAMPLES = int(os.environ.get("WORLDKV_FUZZ_EXAMPLES") or 40)
VALUES: dict[type, Any] = {str: "a", int: 3, float: 0.5}
ROWS = [{name: VALUES[kind] for name, kind in COLUMNS.items()} | {"key": str(row), "status": "ok"} for row in range(3)]


@pytest.mark.parametrize(
    ("suffix", "write", "read"), [("csv", csv_bytes, csv_rows), ("parquet", parquet_bytes, parquet_rows)]
)
def test_changed_sweeps_are_read_or_refused(suffix: str, write: Any, read: Any, tmp_path: Path) -> None:
    file = tmp_path / f"rows.{suffix}"
    file.write_bytes(write(ROWS))
    assert read(str(file)) == ROWS

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(changed(write(ROWS)))
    def change(content: bytes) -> None:
        file.write_bytes(content)
        try:
            read(str(file))
        except OutputError as error:
            assert_sentence(error)

    change()
