"""Bytes of valid files of every format are changed: what cannot be read is refused in one short, printable sentence.

`make fuzz` draws afresh and for as long as one likes; here the same few changes are drawn at every run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trajectory import samples
from worldkv.errors import LONGEST_SENTENCE, SpecError, TrajectoryError, WorldKVError
from worldkv.sim.machine import load_machine
from worldkv.trajectory import load_trajectory
from worldkv.trajectory.formats.registry import FORMATS

EXAMPLES = int(os.environ.get("WORLDKV_FUZZ_EXAMPLES") or 40)

WORDS = [
    *(b"nan inf -inf 1e999 -1e308 1e-320 0 -1 1_0 null true [ ] { } , ; : # ' \" \\ \n \r \0 \t".split(b" ")),
    b"9" * 5000,
    b"[" * 5000,
    b'{"a":' * 3000,
    b"\xff\xfe",
    b"\xed\xb2\x80",  # a lone surrogate
    b"\x1b[31m",
    "\u0663\u00b2\u2028".encode(),
    b"(1000000000000, 4, 4)",
    b"True",
    b"'|O'",
    b"<f16",
    b"\xff" * 8,
    b"\x00" * 8,
    b"x" * 70_000,
]
"""What may be put into a file."""


@st.composite
def changed(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` after one to four changes."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        # the head of a file says what the rest is: half of all changes are there
        end = draw(st.sampled_from([min(len(content), 160), len(content)]))
        at = draw(st.integers(0, end))
        kind = draw(st.sampled_from(["flip", "put", "replace", "cut", "end", "twice"]))
        length = draw(st.integers(1, 40))
        if kind == "flip" and at < len(content):
            content[at] ^= draw(st.integers(1, 255))
        elif kind in ("put", "replace"):
            content[at : at + (length if kind == "replace" else 0)] = draw(st.sampled_from(WORDS))
        elif kind == "cut":
            del content[at : at + length]
        elif kind == "end":
            del content[at:]
        elif kind == "twice":
            content[at:at] = content[at : at + 3 * length]
    return bytes(content)


def test_every_format_has_a_sample(tmp_path: Path) -> None:
    assert set(samples.FILES) - {"colmap-text"} == set(FORMATS)
    for format in samples.FILES:
        (tmp_path / format).mkdir()
        path, _ = samples.write(format, tmp_path / format)
        if format != "rosbag":
            found = load_trajectory(path)
            assert found.read_as is not None and found.read_as.format == format.removesuffix("-text")


@pytest.mark.parametrize("format", samples.FILES)
def test_changed_bytes_are_read_or_refused(format: str, tmp_path: Path) -> None:
    path, files = samples.write(format, tmp_path)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def change(data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(files))
        whole = file.read_bytes()
        forced = data.draw(st.sampled_from([None, format.removesuffix("-text")]))
        try:
            file.write_bytes(data.draw(changed(whole)))
            found = load_trajectory(path, format=forced)
            assert found.name.isprintable()
            assert all(len(note) <= LONGEST_SENTENCE and note.isprintable() for note in found.notes)
        except (TrajectoryError, SpecError) as error:
            assert_sentence(error)
        finally:
            file.write_bytes(whole)

    change()


def test_changed_machine_files_are_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "machine.toml"
    whole = (
        b'name = "mine"\nsource = "here"\nfixed_seconds = 0.5\npasses = 4\nattention_flops_per_second = 1e14\n'
        b"[edges]\ndevice_to_host = { bytes_per_second = 2e10, latency_seconds = 1e-5 }\n"
    )

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(changed(whole))
    def change(content: bytes) -> None:
        file.write_bytes(content)
        try:
            load_machine(str(file))
        except SpecError as error:
            assert_sentence(error)

    file.write_bytes(whole)
    assert load_machine(str(file)).name == "mine"
    change()


def assert_sentence(error: WorldKVError) -> None:
    """Short, in one line and safe to print."""
    text = str(error)
    assert 10 < len(text) <= LONGEST_SENTENCE + 10
    assert text.isprintable(), text
