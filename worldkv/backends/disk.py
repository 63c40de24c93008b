"""The disk tier: one safetensors file a chunk, whole or not there, and checked before it is used."""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import secrets
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.retry import twice
from worldkv.errors import DeviceError, LostChunkError, OutputError

FORMAT = "worldkv-parcel"
VERSION = "1"
SUFFIX = ".safetensors"
UNFINISHED_SUFFIX = ".part"
"""Of a file that is being written; nobody ever reads one."""

PIECE_BYTES = 1 << 20
"""Copied and summed at a time, so that the sum finds the bytes still in the processor's cache."""
WINDOW_BYTES = 64 << 20
"""Mapped at a time; what is mapped counts as resident memory while it is."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DiskChunk:
    """A chunk's parcel on disk. Its file goes when nobody holds this object any more, so share it, do not copy it.

    Source: this project.

    Attributes:
        chunk: its id.
        path: its file.
        num_bytes: bytes of the parcel.
        crc32: of these bytes.
    """

    chunk: int
    path: Path
    num_bytes: int
    crc32: int


class DiskStore:
    """Parcels in files of one folder, each readable by safetensors: a `U8` tensor "parcel" and metadata with its sum.

    A file gets its name only when it is complete, so a killed process leaves none that reads as whole. Several stores
    and processes may share a folder. Source: this project; the safetensors format.

    Attributes:
        folder: where the files lie.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """A store in `folder`, made if need be, or in a temporary one that is removed by `close` or at exit.

        Raises:
            OutputError: the folder cannot be made.
        """
        try:
            if folder is None:
                self.folder = Path(tempfile.mkdtemp(prefix="worldkv-"))
            else:
                self.folder = Path(folder).absolute()  # the process may change its folder
                self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            where = "temporary files" if folder is None else f"chunks, {folder},"
            raise OutputError(
                f"the folder for {where} cannot be made ({error.strerror}); name one on a disk that can be written"
            ) from error
        self._remove: Callable[[], object] = _nothing
        if folder is None:
            self._remove = weakref.finalize(self, _unless_forked(shutil.rmtree), self.folder, ignore_errors=True)
        self._is_open = True
        self._token, self._serial = secrets.token_hex(4), itertools.count()

    def write(self, chunk: int, content: Tensor) -> DiskChunk:
        """Put a parcel in a file of its own.

        Args:
            chunk: its id.
            content: its bytes `(bytes,)`, uint8, on the host.

        Raises:
            DeviceError: `content` is something else.
            OutputError: the file cannot be written; what was stored earlier stays readable.
        """
        if not self._is_open:
            raise OutputError(f"chunk {chunk} cannot be written: the store is closed; open another")
        data = _as_array(content)
        stem = self.folder / f"chunk-{chunk:06}-{self._token}{next(self._serial):06x}"
        part, path = stem.with_suffix(UNFINISHED_SUFFIX), stem.with_suffix(SUFFIX)
        try:
            crc32 = _write_file(part, chunk, data)
            os.replace(part, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                part.unlink()
            if not isinstance(error, OSError):
                raise
            raise OutputError(
                f"chunk {chunk} ({data.nbytes} bytes) cannot be written to {self.folder} ({error.strerror}); free "
                "space there or name a folder on a larger disk, earlier chunks are still there"
            ) from error
        stored = DiskChunk(chunk, path, data.nbytes, crc32)
        weakref.finalize(stored, _unless_forked(_unlink), path)
        return stored

    def read(self, stored: DiskChunk, target: Tensor) -> None:
        """Copy a parcel into `target`, and make sure that this is what was written.

        Args:
            stored: what `write` answered.
            target: room for its bytes `(bytes,)`, uint8, on the host; holds anything after an error.

        Raises:
            DeviceError: `target` is something else.
            LostChunkError: the file is missing, truncated, altered or another's.
            TransferError: it cannot be read, twice.
        """
        room = _as_array(target)
        if room.nbytes != stored.num_bytes:
            raise DeviceError(
                f"chunk {stored.chunk} has {stored.num_bytes} bytes, the room for it {room.nbytes}; give it as many"
            )
        twice(lambda: _read_file(stored, room), f"reading chunk {stored.chunk} from {stored.path.name}")

    def close(self) -> None:
        """Remove the temporary folder; in a folder that was given files stay until nobody holds their chunks."""
        self._is_open = False
        self._remove()


def _write_file(path: Path, chunk: int, data: Bytes) -> int:
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


def _read_file(stored: DiskChunk, room: Bytes) -> None:
    """Copy a file's parcel into `room`; the copy is what is summed, so what was checked is what is used."""
    name = stored.path.name
    try:
        file = stored.path.open("rb")
    except FileNotFoundError:
        raise LostChunkError(stored.chunk, f"its file {name} is missing") from None
    with file:
        expected = _header(stored.chunk, stored.num_bytes, stored.crc32)
        size, whole = os.fstat(file.fileno()).st_size, len(expected) + stored.num_bytes
        found = file.read(len(expected))
        if found != expected:
            raise LostChunkError(stored.chunk, _why_other(name, found, size, whole, stored.chunk))
        if size != whole:
            raise LostChunkError(stored.chunk, f"its file {name} has {size} bytes and not {whole}")
        crc32 = _copy_mapped(file.fileno(), len(expected), whole, room)
    if crc32 != stored.crc32:
        raise LostChunkError(
            stored.chunk, f"the data in its file {name} was altered (crc32 {crc32:08x} and not {stored.crc32:08x})"
        )


def _copy_mapped(handle: int, start: int, end: int, room: Bytes) -> int:
    """Copy a file's bytes from `start` to `end`, memory-mapped a window at a time; answers the copy's checksum."""
    crc32 = 0
    for window in range(0, end, WINDOW_BYTES):
        length = min(WINDOW_BYTES, end - window)
        with mmap.mmap(handle, length, access=mmap.ACCESS_READ, offset=window) as mapped:
            for at in range(max(start - window, 0), length, PIECE_BYTES):
                num_bytes = min(PIECE_BYTES, length - at)
                piece = room[window + at - start :][:num_bytes]
                np.copyto(piece, np.frombuffer(mapped, np.uint8, num_bytes, at))
                crc32 = zlib.crc32(piece.data, crc32)
    return crc32


def _header(chunk: int, num_bytes: int, crc32: int) -> bytes:
    """The safetensors header, the same length whatever the sum: eight bytes with its length, then JSON."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "chunk": str(chunk),
        "num_bytes": str(num_bytes),
        "crc32": f"{crc32:08x}",
    }
    parcel = {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}
    text = json.dumps({"__metadata__": metadata, "parcel": parcel}).encode()
    text += b" " * (-len(text) % 8)  # the format wants what follows aligned
    return len(text).to_bytes(8, "little") + text


def _why_other(name: str, found: bytes, size: int, whole: int, chunk: int) -> str:
    """Why a file with another header than the one written is no good."""
    try:
        metadata = json.loads(found[8:])["__metadata__"]
        other, crc32 = int(metadata["chunk"]), metadata["crc32"]
        is_ours = _header(other, int(metadata["num_bytes"]), int(crc32, 16))[: len(found)] == found
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if is_ours:
        what = f"chunk {other}" if other != chunk else f"the same chunk as stored another time (crc32 {crc32})"
        return f"its file {name} holds {what}"
    if size < whole:
        return f"its file {name} has {size} bytes and not {whole}"
    return f"the header of its file {name} was altered"


def _as_array(content: Tensor) -> Bytes:
    """The tensor's memory, not copied."""
    if (
        content.device.type != "cpu"
        or content.dtype != torch.uint8
        or content.dim() != 1
        or not content.is_contiguous()
    ):
        raise DeviceError(
            f"the disk takes contiguous bytes (bytes,) of uint8 on the host, got {tuple(content.shape)} "
            f"{content.dtype} on {content.device}; copy them there and view them as uint8"
        )
    array: Bytes = content.detach().numpy()
    return array


def _unless_forked(work: Callable[..., object]) -> Callable[..., None]:
    """The same, but nothing in a child of this process: the files are its parent's."""
    owner = os.getpid()

    def guarded(*arguments: Any, **options: Any) -> None:
        if os.getpid() == owner:
            work(*arguments, **options)

    return guarded


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):  # gone with its folder already
        path.unlink()


def _nothing() -> None:
    pass
