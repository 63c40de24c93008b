"""The cache as a plain dictionary: an independent, slow model of what an engine must do with a policy's answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class Recorder(CachePolicy):
    """Hands every question on and notes the answers."""

    inner: CachePolicy
    answers: list[object] = field(default_factory=list, compare=False)

    def evict(self, window: WindowView) -> Eviction:
        answer = self.inner.evict(window)
        self.answers.append(answer)
        return answer

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        answer = self.inner.retrieve(query, bank)
        self.answers.append(answer)
        return answer

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        answer = self.inner.compress(chunk)
        self.answers.append((chunk.id, answer))
        return answer


@dataclass
class NaiveCache:
    """Sets and dictionaries only; unlimited host, no disk, no staging."""

    geometry: CacheGeometry
    home: dict[int, str] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    on_device: set[int] = field(default_factory=set)
    host_to_device: int = 0
    device_to_host: int = 0
    pruned: int = 0
    discarded: int = 0

    def begin(self, wanted: tuple[int, ...]) -> set[int]:
        """Fetch what is wanted and not there; the attended set."""
        for chunk in wanted:
            if chunk not in self.on_device:
                self.host_to_device += self.stored[chunk]
        attended = {chunk for chunk, home in self.home.items() if home == "window"} | set(wanted)
        self.on_device = set(attended)
        return attended

    def commit(self, eviction: Eviction, keeps: dict[int, Keep]) -> None:
        """The newest chunk enters, then the eviction is carried out."""
        chunk = len(self.home)
        self.home[chunk], self.tokens[chunk] = "window", self.geometry.chunk_tokens
        self.on_device.add(chunk)
        for gone in eviction.discard:
            self.home[gone] = "discarded"
            self.discarded += self.tokens.pop(int(gone))
        for shrunk, keep in eviction.shrink.items():
            self._prune(shrunk, keep.count)
        for banked in eviction.bank:
            keep = keeps[int(banked)]
            self._prune(int(banked), keep.count)
            self.home[int(banked)] = "bank"
            self.stored[int(banked)] = keep.bytes(self.geometry)
            self.device_to_host += self.stored[int(banked)]

    def total(self, home: str) -> int:
        """Tokens at home there."""
        return sum(self.tokens[chunk] for chunk, where in self.home.items() if where == home)

    def _prune(self, chunk: int, count: int) -> None:
        self.pruned += self.tokens[chunk] - count
        self.tokens[chunk] = count
