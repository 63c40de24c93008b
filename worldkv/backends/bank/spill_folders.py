"""Several folders to spill to: where one is full or fails, the next one takes the chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from worldkv.backends.bank.disk import DiskChunk, DiskStore, read_stored
from worldkv.errors import OutputError, TransferError

Folders = Path | Sequence[Path] | None
"""Where spilled chunks go: a folder, several in the order in which they are tried, or a temporary one."""


class SpillFolders:
    """Stores in several folders as one. What took the last chunk is tried first, the others after it, in turn.

    So a disk that has filled up is not written to for every chunk, and is used again once the others are full.
    """

    def __init__(self, folders: Folders = None) -> None:
        """Stores in `folders`, made when they are first needed."""
        single = folders is None or isinstance(folders, str | Path)
        self._folders: list[Path | None] = [folders] if single else list(folders)  # type: ignore[arg-type, list-item]
        if not self._folders:
            raise OutputError("there is no folder to spill to; name one, or none for a temporary one")
        self._stores: dict[int, DiskStore] = {}
        self._at, self._is_open = 0, True

    def write(self, chunk: int, content: Tensor) -> DiskChunk:
        """See `DiskStore.write`.

        Raises:
            OutputError: no folder takes it.
        """
        says: str | None = None  # not the error: its traceback would keep this call alive, and the chunk's file with it
        count = len(self._folders)
        for turn in range(count):
            place = (self._at + turn) % count
            try:
                stored = self._store(place).write(chunk, content)
            except (OutputError, TransferError) as error:
                if count == 1:
                    raise
                says = says or str(error)
            else:
                self._at = place
                return stored
        raise OutputError(f"no folder takes it; the first says: {says}")

    def read(self, stored: DiskChunk, target: Tensor) -> None:
        """See `DiskStore.read`; a chunk's file may lie in any of the folders."""
        read_stored(stored, target)

    def adopt(self, chunk: int, source: Path, num_bytes: int, crc32: int) -> DiskChunk:
        """See `DiskStore.adopt`."""
        return self._store(self._at).adopt(chunk, source, num_bytes, crc32)

    def close(self) -> None:
        """See `DiskStore.close`."""
        self._is_open = False
        for store in self._stores.values():
            store.close()

    def _store(self, place: int) -> DiskStore:
        if place not in self._stores:
            if not self._is_open:
                raise OutputError("nothing can be written: the store is closed; open another")
            self._stores[place] = DiskStore(self._folders[place])
        return self._stores[place]
