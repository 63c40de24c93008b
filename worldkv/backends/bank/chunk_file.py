"""A stored chunk's file: safetensors with a checksum, written and read in pieces, never in memory twice."""

from __future__ import annotations

import json
import os
import zlib
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import LostChunkError
from worldkv.tiers import FILE_BYTES

FORMAT = "worldkv-parcel"
TENSOR = "parcel"
"""Name of the file's only tensor; 'parcel' is the format's word for a stored chunk."""
VERSION = "1"
PIECE_BYTES = 1 << 20
"""Copied and summed at a time, so that the sum finds the bytes still in the processor's cache."""
MOST_HEADER_BYTES = 4096
"""More than any header of ours takes."""

Bytes = NDArray[np.uint8]


def write_file(path: Path, chunk: int, data: Bytes) -> int:
    """Write a new file and bring it to the disk; answers its checksum."""
    room = len(_header(chunk, data.nbytes, 0))
    crc32 = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        os.lseek(handle, room, os.SEEK_SET)
        for start in range(0, data.nbytes, PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES].data
            crc32 = zlib.crc32(piece, crc32)
            _write_all(handle, piece)
        os.lseek(handle, 0, os.SEEK_SET)
        _write_all(handle, memoryview(_header(chunk, data.nbytes, crc32)))  # last, since it holds the sum
        os.fsync(handle)  # a disk that is full may say so only here
    finally:
        os.close(handle)
    return crc32


def _write_all(handle: int, data: memoryview) -> None:
    """`os.write` may take less than it is given."""
    while data:
        data = data[os.write(handle, data) :]


def read_file(path: Path, chunk: int, crc32: int, room: Bytes) -> None:
    """Fill `room` from a file; the copy is what is summed, so what was checked is what is used.

    Args:
        path: the file.
        chunk: the chunk that was written there.
        crc32: of its bytes.
        room: as many bytes as were written.

    Raises:
        LostChunkError: the file is missing, truncated, altered or another's.
        OSError: it cannot be read; perhaps the next time.
    """
    name = path.name
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise LostChunkError(chunk, f"its file {name} is missing") from None
    with file:
        expected = _header(chunk, room.nbytes, crc32)
        size, whole = os.fstat(file.fileno()).st_size, len(expected) + room.nbytes
        head = file.read(MOST_HEADER_BYTES)
        if not head.startswith(expected):
            raise LostChunkError(chunk, _why_other(name, head, size, whole, chunk))
        if size != whole:
            raise LostChunkError(chunk, f"its file {name} has {size} bytes and not {whole}")
        found = _read_all(file, len(expected), room)
    if found != crc32:
        raise LostChunkError(chunk, f"the data in its file {name} was altered (crc32 {found:08x} and not {crc32:08x})")


def _read_all(file: FileIO, start: int, room: Bytes) -> int:
    """Fill `room` from `start` on; answers the checksum of what it holds then.

    Read and not mapped: a mapped page that the disk cannot give ends the process with a signal, a read only fails.
    """
    file.seek(start)
    crc32 = 0
    for at in range(0, room.nbytes, PIECE_BYTES):
        piece = room[at : at + PIECE_BYTES].data
        filled = 0
        while filled < len(piece) and (count := file.readinto(piece[filled:])):
            filled += count
        crc32 = zlib.crc32(piece, crc32)
    return crc32


def _header(chunk: int, num_bytes: int, crc32: int) -> bytes:
    """The safetensors header, `FILE_BYTES` long: eight bytes with its length, then JSON."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "chunk": str(chunk),
        "num_bytes": str(num_bytes),
        "crc32": f"{crc32:08x}",
    }
    entry = {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}
    text = json.dumps({"__metadata__": metadata, TENSOR: entry}, separators=(",", ":")).encode()
    text = text.ljust(FILE_BYTES - 8)  # the same for every chunk, and aligned, as the format wants
    return len(text).to_bytes(8, "little") + text


def _why_other(name: str, head: bytes, size: int, whole: int, chunk: int) -> str:
    """Why a file with another header than the one written is no good."""
    try:
        metadata = json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])["__metadata__"]
        other, crc32 = int(metadata["chunk"]), metadata["crc32"]
        is_ours = head.startswith(_header(other, int(metadata["num_bytes"]), int(crc32, 16)))
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours = False
    if is_ours:
        what = f"chunk {other}" if other != chunk else f"the same chunk as stored another time (crc32 {crc32})"
        return f"its file {name} holds {what}"
    if size < whole:
        return f"its file {name} has {size} bytes and not {whole}"
    return f"the header of its file {name} was altered"
