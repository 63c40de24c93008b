"""The policy interface: one abstract class with three questions, and the parts that answer them.

A policy decides, the engine carries out. Policies and parts are frozen dataclasses of hyper-parameters and pure
functions of the views they are handed; whatever changes during a rollout is a column or field of a view.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry, ModelShape
from worldkv.pose import Array
from worldkv.signals import Signal
from worldkv.views import AttendedChunks, BankView, ChunkView, Query, WindowView

NO_IDS: Ids = np.empty(0, np.int64)
"""No chunks."""
LATE_STEP = 1_000_000
"""A step by which every sink and recent window is full."""
Change = Literal["rigid motion", "unit"]
"""How the same world can be told differently: turned and shifted, or in another unit of length."""


class Part(ABC):  # noqa: B024  (what its kinds must answer differs; this is what they share)
    """Anything a policy is built of.

    Attributes:
        spec_names: what a spec string calls it, the first of them in listings; empty for what is named by its class.
        needs: signals it reads; reading another raises `SignalError`.
        data_dependent: whether *how many* tokens it keeps depends on keys or attention, so that the simulator has to
            replay a recording.
        invariant_under: changes of the world that leave its answers alone; a rule with directions or lengths of its
            own (which way is up, so many metres) takes them out. The conformance kit holds it to the rest.
    """

    spec_names: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[Signal]] = frozenset()
    data_dependent: ClassVar[bool] = False
    invariant_under: ClassVar[frozenset[Change]] = frozenset({"rigid motion", "unit"})

    def parts(self) -> tuple[Part, ...]:
        """The parts it holds: by default those among the values of its dataclass fields, alone or in tuples."""
        if not dataclasses.is_dataclass(self):
            return ()
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        rows = (value if isinstance(value, tuple) else (value,) for value in values)
        return tuple(value for row in rows for value in row if isinstance(value, Part))

    @classmethod
    def default_in(cls, geometry: CacheGeometry, name: str, default: Any) -> Any:
        """What the default of the parameter `name` is in `geometry`: latent frames, rounded up to whole chunks.

        Asked for whole numbers and text. A class that counts chunks or tokens in another way answers for those too.
        """
        if name.endswith("_frames") and isinstance(default, int):
            return geometry.whole_frames(default)
        return default

    @property
    def bound_to(self) -> ModelShape | None:
        """The shape of the one model it works with, where it holds a file of that model; None for any model."""
        return None


class CachePolicy(Part):
    """Decides which chunks stay, which come back and which of their tokens are worth keeping.

    Attributes:
        asked_at: "begin" (before the first denoise pass) or "first_pass" (after it, with the step's own queries).
        has_own_size: whether its default size is one that others are matched to in a comparison, not the reverse.
        has_bank: whether `evict` ever sends a chunk to the bank; where not, no host memory is set aside for one.
    """

    asked_at: ClassVar[Literal["begin", "first_pass"]] = "begin"
    has_own_size: ClassVar[bool] = False
    has_bank: ClassVar[bool] = True

    @abstractmethod
    def evict(self, window: WindowView) -> Eviction:
        """Which chunks leave the window after a commit.

        Args:
            window: every chunk at home in the window, the one just committed included.

        Returns:
            Which go to the bank, which are gone for good, which are shrunk in place; all others stay.
        """

    @abstractmethod
    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """Which banked chunks the step attends beside the window.

        Args:
            query: the step's view and what the engine remembers.
            bank: every banked chunk.

        Returns:
            The whole set wanted, best first; the engine moves only what is not already there.
        """

    @abstractmethod
    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """Which tokens of a chunk on its way to the bank are stored.

        Args:
            chunk: the chunk; its `keys` are None in the simulator, where counts per latent frame are enough.
        """

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """Ids that it promises never to evict with `step` chunks committed (sink, recent, reference frames)."""
        return NO_IDS

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """The same policy sized so that a step attends at most `window_tokens`, its own chunk included.

        None (the default) where the policy's size is its own business, or cannot be made that small.
        """
        return None

    @property
    def is_bounded(self) -> bool:
        """Whether its window stops growing."""
        return True

    @property
    def ragged(self) -> bool:
        """Whether counts kept may differ per layer and head: where a rule inside says so."""
        return is_ragged(self)

    @property
    def positions(self) -> Positions:
        """Where in time each attended chunk stands: by default where it was generated."""
        return ABSOLUTE


class Positions(Part):
    """Says where in time each attended chunk stands, as a part.

    Keys carry a rotary position in time. A rule may stand a chunk elsewhere than where it was generated; attention
    sees only differences of positions, so where the chunk being generated stands is part of the answer.

    Attributes:
        moves: whether any chunk ever stands elsewhere than where it was generated.
    """

    moves: ClassVar[bool] = True

    @abstractmethod
    def places(self, attended: AttendedChunks) -> Ids:
        """The latent frame at which each attended chunk, and last the chunk being generated, starts `(chunks + 1,)`."""

    def check_window(self, frames: int) -> None:
        """Refuse a window of `frames` latent frames beside the own chunk that the rule has no places for.

        Raises:
            SpecError: naming the parameter to change.
        """


@dataclasses.dataclass(frozen=True)
class Absolute(Positions):
    """Every chunk stands where it was generated. Source: the models' own default."""

    spec_names: ClassVar[tuple[str, ...]] = ("absolute",)
    moves: ClassVar[bool] = False

    def places(self, attended: AttendedChunks) -> Ids:
        """See `Positions.places`."""
        return np.append(attended.starts, attended.own_start)


ABSOLUTE = Absolute()
"""The positions of a policy that says nothing of them."""


class EvictionRule(Part):
    """Which chunks leave the window, as a part.

    Attributes:
        is_bounded: whether the window stops growing under it.
        ragged: whether it may shrink chunks to different counts per layer and head.
        keeps_only_pinned: whether nothing stays but what it pins, so that the window's size is known beforehand.
    """

    is_bounded: ClassVar[bool] = True
    ragged: ClassVar[bool] = False
    keeps_only_pinned: ClassVar[bool] = False

    @abstractmethod
    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""

    @abstractmethod
    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""


class Index(Part):
    """Scores every banked chunk against the step's view, all at once."""

    @abstractmethod
    def scores(self, query: Query, bank: BankView) -> Array:
        """How much each row of `bank` should come back: `(chunks,)`, finite, higher = fetch."""


class CoverageIndex(Part):
    """Says which points of interest each banked chunk covers."""

    @abstractmethod
    def coverage(self, query: Query, bank: BankView) -> NDArray[np.bool_]:
        """Points each row of `bank` covers: `(chunks, points)`."""


class Selector(Part):
    """Picks chunks by their scores."""

    @abstractmethod
    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """Rows of `bank` to fetch, best first.

        Args:
            scores: one score a row `(chunks,)`.
            query: the step's query.
            bank: the rows scored.
            chunks: rows to pick at most.
        """


class CoverageSelector(Part):
    """Picks chunks by what they cover together."""

    @abstractmethod
    def select(
        self,
        coverage: NDArray[np.bool_],
        query: Query,
        bank: BankView,
        chunks: int,
        added: Array | None = None,
    ) -> Ids:
        """Rows of `bank` to fetch, best first.

        Args:
            coverage: what each row covers `(chunks, points)`.
            query: the step's query.
            bank: the rows.
            chunks: rows to pick at most.
            added: what each row gains beside what it covers, in shares of all points `(chunks,)`; None for nothing.
        """


Ask = Callable[[Query, BankView], Retrieval]
"""An index and its selector, asked together."""


class ScoreWrapper(Part):
    """Adds to what an index says of every chunk something that the index does not know: its age, its residence."""

    @abstractmethod
    def added(self, query: Query, bank: BankView) -> Array:
        """What each row of `bank` gains `(chunks,)`, in shares of the range of scores; of all points, for coverage."""


class RetrievalWrapper(Part):
    """Decides at which steps an index is asked, and for which view."""

    @abstractmethod
    def retrieve(self, query: Query, bank: BankView, ask: Ask) -> Retrieval:
        """The retrieval of this step, with or without `ask`."""


Wrapper = ScoreWrapper | RetrievalWrapper
"""Wrappers around an index and its selector."""


class TokenScorer(Part):
    """Says how much each token of a chunk is worth keeping."""

    @abstractmethod
    def token_scores(self, chunk: ChunkView) -> Any:
        """How much each token is worth: higher = keep.

        Args:
            chunk: the chunk; its keys are there.

        Returns:
            `(layers, kv_heads, tokens)`, or `(layers, 1, tokens)` where all heads of a layer say the same, those of
            other ranks included (`chunk.reduce`); numpy's or in the namespace of `chunk.keys`.
        """


class Compression(Part):
    """Which tokens of a chunk the bank stores.

    Attributes:
        keeps_anchor: whether it promises to keep a chunk's first latent frame whole.
        ragged: whether it may keep different counts per layer and head.
    """

    keeps_anchor: ClassVar[bool] = False
    ragged: ClassVar[bool] = False

    @abstractmethod
    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """The closed form: how many tokens of each latent frame are kept, without looking at keys."""

    @abstractmethod
    def keep(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """The real choice, by `chunk.keys`; its count equals `kept_tokens`' unless `data_dependent`."""


def needs_of(part: Part) -> frozenset[Signal]:
    """The signals that `part` and everything it holds read.

    Raises:
        SpecError: what a part declares is no set of signals.
    """
    declared = part.needs
    if not isinstance(declared, frozenset | set) or not all(isinstance(signal, Signal) for signal in declared):
        raise SpecError(
            f"{type(part).__name__}.needs must be a frozenset of signals, got {declared!r}; write "
            "frozenset({Signal.POSE})"
        )
    return declared.union(*(needs_of(inner) for inner in part.parts()))


def is_oracle(part: Part) -> bool:
    """Whether it reads what no model has: the landmarks of the metric, or attention of a recorded run to come."""
    return bool(needs_of(part) & {Signal.LANDMARKS, Signal.ATTENTION_AHEAD})


def is_data_dependent(part: Part) -> bool:
    """Whether how many tokens `part`, or a part inside it, keeps depends on keys or attention."""
    return part.data_dependent or any(is_data_dependent(inner) for inner in part.parts())


def is_ragged(part: Part) -> bool:
    """Whether an eviction rule or a compression inside `part` keeps different counts per layer and head."""
    inside = part.parts()
    return any(isinstance(one, EvictionRule | Compression) and one.ragged for one in inside) or any(
        map(is_ragged, inside)
    )


def shape_of(part: Part) -> ModelShape:
    """What a part and everything in it are bound to.

    Raises:
        SpecError: they are bound to different models.
    """
    shape = part.bound_to or ModelShape()
    for inner in part.parts():
        shape = shape.joined(shape_of(inner))
    return shape


def names_of(cls: type[Part]) -> tuple[str, ...]:
    """What a key of a spec string may call a part: its own spec names, or its class where it has none."""
    return vars(cls).get("spec_names") or (cls.__name__,)


P = TypeVar("P", bound=Part)


def by_spec_name(exported: Mapping[str, object], kind: type[P]) -> dict[str, type[P]]:
    """The classes of a kind among a module's names, by every name that a spec string may use for them."""
    found: dict[str, type[P]] = {}
    for value in exported.values():
        if isinstance(value, type) and issubclass(value, kind) and "spec_names" in vars(value):
            found |= dict.fromkeys(value.spec_names, value)
    return found
