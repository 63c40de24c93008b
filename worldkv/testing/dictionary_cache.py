"""The cache as a plain dictionary: a slow, independent reference for what a policy's answers must lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.tiers import FILE_BYTES

Home = Literal["window", "spare", "host", "disk", "gone"]
BANK: tuple[Home, ...] = ("spare", "host", "disk")
EDGES = ("out", "in", "down", "up", "aside", "near", "off")
"""Those of `Traffic`, in its order."""


@dataclass
class Entry:
    """One chunk: its home, its tokens and bytes, the step at which it was last wanted, and what it was stored as."""

    home: Home
    tokens: int
    window_bytes: int
    stored_bytes: int
    last_used: int
    content: object = None


@dataclass
class DictionaryCache:
    """Every chunk an entry, every rule a loop; knows nothing of the engine.

    Attributes:
        geometry: the cache's shape.
        host_bytes: room on the host; None for no limit.
        disk_bytes: room on disk; None for no limit.
        staging_bytes: room for chunks that wait on the device.
        spare_bytes: room in spare memory of the same device; None for no such memory.
        entries: by chunk id, the discarded included.
        on_device: chunks whose tokens lie in the window, replicas included.
        staged: bytes of chunks that wait in staging.
        moved: bytes over each edge.
    """

    geometry: CacheGeometry
    host_bytes: int | None = None
    disk_bytes: int | None = None
    staging_bytes: int = 0
    spare_bytes: int | None = None
    entries: dict[int, Entry] = field(default_factory=dict)
    on_device: set[int] = field(default_factory=set)
    staged: dict[int, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EDGES, 0))
    pruned: int = 0
    discarded: int = 0

    def copy(self) -> DictionaryCache:
        """An independent twin."""
        return replace(
            self,
            entries={chunk: Entry(*vars(entry).values()) for chunk, entry in self.entries.items()},
            on_device=set(self.on_device),
            staged=dict(self.staged),
            moved=dict(self.moved),
            wanted=list(self.wanted),
        )

    def begin(self, retrieval: Retrieval | None) -> set[int]:
        """Bring what is wanted; None keeps what is there. The attended chunks."""
        home = {chunk for chunk, entry in self.entries.items() if entry.home == "window"}
        if retrieval is None:
            wanted = [chunk for chunk in self.wanted if self.entries[chunk].home in BANK]
        else:
            wanted = list(map(int, retrieval.ids))
        for chunk in wanted:
            if chunk in self.staged:
                del self.staged[chunk]
            elif chunk not in self.on_device:
                self._fetch(chunk)
        self.on_device = home | set(wanted)
        self.wanted = wanted
        if retrieval is not None:
            for chunk in wanted:
                self.entries[chunk].last_used = len(self.entries)
            self._stage([int(chunk) for chunk in retrieval.next_ids or ()])
        return set(self.on_device)

    def commit(self, eviction: Eviction, keeps: Mapping[int, Keep | RaggedKeep]) -> None:
        """The newest chunk enters the window, then the eviction is carried out."""
        chunk, geometry = len(self.entries), self.geometry
        self.entries[chunk] = Entry("window", geometry.chunk_tokens, geometry.chunk_bytes, 0, chunk)
        self.on_device.add(chunk)
        for shrunk, keep in eviction.shrink.items():
            self._prune(int(shrunk), keep)
        for gone in eviction.discard:
            self._discard(int(gone))
        for banked in map(int, eviction.bank):
            self._prune(banked, keeps[banked])
            self._bank(banked, keeps[banked].bytes(geometry))

    def total(self, *homes: Home) -> int:
        """Tokens at home there."""
        return sum(entry.tokens for entry in self.entries.values() if entry.home in homes)

    def held(self, home: Home) -> list[int]:
        """Chunks at home there, ascending."""
        return sorted(chunk for chunk, entry in self.entries.items() if entry.home == home)

    def stored(self) -> dict[object, int]:
        """Bytes of everything in the bank, by what it was stored as; copies of this cache share it."""
        banked = [self.entries[chunk] for chunk in self._banked()]
        return {entry.content: entry.stored_bytes for entry in banked}

    def store_anew(self) -> None:
        """Everything in the bank is its own, no copy shares it."""
        for chunk in self._banked():
            self.entries[chunk].content = object()

    def file_bytes(self, chunk: int) -> int:
        """Bytes of the file that a chunk has on disk."""
        return self.entries[chunk].stored_bytes + FILE_BYTES

    wanted: list[int] = field(default_factory=list)

    # ------------------------------------------------------------------ rules

    def _fetch(self, chunk: int) -> None:
        entry = self.entries[chunk]
        if entry.home == "spare":
            self.moved["near"] += entry.stored_bytes
            return
        self.moved["in"] += entry.stored_bytes
        if entry.home == "disk":
            self.moved["up"] += entry.stored_bytes

    def _stage(self, planned: list[int]) -> None:
        """Staging holds what is planned and not in the window, in that order, as far as it fits."""
        self.staged = {chunk: size for chunk, size in self.staged.items() if chunk in planned}
        for chunk in planned:
            if chunk in self.on_device or chunk in self.staged or self.entries[chunk].home == "spare":
                continue
            size = self.entries[chunk].window_bytes
            if sum(self.staged.values()) + size > self.staging_bytes:
                continue
            self._fetch(chunk)
            self.staged[chunk] = size

    def _prune(self, chunk: int, keep: Keep | RaggedKeep) -> None:
        entry = self.entries[chunk]
        self.pruned += entry.tokens - keep.count
        entry.tokens, entry.window_bytes = keep.count, keep.window_bytes(self.geometry)

    def _discard(self, chunk: int) -> None:
        entry = self.entries[chunk]
        self.discarded += entry.tokens
        entry.home = "gone"
        self.staged.pop(chunk, None)
        self.wanted = [other for other in self.wanted if other != chunk]

    def _bank(self, chunk: int, size: int) -> None:
        """As high in the bank as it fits, others going down for it; where there is no room the oldest are forgotten."""
        forgotten: list[int] = []
        while (plan := self._room_for(size, forgotten)) is None:
            forgotten.append(min(other for other in self._banked() if other not in forgotten))
        for other in forgotten:
            self._discard(other)
        home, spilled = plan
        for other, source, target in spilled:
            of_other = self.entries[other]
            self.moved["off"] += of_other.stored_bytes if source == "spare" else 0
            self.moved["down"] += of_other.stored_bytes if target == "disk" else 0
            of_other.home = target
        self.moved["aside" if home == "spare" else "out"] += size
        self.moved["down"] += size if home == "disk" else 0
        entry = self.entries[chunk]
        entry.home, entry.stored_bytes, entry.content = home, size, object()

    def _room_for(self, size: int, forgotten: list[int]) -> tuple[Home, list[tuple[int, Home, Home]]] | None:
        """Where `size` bytes go once `forgotten` are gone, and what spills for them; None if there is no room.

        Played out on a copy of the homes, one chunk at a time.
        """
        homes = {other: self.entries[other].home for other in self._banked() if other not in forgotten}
        spilled: list[tuple[int, Home, Home]] = []
        home = self._settle(size, BANK, homes, spilled)
        return None if home is None else (home, spilled)

    def _settle(
        self, size: int, tiers: tuple[Home, ...], homes: dict[int, Home], spilled: list[tuple[int, Home, Home]]
    ) -> Home | None:
        tier, below = tiers[0], tiers[1:]
        room = {"spare": self.spare_bytes or 0, "host": self.host_bytes, "disk": self.disk_bytes}[tier]
        most = float("inf") if room is None else room
        file = FILE_BYTES if tier == "disk" else 0
        if size + file > most:
            return self._settle(size, below, homes, spilled) if below else None
        while True:
            there = [other for other, home in homes.items() if home == tier]
            if sum(self.entries[other].stored_bytes + file for other in there) + size + file <= most:
                return tier
            if not below:
                return None
            first = min(there, key=lambda one: (self.entries[one].last_used, one))
            target = self._settle(self.entries[first].stored_bytes, below, homes, spilled)
            if target is None:
                return None
            spilled.append((first, tier, target))
            homes[first] = target

    def _banked(self) -> list[int]:
        return sorted(chunk for chunk, entry in self.entries.items() if entry.home in BANK)
