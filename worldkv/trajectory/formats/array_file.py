"""Read NumPy arrays from untrusted files: the header is judged first and nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from worldkv.errors import TrajectoryError, WorldKVError
from worldkv.files import open_plain
from worldkv.pose import Array

MAGIC = b"\x93NUMPY"
"""How every .npy file starts."""

MOST_NUMBERS = 1 << 26
"""Numbers of the largest array read (0.5 GiB as float64): four million 4x4 matrices."""

_PREFIX_BYTES = {1: 2, 2: 4, 3: 4}
"""Bytes of a header's length by the major version of the file."""

_MOST_HEADER_BYTES = 1 << 14
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?)([A-Za-z?])(\d{0,9})[^'"]{0,40}['"]""")
_FORTRAN = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)\b""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(((?:\s*\d{1,18}L?\s*,)*(?:\s*\d{1,18}L?\s*)?)\)\s*[,}]""")


@dataclass(frozen=True)
class Header:
    """What an array's file says of it.

    Attributes:
        shape: the claimed shape.
        dtype: plain real numbers.
        order: `F` where the first axis runs fastest, else `C`.
        num_bytes: bytes of the header, after which the numbers start.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    num_bytes: int


def header_of(stream: IO[bytes], what: str) -> Header:
    """The header of the .npy data at the start of `stream`, which is left behind it.

    It is matched, never evaluated as Python, as numpy's own reader does.

    Args:
        stream: the data.
        what: file (and member) for messages.

    Raises:
        TrajectoryError: no .npy data, or an array of Python objects, which would have to be unpickled.
    """
    start = stream.read(8)
    prefix = stream.read(_PREFIX_BYTES[start[6]]) if start[:6] == MAGIC and start[6:7] in (b"\1", b"\2", b"\3") else b""
    length = int.from_bytes(prefix, "little")
    raw = stream.read(length) if length <= _MOST_HEADER_BYTES else b""
    if not prefix or len(raw) != length:
        raise TrajectoryError(f"{what} is not a readable .npy array (damaged start); save it again with numpy.save")
    text = raw.decode("latin-1")
    descr, fortran, shape = (pattern.search(text) for pattern in (_DESCR, _FORTRAN, _SHAPE))
    kind = "O" if re.search(r"""['"]\|?O""", text) else "" if descr is None else descr[2]
    if kind == "O":
        raise TrajectoryError(
            f"{what} holds pickled Python objects, which are never loaded because unpickling runs code; "
            "save it as plain numbers with numpy.save(path, numpy.asarray(values, dtype=numpy.float32))"
        )
    dtype = None
    if descr is not None and kind in (*"fiubcSUMm", "?"):
        with contextlib.suppress(TypeError):
            dtype = np.dtype("".join(descr.groups()))
    if "descr" in text and (dtype is None or dtype.kind not in "fiub"):
        said = dtype or repr(text.partition("descr")[2].lstrip("'\": ")[:40])
        raise TrajectoryError(f"{what} holds {said} values; save plain real numbers, e.g. float32")
    if dtype is None or fortran is None or shape is None:
        raise TrajectoryError(f"{what} is not a readable .npy array (damaged header); save it again with numpy.save")
    sizes = tuple(int(size.strip(" L")) for size in shape[1].split(",") if size.strip())
    return Header(sizes, dtype, "F" if fortran[1] == "True" else "C", len(start) + len(prefix) + length)


def read_array(path: Path) -> Array:
    """The numbers of a .npy file as float64.

    Raises:
        TrajectoryError: not a .npy file, pickled, no real numbers, too many, or shorter than its header promises.
    """
    with open_plain(path, TrajectoryError) as stream:
        return _read(stream, path.stat().st_size, str(path))


@contextmanager
def archive_of(path: Path) -> Iterator[zipfile.ZipFile]:
    """The .npz archive in a plain file.

    Raises:
        TrajectoryError: it is none, or turns out to be damaged while it is read.
    """
    with open_plain(path, TrajectoryError) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive
        except WorldKVError:
            raise
        except Exception as error:  # zipfile has no list of what it raises for damaged bytes
            why = f"{type(error).__name__}: {str(error)[:80]}"
            raise TrajectoryError(f"{path} is a damaged .npz archive ({why}); save it again") from None


def read_archive(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """The named arrays of an .npz archive as float64.

    Raises:
        TrajectoryError: not an archive, a name is missing, or one of the arrays cannot be read.
    """
    arrays: dict[str, Array] = {}
    with archive_of(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for name in names:
            if name not in members:
                raise TrajectoryError(
                    f"{path} has no array {name!r} (it has {', '.join(sorted(members)[:20]) or 'none'}); "
                    f"save it with numpy.savez(path, {', '.join(f'{n}=...' for n in names)})"
                )
            member = members[name]
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise TrajectoryError(f"{path}, array {name} is packed as numpy never does; save it with numpy.savez")
            with archive.open(member) as stream:
                arrays[name] = _read(stream, member.file_size, f"{path}, array {name}")
    return arrays


def _read(stream: IO[bytes], num_bytes: int, what: str) -> Array:
    """The array in `stream`, of which no more is read, or unpacked, than its header may promise."""
    header = header_of(stream, what)
    count = math.prod(header.shape)
    needed, there = count * header.dtype.itemsize, num_bytes - header.num_bytes
    if not count:
        raise TrajectoryError(f"{what} has shape {header.shape}, which holds no numbers; record it again")
    # judged before anything is allocated: a damaged header may promise terabytes
    if there >= needed and count > MOST_NUMBERS:
        raise TrajectoryError(f"{what} has {count:,} numbers, more than the {MOST_NUMBERS:,} that are read; cut it")
    raw = stream.read(needed) if there >= needed else b""
    if len(raw) < needed:
        raise TrajectoryError(
            f"{what} is cut off: its header promises {needed} bytes of {header.shape} {header.dtype}, the file has "
            f"{len(raw) or there}; fetch or save it again"
        )
    try:
        values = np.frombuffer(raw, header.dtype).reshape(header.shape, order=header.order)
    except ValueError:
        raise TrajectoryError(f"{what} has {len(header.shape)} dimensions; poses have three") from None
    with np.errstate(all="ignore"):  # what is out of range becomes infinity, which is refused with its place
        return np.array(values, dtype=np.float64, order="C")
