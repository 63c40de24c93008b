"""Read NumPy arrays from untrusted files: the header is judged first and nothing is ever unpickled."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import TrajectoryError
from worldkv.pose import Array

MAGIC = b"\x93NUMPY"
"""How every .npy file starts."""

MAX_BYTES = 1 << 32
"""Largest array read (4 GiB): no camera path is longer."""


def header_of(stream: BinaryIO, what: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the .npy data at the start of `stream`, which is left behind the header.

    Args:
        stream: the data.
        what: file (and member) for messages.

    Raises:
        TrajectoryError: no .npy data, or an array of Python objects, which would have to be unpickled.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version}")
    except (ValueError, EOFError, OSError, SyntaxError, TypeError, KeyError) as error:
        raise TrajectoryError(f"{what} is not a readable .npy array ({error}); save it again with numpy.save") from None
    if dtype.hasobject:
        raise TrajectoryError(
            f"{what} holds pickled Python objects, which are never loaded because unpickling runs code; "
            "save it as plain numbers with numpy.save(path, numpy.asarray(values, dtype=numpy.float32))"
        )
    if dtype.kind not in "fiub":
        raise TrajectoryError(f"{what} holds {dtype} values; save plain real numbers, e.g. float32")
    return shape, dtype


def read_array(path: Path) -> Array:
    """The numbers of a .npy file as float64.

    Raises:
        TrajectoryError: not a .npy file, pickled, no real numbers, or shorter than its header promises.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream, path.stat().st_size, str(path))
    except OSError as error:
        raise TrajectoryError(f"{path} cannot be read ({error.strerror}); check the path") from None


def read_archive(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """The named arrays of an .npz archive as float64.

    Raises:
        TrajectoryError: not an archive, a name is missing, or one of the arrays cannot be read.
    """
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for name in names:
                if name not in members:
                    raise TrajectoryError(
                        f"{path} has no array {name!r} (it has {', '.join(sorted(members)) or 'none'}); "
                        f"save it with numpy.savez(path, {', '.join(f'{n}=...' for n in names)})"
                    )
                member = members[name]
                if member.file_size > MAX_BYTES:
                    raise TrajectoryError(f"{path}, array {name}: {member.file_size} bytes is no camera path")
                raw = archive.read(member)
                arrays[name] = _read(io.BytesIO(raw), len(raw), f"{path}, array {name}")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise TrajectoryError(f"{path} is a damaged .npz archive ({error}); save it again") from None
    except OSError as error:
        raise TrajectoryError(f"{path} cannot be read ({error.strerror}); check the path") from None
    return arrays


def _read(stream: BinaryIO, num_bytes: int, what: str) -> NDArray[np.float64]:
    shape, dtype = header_of(stream, what)
    start = stream.tell()
    needed = math.prod(shape) * dtype.itemsize
    # judged before anything is allocated: a damaged header may promise terabytes
    if num_bytes - start < needed or needed > MAX_BYTES:
        raise TrajectoryError(
            f"{what} is cut off: its header promises {needed} bytes of {shape} {dtype}, the file has "
            f"{num_bytes - start}; fetch or save it again"
        )
    stream.seek(0)
    try:
        values = np.load(io.BytesIO(stream.read()), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TrajectoryError(f"{what} is not a readable .npy array ({error}); save it again") from None
    return np.asarray(values, dtype=np.float64)
