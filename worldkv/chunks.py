"""The chunk table: columns of what is known of every chunk, one row a chunk, its id the row's number."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.pose import POSE_COLUMNS, ChunkPose, padded, pose_shapes
from worldkv.signals import Measured, Signal, Viewpoint


class Tier(enum.IntEnum):
    """Where a chunk's home lies. The device is the window, the bank is `BANK_TIERS`, none is discarded.

    Records carry the numbers, so a new tier takes the next one.
    """

    DEVICE = 0
    HOST = 1
    DISK = 2
    NONE = 3
    SPARE = 4


BANK_TIERS = SPARE, HOST, DISK = Tier.SPARE, Tier.HOST, Tier.DISK
"""Tiers of the bank from the fastest down: device memory outside the window, host memory, disk.

Each has a name of its own for code that runs for every move: a look-up in an enumeration takes longer than a move.
"""


_KEY_COLUMNS = ("key_mean", "key_min", "key_max")


class ChunkTable:
    """Columns of numpy arrays over all chunks produced so far; the engine writes it, policies read slices of it.

    Rows are appended at commit; only `undo` takes one back. Facts fixed at commit (poses, key summaries) are
    written once; what changes (`tier`, `tokens`, `frame_tokens`, `stored_bytes`, `window_bytes`, `last_used`,
    `times_retrieved`, `attention_mass`) goes through `write`, which can journal the old values so that a
    rewind is exact and costs only what changed.

    Attributes:
        columns: every column's whole allocation; rows from `len(self)` on are not yet meaningful.
    """

    def __init__(
        self, geometry: CacheGeometry, signals: frozenset[Signal], capacity: int = 64, key_heads: int | None = None
    ) -> None:
        """An empty table with the columns that `signals` call for.

        Args:
            geometry: the cache's shape.
            signals: what is known of a chunk beside sizes and ages.
            capacity: rows allocated at first.
            key_heads: KV heads of a key summary; the geometry's own by default, those of all ranks where heads are
                split.
        """
        frames = geometry.frames_per_chunk
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "ids": ((), np.int64),
            "frames": ((), np.int64),
            "start_frame": ((), np.int64),
            "tier": ((), np.int8),
            "tokens": ((), np.int64),
            "frame_tokens": ((frames,), np.float64),
            "stored_bytes": ((), np.int64),
            "window_bytes": ((), np.int64),
            "last_used": ((), np.int64),
            "times_retrieved": ((), np.int64),
            "scene": ((), np.int64),
        }
        self._pose_kinds = tuple(signal.value for signal in (Signal.POSE, Signal.ACTION) if signal in signals)
        for kind in self._pose_kinds:
            shapes |= {f"{kind}.{name}": (shape, np.float64) for name, shape in pose_shapes(frames).items()}
        if Signal.ATTENTION_MASS in signals:
            shapes["attention_mass"] = ((), np.float64)
        if Signal.KEY_SUMMARY in signals:
            shape = (geometry.layers, key_heads or geometry.kv_heads, geometry.head_dim)
            shapes |= {name: (shape, np.float32) for name in _KEY_COLUMNS}
        self.geometry = geometry
        self.signals = signals
        self.columns: dict[str, NDArray[Any]] = {
            name: np.zeros((capacity, *shape), dtype) for name, (shape, dtype) in shapes.items()
        }
        self._has_keys = Signal.KEY_SUMMARY in signals
        self._length = 0
        self._capacity = capacity
        self._fill_defaults(0)
        self._journal: list[tuple[str, int, Any]] | None = None

    def __len__(self) -> int:
        """Chunks produced so far."""
        return self._length

    @property
    def next_frame(self) -> int:
        """Latent frame at which the next chunk starts: the sum of all chunks' frames."""
        last = self._length - 1
        return 0 if last < 0 else self.columns["start_frame"].item(last) + self.columns["frames"].item(last)

    def append(self, viewpoint: Viewpoint, measured: Measured | None, frames: int | None = None, scene: int = 0) -> int:
        """Add the row of a chunk that has just been committed to the window.

        Args:
            viewpoint: where its camera stood.
            measured: what the model measured of it.
            frames: its latent frames; None for a whole chunk.
            scene: which scene it is of; the first is 0.

        Returns:
            The new chunk's id.
        """
        row = self._length
        if row == self._capacity:
            self._grow()
        self.columns["start_frame"][row], self.columns["scene"][row] = self.next_frame, scene
        if frames is not None and frames < self.geometry.frames_per_chunk:
            self._shorten(row, frames)
        for kind in self._pose_kinds:
            self._write_pose(kind, row, viewpoint.camera if kind == "pose" else viewpoint.action)
        if self._has_keys:
            for name in _KEY_COLUMNS:
                value = None if measured is None else getattr(measured, name)
                if value is None:
                    raise PolicyError(f"chunk {row} was committed without its {name}, which the policy needs")
                self.columns[name][row] = value
        self._length += 1
        return row

    def write(self, column: str, row: int, value: Any) -> None:
        """Change one value of one row."""
        cells = self.columns[column]
        if self._journal is not None:
            old = cells[row]
            # An array's row is a view of the table: copied, or it would change along with it.
            self._journal.append((column, row, old.copy() if isinstance(old, np.ndarray) else old))
        cells[row] = value

    def start_journal(self) -> list[tuple[str, int, Any]]:
        """Note the old value of every write from now on; hand the list to `undo` to take them back."""
        self._journal = []
        return self._journal

    def undo(self, journal: list[tuple[str, int, Any]], length: int) -> None:
        """Take back the journalled writes, newest first, and forget the rows from `length` on."""
        # Newest first, so that a cell written several times ends at its oldest value. Cells are named by column and
        # row, not by array, so that the table may have grown since. Rows from `length` on were appended after the
        # journal began: with every write taken back they say what a new row says, as `append` expects.
        for column, row, old in reversed(journal):
            self.columns[column][row] = old
        self._length = length

    def copy(self) -> ChunkTable:
        """An independent table with the same rows, its journal empty."""
        twin = object.__new__(ChunkTable)
        twin.geometry, twin.signals = self.geometry, self.signals
        twin._pose_kinds, twin._has_keys = self._pose_kinds, self._has_keys
        twin.columns = {name: array.copy() for name, array in self.columns.items()}
        twin._length, twin._capacity, twin._journal = self._length, self._capacity, None
        return twin

    def take_in(self, rows: dict[str, NDArray[Any]], length: int) -> None:
        """Hold `length` rows that were saved, in place of all others.

        Raises:
            ValueError: columns, shapes or types are others than this table's.
        """
        if rows.keys() != self.columns.keys():
            raise ValueError(f"columns {sorted(rows)} are not {sorted(self.columns)}")
        for name, cells in self.columns.items():
            if rows[name].dtype != cells.dtype or rows[name].shape != (length, *cells.shape[1:]):
                raise ValueError(f"column {name} has shape {rows[name].shape} of {rows[name].dtype}")
        while self._capacity < length:
            self._grow()
        for name, cells in self.columns.items():
            cells[:length] = rows[name]
        self._length, self._journal = length, None

    def _write_pose(self, kind: str, row: int, pose: ChunkPose | None) -> None:
        if pose is None:
            raise PolicyError(f"chunk {row} was begun without its {kind} pose, which the policy needs")
        pose = padded(pose, self.geometry.frames_per_chunk)
        for name, field in POSE_COLUMNS.items():
            self.columns[f"{kind}.{name}"][row] = getattr(pose, field)

    def _shorten(self, row: int, frames: int) -> None:
        """A new row says that its chunk has only `frames` latent frames; journalled, so that `undo` makes it whole."""
        geometry = self.geometry
        tokens = frames * geometry.tokens_per_frame
        of_frames = np.zeros(geometry.frames_per_chunk)
        of_frames[:frames] = geometry.tokens_per_frame
        self.write("frames", row, frames)
        self.write("tokens", row, tokens)
        self.write("frame_tokens", row, of_frames)
        self.write("stored_bytes", row, tokens * geometry.token_bytes)
        self.write("window_bytes", row, tokens * geometry.token_bytes)

    def _grow(self) -> None:
        # Old arrays are left as they are: slices of them that were handed out stay valid.
        self._capacity *= 2
        for name, old in self.columns.items():
            new = np.zeros((self._capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            self.columns[name] = new
        self._fill_defaults(self._length)

    def _fill_defaults(self, start: int) -> None:
        """What a row says when its chunk is committed, written ahead for all rows from `start` on."""
        columns, geometry = self.columns, self.geometry
        rows = slice(start, self._capacity)
        columns["ids"][rows] = np.arange(start, self._capacity)
        columns["last_used"][rows] = columns["ids"][rows]
        columns["frames"][rows] = geometry.frames_per_chunk
        columns["tier"][rows] = Tier.DEVICE
        columns["tokens"][rows] = geometry.chunk_tokens
        columns["frame_tokens"][rows] = geometry.tokens_per_frame
        columns["stored_bytes"][rows] = geometry.chunk_bytes
        columns["window_bytes"][rows] = geometry.chunk_bytes
