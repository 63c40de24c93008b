"""The disk tier: one safetensors file a chunk, whole or not there, and checked before it is used."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldkv.backends.bank.chunk_file import Bytes, read_file, write_file
from worldkv.backends.transfer.retry import retry_once
from worldkv.errors import DeviceError, OutputError

SUFFIX = ".safetensors"
UNFINISHED_SUFFIX = ".part"
"""Of a file that is being written; it is never read."""


@dataclass(frozen=True, eq=False)
class DiskChunk:
    """A chunk in its file. The file goes with the last reference to this object, so share it, do not copy it.

    Attributes:
        chunk: its id.
        path: its file.
        num_bytes: bytes of its content.
        crc32: of these bytes.
        lease: what keeps a file that is another's from being removed; None where it is the store's own.
    """

    chunk: int
    path: Path
    num_bytes: int
    crc32: int
    lease: object = None


class DiskStore:
    """Stored chunks in files of one folder, each readable by safetensors: a `U8` tensor "parcel" and its checksum.

    A file gets its name only when it is complete, so a killed process leaves none that reads as whole. Several stores
    and processes may share a folder. Source: the safetensors format.

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
        self._remove: Callable[[], object] | None = None
        if folder is None:
            self._remove = weakref.finalize(self, _unless_forked(shutil.rmtree), self.folder, ignore_errors=True)
        self._is_open = True
        self._token, self._serial = secrets.token_hex(4), itertools.count()

    def write(self, chunk: int, content: Tensor) -> DiskChunk:
        """Put a chunk in a file of its own.

        Args:
            chunk: its id.
            content: its bytes `(bytes,)`, uint8, on the host.

        Raises:
            DeviceError: `content` is something else.
            OutputError: the file cannot be written, twice; what was stored earlier stays readable.
        """
        if not self._is_open:
            raise OutputError(f"chunk {chunk} cannot be written: the store is closed; open another")
        data = _as_array(content)
        return retry_once(functools.partial(self._write_new, chunk, data), f"writing chunk {chunk} to disk")

    def adopt(self, chunk: int, source: Path, num_bytes: int, crc32: int) -> DiskChunk:
        """A file of another store, which nobody changes, under a name of this one's, without copying it if possible.

        Raises:
            OutputError: it cannot be copied.
        """
        path = self._stem(chunk).with_suffix(SUFFIX)
        try:
            try:
                os.link(source, path)
            except OSError:  # another file system
                shutil.copyfile(source, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise OutputError(
                f"chunk {chunk} ({num_bytes} bytes) cannot be brought to {self.folder} ({error.strerror}); name a "
                "folder on a disk with more room"
            ) from error
        return self._owned(DiskChunk(chunk, path, num_bytes, crc32))

    def read(self, stored: DiskChunk, target: Tensor) -> None:
        """Copy a chunk's content into `target`, and make sure that this is what was written.

        Args:
            stored: what `write` answered.
            target: room for its bytes `(bytes,)`, uint8, on the host; holds anything after an error.

        Raises:
            DeviceError: `target` is something else.
            LostChunkError: the file is missing, truncated, altered or another's.
            TransferError: it cannot be read, twice.
        """
        read_stored(stored, target)

    def close(self) -> None:
        """Remove the temporary folder; in a folder that was given, files stay as long as their `DiskChunk`."""
        self._is_open = False
        if self._remove is not None:
            self._remove()

    def _write_new(self, chunk: int, data: Bytes) -> DiskChunk:
        """Write a file under a name of its own; nothing is left of it where that fails."""
        stem = self._stem(chunk)
        part, path = stem.with_suffix(UNFINISHED_SUFFIX), stem.with_suffix(SUFFIX)
        try:
            crc32 = write_file(part, chunk, data)
            os.replace(part, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                part.unlink()
            if not isinstance(error, OSError):
                raise
            raise OutputError(
                f"chunk {chunk} ({data.nbytes} bytes) cannot be written to {self.folder} ({error.strerror}); it is "
                "still in host memory: free space there and make the same call again, or let the bank go on without it "
                "(when_lost=go-on) or forget its oldest chunks (when_full=forget-oldest)"
            ) from error
        return self._owned(DiskChunk(chunk, path, data.nbytes, crc32))

    def _stem(self, chunk: int) -> Path:
        """A name of its own for a chunk's file."""
        return self.folder / f"chunk-{chunk:06}-{self._token}{next(self._serial):06x}"

    def _owned(self, stored: DiskChunk) -> DiskChunk:
        """The same; its file goes with the last reference to it."""
        weakref.finalize(stored, _unless_forked(_unlink), stored.path)
        return stored


def read_stored(stored: DiskChunk, target: Tensor) -> None:
    """See `DiskStore.read`; a chunk's file may lie in any folder."""
    room = _as_array(target)
    if room.nbytes != stored.num_bytes:
        raise DeviceError(
            f"chunk {stored.chunk} has {stored.num_bytes} bytes, the room for it {room.nbytes}; give it as many"
        )
    work = functools.partial(read_file, stored.path, stored.chunk, stored.crc32, room)
    retry_once(work, f"reading chunk {stored.chunk} from {stored.path.name}")


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
