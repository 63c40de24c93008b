"""Bytes of a sweep's own files are changed: what cannot be read is refused in one short, printable sentence."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.trajectory.test_mutated_files import assert_sentence, changed
from worldkv import files
from worldkv.errors import OutputError
from worldkv.experiments import sweep_file
from worldkv.experiments.sweep_file import SweepFile, csv_bytes, csv_rows, parquet_bytes, parquet_rows
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


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_single_bit_is_noticed_or_means_nothing(suffix: str, tmp_path: Path) -> None:
    """Of a CSV file every bit; of Parquet, whose headers have room for what nobody reads, no value changes."""
    whole = csv_bytes(ROWS) if suffix == "csv" else parquet_bytes(ROWS)
    read = csv_rows if suffix == "csv" else parquet_rows
    file, unnoticed = tmp_path / f"rows.{suffix}", 0
    for at in range(0, len(whole), 7 if suffix == "csv" else 61):
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        file.write_bytes(content)
        try:
            assert read(str(file)) == ROWS
            unnoticed += 1
        except OutputError as error:
            assert_sentence(error)
    assert unnoticed == 0 or suffix == "parquet"


def test_a_file_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    lines = csv_bytes(ROWS).decode().splitlines()
    (tmp_path / "old.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    assert csv_rows(str(tmp_path / "old.csv")) == ROWS


def test_two_that_save_at_once_lose_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second starts between the first one's reading and its writing."""
    one, two = (SweepFile(str(tmp_path / "rows.csv")) for _ in range(2))
    write = files.write_bytes
    second = threading.Thread(target=two.save, args=(ROWS[1:], []))

    def start_the_second(name: str, content: bytes) -> None:
        if not second.ident:
            second.start()
            second.join(0.3)
        write(name, content)

    monkeypatch.setattr(sweep_file, "write_bytes", start_the_second)
    one.save(ROWS[:1], [])
    second.join()
    assert csv_rows(str(tmp_path / "rows.csv")) == ROWS
