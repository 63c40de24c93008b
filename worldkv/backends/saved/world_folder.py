"""The folder of a saved world: files that are never changed, and one document that names those which count.

`world.json` is replaced by one rename, so a process that ends at any moment leaves the older world or the newer one.
Files that no document names are removed by the next save.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from worldkv.backends.bank.chunk_file import read_file, write_file
from worldkv.errors import LostChunkError, OutputError, SavedWorldError
from worldkv.files import MOST_TEXT_BYTES, open_plain, read_plain, write_atomically
from worldkv.trajectory.formats.json_file import parsed

FORMAT = "worldkv-world"
VERSION = 1
"""Raised when what an older reader would take for granted changes."""
DOCUMENT = "world.json"
LOCKS = WRITING, READING = ("writing.lock", "reading.lock")
"""Held by the process that saves, and shared by those whose bank lies in the folder."""
SUFFIX = ".safetensors"
_OWN = re.compile(r"(?:bank|window|state)-[0-9a-z-]{1,80}\.safetensors|\.world\.json\.[0-9a-f]{32}")

try:
    import fcntl
except ImportError:  # Windows: nobody keeps two processes apart there
    fcntl = None  # type: ignore[assignment]


class SavedFile(NamedTuple):
    """A file that a document names.

    Attributes:
        name: in the folder.
        num_bytes: of its content, the header of a chunk's file not counted.
        crc32: of the same.
    """

    name: str
    num_bytes: int
    crc32: int

    @classmethod
    def of(cls, entry: Any) -> SavedFile:
        """From a document's list.

        Raises:
            ValueError, TypeError: it is none.
        """
        name, num_bytes, crc32 = entry
        if not isinstance(name, str) or not _OWN.fullmatch(name) or not name.endswith(SUFFIX):
            raise ValueError("a file's name is none of a saved world")
        if type(num_bytes) is not int or type(crc32) is not int or not 0 <= num_bytes < 1 << 62:
            raise ValueError("a file's size or checksum is no number")
        return cls(name, num_bytes, crc32)


class Lease:
    """A hold on a folder's files: they are not removed while it is referred to, by any process."""

    def __init__(self, folder: Path) -> None:
        """Share the folder's files with everybody who reads."""
        handle = _locked(folder / READING, is_shared=True)
        if handle is not None:
            weakref.finalize(self, _close, handle)


class WorldFolder:
    """A folder that holds one saved world.

    Attributes:
        path: where it is.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """The folder as it is; it may be missing."""
        self.path = Path(os.path.realpath(os.path.expanduser(os.fspath(folder))))

    # ------------------------------------------------------------------ reading

    def read(self) -> dict[str, Any]:
        """The document.

        Raises:
            SavedWorldError: there is none, it is damaged, or of another format or version.
        """
        path = self.path / DOCUMENT
        if not path.exists() and not path.is_symlink():
            raise SavedWorldError(f"{self.path} holds no saved world (no {DOCUMENT}); name the folder that save wrote")
        raw = read_plain(path, SavedWorldError, MOST_TEXT_BYTES)
        try:
            whole = parsed(raw)
            world = whole["world"]
            if world["format"] != FORMAT:
                raise SavedWorldError(
                    f"{path} is no saved world but of format {world['format']!r}; name another folder"
                )
            if world["version"] != VERSION:
                raise SavedWorldError(
                    f"{path} is a world of version {world['version']!r}, this worldkv reads version {VERSION}; open it "
                    "with the worldkv that saved it"
                )
            is_whole = raw == _document(world)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_whole = False
        if not is_whole:
            raise self.damaged(DOCUMENT, "it is not what was written")
        return dict(world)

    def read_bytes(self, file: SavedFile) -> bytes:
        """A whole file.

        Raises:
            SavedWorldError: it is missing or not what was written.
        """
        content = read_plain(self.path / file.name, SavedWorldError)
        if len(content) != file.num_bytes or zlib.crc32(content) != file.crc32:
            raise self.damaged(file.name, "it is not what was written")
        return content

    def check(self, file: SavedFile) -> None:
        """Refuse a chunk's file that is missing, no plain file, or shorter than what it holds.

        Raises:
            SavedWorldError: it is.
        """
        with open_plain(self.path / file.name, SavedWorldError, most=1 << 62) as stream:
            if os.fstat(stream.fileno()).st_size < file.num_bytes:
                raise self.damaged(file.name, "it is shorter than what was written")

    def read_chunk(self, file: SavedFile, chunk: int, room: Any) -> None:
        """Fill `room`, an array of bytes, from a chunk's file, and make sure that this is what was written.

        Raises:
            SavedWorldError: it is missing or not what was written.
        """
        self.check(file)
        try:
            read_file(self.path / file.name, chunk, file.crc32, room)
        except (LostChunkError, OSError) as error:
            reason = error.why if isinstance(error, LostChunkError) else error.strerror
            raise self.damaged(file.name, str(reason)) from None

    def damaged(self, name: str, why: str) -> SavedWorldError:
        """The error for a file that cannot be used."""
        return SavedWorldError(f"{self.path / name} is damaged ({why}); open an older copy of the world")

    # ------------------------------------------------------------------ writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[SaveInProgress]:
        """Save into the folder; what was there stays whole until `finish`, and also where anything fails before.

        Raises:
            OutputError: the folder cannot be written, holds something else, or another process is saving into it.
        """
        lock: int | None = None
        save = SaveInProgress(self)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.check_own()
            lock = self._alone()
            _close(_locked(self.path / READING, is_shared=True))  # the file is there for whoever may only read
            save.look_back()
            yield save
        except BaseException as error:
            save.abandon()
            if isinstance(error, OSError):
                raise self._refused(error) from None
            raise
        finally:
            _close(lock)

    def check_own(self) -> None:
        """Refuse a folder that holds something else than a saved world; one that is missing is made by `writing`.

        Raises:
            OutputError: it does, or cannot be looked into.
        """
        try:
            foreign = [name for name in os.listdir(self.path) if not _is_own(name)]
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(error) from None
        if foreign:
            raise OutputError(
                f"{self.path} holds {sorted(foreign)[0]!r}, which is no part of a saved world; name a new folder"
            )

    def _alone(self) -> int | None:
        try:
            return _locked(self.path / WRITING, is_shared=False)
        except BlockingIOError:
            raise OutputError(
                f"another process is saving to {self.path}; let it finish, or name another folder"
            ) from None

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(
            f"the world cannot be saved to {self.path} ({error.strerror or error}); what was saved there before is "
            "whole: make room, or name another folder, and save again"
        )


class SaveInProgress:
    """New files of a world that does not count yet.

    Attributes:
        token: part of the names of new files.
        before: the document that counts now; None where there is none that is whole.
    """

    def __init__(self, folder: WorldFolder) -> None:
        """Nothing is written."""
        self._folder, self._new = folder, list[Path]()
        self.token = secrets.token_hex(6)
        self.before: dict[str, Any] | None = None

    def look_back(self) -> None:
        """Read the document that counts now."""
        with contextlib.suppress(SavedWorldError):
            self.before = self._folder.read()

    def has(self, file: SavedFile) -> bool:
        """Whether a file of the world that counts now is still there."""
        try:
            self._folder.check(file)
        except SavedWorldError:
            return False
        return True

    def write_chunk(self, stem: str, chunk: int, content: Any) -> SavedFile:
        """Write a chunk's file; `content` is an array of bytes.

        Raises:
            OSError: it cannot be written.
        """
        path = self._place(stem)
        return SavedFile(path.name, content.nbytes, write_file(path, chunk, content))

    def link(self, stem: str, source: Path, num_bytes: int, crc32: int) -> SavedFile | None:
        """Give a chunk's file, which nobody changes, a second name here; None where the file system cannot."""
        path = self._place(stem)
        try:
            os.link(source, path)
        except OSError:
            return None
        return SavedFile(path.name, num_bytes, crc32)

    def write_bytes(self, stem: str, content: bytes) -> SavedFile:
        """Write a whole file.

        Raises:
            OSError: it cannot be written.
        """
        path = self._place(stem)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        return SavedFile(path.name, len(content), zlib.crc32(content))

    def finish(self, world: dict[str, Any], named: set[str]) -> None:
        """The new world counts from here on; files that it does not name go, unless somebody reads them.

        Raises:
            OutputError: it does not, and the older one does.
        """
        path = self._folder.path
        _sync(path)
        write_atomically(
            path / DOCUMENT, _document({"format": FORMAT, "version": VERSION, "token": self.token, **world})
        )
        self._new.clear()
        _sync(path)
        with contextlib.suppress(OSError):  # where somebody reads the older files the next save removes them
            lock = _locked(path / READING, is_shared=False)
            try:
                for name in os.listdir(path):
                    if _OWN.fullmatch(name) and name not in named:
                        _remove(path / name)
            finally:
                _close(lock)

    def abandon(self) -> None:
        """Remove what was written for a world that will never count, unless it counts already."""
        self.look_back()
        if self.before is not None and self.before.get("token") == self.token:
            return
        for path in self._new:
            _remove(path)

    def _place(self, stem: str) -> Path:
        path = self._folder.path / f"{stem}{SUFFIX}"
        self._new.append(path)
        return path


def _document(world: dict[str, Any]) -> bytes:
    """The text of a document: the same for the same world, with the digest that tells whether it is whole."""
    text = json.dumps(world, allow_nan=False, separators=(",", ":"))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f'{{"blake2b":"{digest}","world":{text}}}\n'.encode()


def _is_own(name: str) -> bool:
    return name == DOCUMENT or name in LOCKS or _OWN.fullmatch(name) is not None


def _locked(path: Path, *, is_shared: bool) -> int | None:
    """A handle that holds a lock on a file; None where there are no locks.

    Raises:
        BlockingIOError: it is to be held alone, and another holds it.
        OSError: the file cannot be made.
    """
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError:
        if not is_shared:
            raise
        try:  # a folder that may only be read is not saved to either
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:  # a file system without locks
        pass
    return handle


def _close(handle: int | None) -> None:
    if handle is not None:
        with contextlib.suppress(OSError):
            os.close(handle)


def _sync(folder: Path) -> None:
    """Bring a folder's names to the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
