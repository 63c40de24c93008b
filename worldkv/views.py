"""Views that a policy is shown: read-only slices of the chunk table, and the step's query.

A view hands out contiguous columns without a copy wherever its chunks form one run of ids, which they do unless
chunks are discarded out of the middle. Reading a signal that the policy did not declare raises `SignalError`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Ids
from worldkv.chunks import ChunkTable
from worldkv.errors import SignalError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.landmarks import Landmarks
from worldkv.pose import Array, ChunkPose, Poses
from worldkv.signals import Signal


class ChunkRows:
    """The chunks a view shows, in ascending id order: columns one row a chunk. Every array is read-only.

    Attributes:
        step: chunks committed so far.
        geometry: the cache's shape.
        ids: chunk ids `(chunks,)`, ascending.
    """

    __slots__ = ("_landmarks", "_rows", "_signals", "_table", "geometry", "ids", "step")

    def __init__(
        self,
        table: ChunkTable,
        rows: slice | Ids,
        signals: frozenset[Signal],
        landmarks: Landmarks | None = None,
    ) -> None:
        """A view of `rows` of `table` that may read `signals`."""
        self._table, self._rows, self._signals, self._landmarks = table, rows, signals, landmarks
        self.geometry = table.geometry
        self.step = len(table)
        self.ids: Ids = self.column("ids")

    def __len__(self) -> int:
        """Chunks shown."""
        return len(self.ids)

    def oldest(self, count: int) -> Self:
        """A view of the first `count` chunks shown, those with the lowest ids."""
        older, rows = copy.copy(self), self._rows
        older.ids = self.ids[:count]
        older._rows = slice(rows.start, rows.start + len(older)) if isinstance(rows, slice) else rows[:count]
        return older

    def column(self, name: str) -> NDArray[Any]:
        """One column of the table `(chunks, ...)`: a read-only slice, or a copy where ids have holes."""
        values = self._table.columns[name][self._rows]
        values.flags.writeable = False
        return values

    def require(self, signal: Signal) -> None:
        """Refuse to hand out a signal that the policy did not declare.

        Raises:
            SignalError: `signal` is not among the policy's `needs`.
        """
        if signal not in self._signals:
            raise SignalError(
                f"the policy read {signal.value} without declaring it; add Signal.{signal.name} to its `needs`"
            )

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens each chunk has at home `(chunks,)`: kept ones once it is banked."""
        return self.column("tokens")

    @property
    def frame_tokens(self) -> Array:
        """Tokens of each latent frame `(chunks, frames)`."""
        return self.column("frame_tokens")

    @property
    def ages(self) -> NDArray[np.int64]:
        """Steps since each chunk was generated `(chunks,)`; 1 is the newest."""
        return self.step - self.ids

    @property
    def last_used(self) -> NDArray[np.int64]:
        """Step at which each chunk was last retrieved, or generated if never `(chunks,)`."""
        return self.column("last_used")

    @property
    def times_retrieved(self) -> NDArray[np.int64]:
        """Steps at which each chunk was retrieved `(chunks,)`."""
        return self.column("times_retrieved")

    @property
    def poses(self) -> Poses:
        """Camera poses; needs `Signal.POSE`."""
        self.require(Signal.POSE)
        return Poses(lambda name: self.column(f"pose.{name}"))

    @property
    def action_poses(self) -> Poses:
        """Poses integrated from actions; needs `Signal.ACTION`."""
        self.require(Signal.ACTION)
        return Poses(lambda name: self.column(f"action.{name}"))

    @property
    def attention_mass(self) -> Array:
        """Attention received so far, summed over steps `(chunks,)`; needs `Signal.ATTENTION_MASS`."""
        self.require(Signal.ATTENTION_MASS)
        return self.column("attention_mass")

    @property
    def key_mean(self) -> NDArray[np.float32]:
        """Mean key `(chunks, layers, kv_heads, head_dim)`; needs `Signal.KEY_SUMMARY`."""
        self.require(Signal.KEY_SUMMARY)
        return self.column("key_mean")

    @property
    def key_min(self) -> NDArray[np.float32]:
        """Channel-wise least key `(chunks, layers, kv_heads, head_dim)`; needs `Signal.KEY_SUMMARY`."""
        self.require(Signal.KEY_SUMMARY)
        return self.column("key_min")

    @property
    def key_max(self) -> NDArray[np.float32]:
        """Channel-wise greatest key `(chunks, layers, kv_heads, head_dim)`; needs `Signal.KEY_SUMMARY`."""
        self.require(Signal.KEY_SUMMARY)
        return self.column("key_max")

    @property
    def landmarks(self) -> NDArray[np.uint8]:
        """Landmarks each chunk saw, packed bits `(chunks, bytes)`; needs `Signal.LANDMARKS` (oracles only)."""
        seen = self._declared_landmarks().seen[self._rows]
        seen.flags.writeable = False
        return seen

    @property
    def landmarks_by_word(self) -> NDArray[np.uint64]:
        """The same bits, words first `(words, chunks)`, as `greedy_cover` takes them."""
        seen = self._declared_landmarks().seen_by_word[:, self._rows]
        seen.flags.writeable = False
        return seen

    def _declared_landmarks(self) -> Landmarks:
        self.require(Signal.LANDMARKS)
        if self._landmarks is None:
            raise SignalError("landmarks were declared but this run has none; run it through `worldkv compare`")
        return self._landmarks


class AttendedChunks(NamedTuple):
    """What a step attends beside the chunk being generated: what a rule of positions is shown.

    Attributes:
        step: the chunk being generated.
        ids: ids attended, ascending `(chunks,)`.
        starts: latent frame at which each was generated `(chunks,)`.
        frames: latent frames of each `(chunks,)`.
        retrieved: banked ids among them, best first.
        own_start: latent frame at which the chunk being generated starts.
        own_frames: its latent frames.
    """

    step: int
    ids: Ids
    starts: Ids
    frames: Ids
    retrieved: tuple[int, ...]
    own_start: int
    own_frames: int


class BankView(ChunkRows):
    """Every banked chunk: what `retrieve` may choose from."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ChunkView:
    """One chunk about to be stored or shrunk.

    Attributes:
        id: the chunk's id.
        step: chunks committed so far.
        geometry: the cache's shape.
        frame_tokens: its current tokens per latent frame `(frames,)`.
        keys: its current keys `(layers, kv_heads, tokens, head_dim)` in the cache's own dtype and any array-API
            namespace, averaged over nothing (a batch's branches share the first's decisions); None in the simulator.
            Not copied: `worldkv.parts.key_layers` reads them in float32, a few layers at a time.
        read_values: reads `values`; None in the simulator.
        attention_mass: attention each token received, summed over steps `(layers, kv_heads, tokens)`; None unless
            declared and measured.
        hidden: hidden states `(layers, tokens, channels)`; None unless declared and measured.
        recorded_tokens: tokens that a recorded run kept of this chunk, or held of it after this step; None without a
            recording.
        recorded_entries: tokens that it kept of this chunk, summed over layers and heads; None likewise.
        query_summary: mean query of the step just generated `(layers, kv_heads, head_dim)`; None unless declared and
            measured.
        reduce: sums an array over ranks that hold different heads; None where one rank holds them all.
        heads: which of the model's KV heads `keys` are of, where the cache knows that they are split over ranks; None
            for all.
    """

    id: int
    step: int
    geometry: CacheGeometry
    frame_tokens: tuple[float, ...]
    keys: Any = None
    read_values: Callable[[], Any] | None = None
    attention_mass: Any = None
    hidden: Any = None
    recorded_tokens: int | None = None
    reduce: Callable[[Any], Any] | None = None
    recorded_entries: int | None = None
    query_summary: Any = None
    heads: slice | None = None

    @property
    def tokens(self) -> int:
        """Tokens it has now."""
        return round(sum(self.frame_tokens))

    @property
    def values(self) -> Any:
        """Its current values, shaped as `keys`, in the cache's own dtype; None in the simulator."""
        return None if self.read_values is None else self.read_values()


class WindowView(ChunkRows):
    """Every chunk whose home is the window, the newest included: what `evict` decides about."""

    __slots__ = ("_open_chunk",)

    def __init__(
        self,
        table: ChunkTable,
        rows: slice | Ids,
        signals: frozenset[Signal],
        open_chunk: Callable[[int], ChunkView],
    ) -> None:
        """A view of `rows` whose chunks `open_chunk` can show in full."""
        super().__init__(table, rows, signals)
        self._open_chunk = open_chunk

    def chunk(self, chunk_id: int) -> ChunkView:
        """One of its chunks in full, as `compress` would see it; for shrinking in place."""
        return self._open_chunk(chunk_id)


@dataclass(frozen=True, slots=True)
class Query:
    """What a step asks of the bank.

    Attributes:
        step: the chunk about to be generated (ids count from 0).
        geometry: the cache's shape.
        window: chunks already in the window, which need no retrieving.
        resident: ids retrieved at the last step and still banked, best first.
        planned: the last answer's `next_ids`.
        last_refresh: the last step at which `retrieve` looked afresh; None before the first.
        room_tokens: tokens that retrieval may fill within the window budget; None without a budget.
        field_of_view: full horizontal and vertical angle of the camera in degrees.
        view_distance: how far the camera is taken to see, in the trajectory's unit.
        pose: the step's camera pose; None unless `Signal.POSE` is declared.
        action_pose: the same integrated from actions; None unless `Signal.ACTION` is declared.
        summary: mean query `(layers, kv_heads, head_dim)`: of the previous step when asked at "begin", of this
            step's first pass when asked there; of the heads of all ranks, as key summaries are; None unless declared,
            and before the first.
        landmarks: landmarks that count at this step, packed bits `(bytes,)`; None unless declared (oracles only).
        landmarks_ahead: landmarks that count at this step and each later one `(steps left, bytes)`; None likewise.
        attention_ahead: attention that every chunk of the rollout, by id, receives at this step and each later one of a
            recorded run of full KV `(steps left, chunks)`; None unless declared (oracles only).
    """

    step: int
    geometry: CacheGeometry
    window: ChunkRows
    resident: tuple[int, ...]
    planned: tuple[int, ...]
    last_refresh: int | None
    room_tokens: int | None
    field_of_view: tuple[float, float]
    view_distance: float
    pose: ChunkPose | None = None
    action_pose: ChunkPose | None = None
    summary: Any = None
    landmarks: NDArray[np.uint8] | None = None
    landmarks_ahead: NDArray[np.uint8] | None = None
    attention_ahead: NDArray[np.float32] | None = None
