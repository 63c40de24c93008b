"""The disk tier: what is read is what was written, whatever happens to the files, the disk or the process."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

import worldkv.backends.bank.chunk_file
from worldkv.backends.bank.chunk_file import PIECE_BYTES
from worldkv.backends.bank.disk import SUFFIX, DiskChunk, DiskStore
from worldkv.errors import DeviceError, LostChunkError, OutputError, TransferError

Break = Callable[[DiskChunk, DiskStore], object]


def content_of(chunk: int, num_bytes: int) -> Tensor:
    return torch.randint(0, 256, (num_bytes,), dtype=torch.uint8, generator=torch.Generator().manual_seed(chunk))


def read_back(store: DiskStore, stored: DiskChunk) -> Tensor:
    target = torch.full((stored.num_bytes,), 255, dtype=torch.uint8)
    store.read(stored, target)
    return target


def read_by_safetensors(path: Path) -> tuple[Tensor, dict[str, str]]:
    """The second route: the library that the format comes from."""
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["parcel"]
        return file.get_tensor("parcel"), file.metadata()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "bank")
    yield store
    store.close()


# ---------------------------------------------------------------------- what is written is what is read


@pytest.mark.parametrize("chunk", [0, 12, 1_234_567])
@pytest.mark.parametrize("num_bytes", [0, 1, 4097, PIECE_BYTES, 2 * PIECE_BYTES + 7])
def test_a_chunk_comes_back_and_safetensors_reads_it(store: DiskStore, chunk: int, num_bytes: int) -> None:
    content = content_of(chunk, num_bytes)
    stored = store.write(chunk, content)
    assert (stored.chunk, stored.num_bytes, stored.path.parent) == (chunk, num_bytes, store.folder)
    assert re.fullmatch(rf"chunk-{chunk:06}-[0-9a-f]+\.safetensors", stored.path.name)
    assert torch.equal(read_back(store, stored), content)
    tensor, metadata = read_by_safetensors(stored.path)
    assert tensor.dtype == torch.uint8
    assert torch.equal(tensor, content)
    assert metadata == {
        "format": "worldkv-parcel",
        "version": "1",
        "chunk": str(chunk),
        "num_bytes": str(num_bytes),
        "crc32": f"{zlib.crc32(content.numpy().tobytes()):08x}",
    }


@given(num_bytes=st.integers(0, 40_000), piece=st.integers(1, 9000))
def test_pieces_do_not_show(num_bytes: int, piece: int) -> None:
    """Small pieces, so that every way their edges can meet comes up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worldkv.backends.bank.chunk_file, "PIECE_BYTES", max(piece, 64))
        store = DiskStore()
        content = content_of(num_bytes, num_bytes)
        stored = store.write(3, content)
        assert torch.equal(read_back(store, stored), content)
        assert torch.equal(read_by_safetensors(stored.path)[0], content)
        store.close()


def test_only_a_part_of_a_larger_memory_is_read_and_written(store: DiskStore) -> None:
    """As a stored chunk lies in a pool: in the middle of something else."""
    memory = content_of(5, 3000)
    stored = store.write(5, memory[1000:2000])
    target = torch.zeros(3000, dtype=torch.uint8)
    store.read(stored, target[500:1500])
    assert torch.equal(target[500:1500], memory[1000:2000])
    assert target[:500].max() == target[1500:].max() == 0


def test_writes_that_are_taken_in_parts(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: whole_write(handle, data[:1000]))
    content = content_of(1, 5500)
    assert torch.equal(read_back(store, store.write(1, content)), content)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(4),
        torch.zeros(2, 2, dtype=torch.uint8),
        torch.zeros(8, dtype=torch.uint8)[::2],
        torch.zeros(4, dtype=torch.uint8, device="meta"),
    ],
)
def test_anything_but_flat_bytes_on_the_host_is_refused(store: DiskStore, wrong: Tensor) -> None:
    stored = store.write(1, torch.zeros(4, dtype=torch.uint8))
    with pytest.raises(DeviceError, match="the disk takes contiguous bytes .* got"):
        store.write(2, wrong)
    with pytest.raises(DeviceError, match="the disk takes contiguous bytes .* got"):
        store.read(stored, wrong)
    with pytest.raises(DeviceError, match="chunk 1 has 4 bytes, the room for it 5; "):
        store.read(stored, torch.zeros(5, dtype=torch.uint8))
    assert list(store.folder.iterdir()) == [stored.path]


# ---------------------------------------------------------------------- lost chunks


def missing(stored: DiskChunk, store: DiskStore) -> None:
    stored.path.unlink()


def without_its_folder(stored: DiskChunk, store: DiskStore) -> None:
    stored.path.unlink()
    store.folder.rmdir()


def truncated(stored: DiskChunk, store: DiskStore) -> None:
    os.truncate(stored.path, stored.path.stat().st_size - 1)


def empty(stored: DiskChunk, store: DiskStore) -> None:
    os.truncate(stored.path, 0)


def longer(stored: DiskChunk, store: DiskStore) -> None:
    with stored.path.open("ab") as file:
        file.write(b"x")


def of_another_chunk(stored: DiskChunk, store: DiskStore) -> None:
    other = store.write(7, content_of(7, 100))  # a shorter header
    os.replace(other.path, stored.path)


def of_another_chunk_as_long(stored: DiskChunk, store: DiskStore) -> None:
    other = store.write(13, content_of(1, stored.num_bytes))  # even the data is the same
    os.replace(other.path, stored.path)


def of_a_much_later_chunk(stored: DiskChunk, store: DiskStore) -> None:
    other = store.write(7_000_000, content_of(7, 2 * stored.num_bytes))  # a longer header
    os.replace(other.path, stored.path)


def of_another_time(stored: DiskChunk, store: DiskStore) -> None:
    other = store.write(stored.chunk, content_of(99, stored.num_bytes))
    os.replace(other.path, stored.path)


def with_another_header(stored: DiskChunk, store: DiskStore) -> None:
    data = stored.path.read_bytes().replace(b"worldkv-parcel", b"worldkv-pencil")
    stored.path.write_bytes(data)


def with_a_header_that_is_no_text(stored: DiskChunk, store: DiskStore) -> None:
    data = bytearray(stored.path.read_bytes())
    data[9:90] = b"\xff" * 81
    stored.path.write_bytes(data)


def with_other_data(stored: DiskChunk, store: DiskStore) -> None:
    data = bytearray(stored.path.read_bytes())
    data[-1] ^= 1
    stored.path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (missing, r"its file \S+ is missing"),
        (without_its_folder, r"its file \S+ is missing"),
        (truncated, r"its file \S+ has \d+ bytes and not \d+"),
        (empty, r"its file \S+ has 0 bytes and not \d+"),
        (longer, r"its file \S+ has \d+ bytes and not \d+"),
        (of_another_chunk, r"its file \S+ holds chunk 7"),
        (of_another_chunk_as_long, r"its file \S+ holds chunk 13"),
        (of_a_much_later_chunk, r"its file \S+ holds chunk 7000000"),
        (of_another_time, r"its file \S+ holds the same chunk as stored another time \(crc32 [0-9a-f]{8}\)"),
        (with_another_header, r"the header of its file \S+ was altered"),
        (with_a_header_that_is_no_text, r"the header of its file \S+ was altered"),
        (with_other_data, r"the data in its file \S+ was altered \(crc32 [0-9a-f]{8} and not [0-9a-f]{8}\)"),
    ],
)
def test_a_damaged_file_is_reported_by_chunk(store: DiskStore, damage: Break, why: str) -> None:
    stored = store.write(12, content_of(1, 3 * PIECE_BYTES))
    damage(stored, store)
    with pytest.raises(LostChunkError, match=f"^chunk 12 is lost: {why}; ") as caught:
        read_back(store, stored)
    assert caught.value.chunk == 12


def test_other_chunks_are_not_touched_by_a_lost_one(store: DiskStore) -> None:
    chunks = [store.write(chunk, content_of(chunk, 5000)) for chunk in range(4)]
    truncated(chunks[1], store)
    for stored in (chunks[0], *chunks[2:]):
        assert torch.equal(read_back(store, stored), content_of(stored.chunk, 5000))


@given(data=st.data())
def test_no_flipped_bit_and_no_cut_goes_unseen(data: st.DataObject) -> None:
    store = DiskStore()
    content = content_of(data.draw(st.integers(0, 9)), data.draw(st.integers(1, 300)))
    stored = store.write(4, content)
    raw = bytearray(stored.path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    else:
        at = data.draw(st.integers(0, 8 * len(raw) - 1), label="bit")
        raw[at // 8] ^= 1 << at % 8
    stored.path.write_bytes(raw)
    with pytest.raises(LostChunkError, match="chunk 4 is lost"):
        read_back(store, stored)
    store.close()


def test_nothing_in_a_file_is_unpickled_or_trusted_for_its_size(store: DiskStore) -> None:
    """A header may claim anything; room is what the caller gave."""
    stored = store.write(1, content_of(1, 64))
    text = json.dumps({"__metadata__": {"chunk": "1", "num_bytes": str(2**60), "crc32": "zz"}, "parcel": None}).encode()
    stored.path.write_bytes((2**62).to_bytes(8, "little") + text + b" " * 400)
    with pytest.raises(LostChunkError, match="header of its file"):
        read_back(store, stored)


# ---------------------------------------------------------------------- reads and writes that fail


class Failing:
    """Stands for a function of the module; from its `start`-th call on, `times` calls fail as a disk fails."""

    def __init__(self, real: Callable[..., Any], start: int, times: int, code: int) -> None:
        self.real, self.start, self.times, self.code, self.calls = real, start, times, code, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.start <= self.calls < self.start + self.times:
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments, **options)


def test_a_read_that_fails_once_is_done_at_the_second_try(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.write(3, content_of(3, 5000))
    failing = Failing(os.fstat, 1, 1, errno.EIO)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", failing)
        found = read_back(store, stored)
    assert failing.calls > 1
    assert torch.equal(found, content_of(3, 5000))


def test_a_read_that_fails_twice_is_named(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.write(3, content_of(3, 5000))
    sentence = rf"^reading chunk 3 from {stored.path.name} failed twice: Input/output error; "
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", Failing(os.fstat, 1, 99, errno.EIO))
        with pytest.raises(TransferError, match=sentence):
            read_back(store, stored)
    assert torch.equal(read_back(store, stored), content_of(3, 5000))


@pytest.mark.parametrize("name", ["write", "fsync", "replace", "open"])
def test_a_write_that_fails_once_is_done_at_the_second_try(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = content_of(3, 5000)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, Failing(getattr(os, name), 1, 1, errno.EIO))
        stored = store.write(3, content)
    assert list(store.folder.iterdir()) == [stored.path]
    assert torch.equal(read_back(store, stored), content)


@pytest.mark.parametrize("name", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_leaves_earlier_chunks_and_no_rest(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    content = content_of(2, PIECE_BYTES + 5)  # two pieces and the header: three writes
    earlier = [store.write(chunk, content) for chunk in (0, 1)]
    start = call if name == "write" else 1
    with monkeypatch.context() as patch:
        patch.setattr(os, name, Failing(getattr(os, name), start, 99, errno.ENOSPC))
        with pytest.raises(OutputError, match=r"^chunk 2 \(1048581 bytes\) cannot be written to \S+ \(No space left"):
            store.write(2, content)
    assert sorted(store.folder.iterdir()) == sorted(stored.path for stored in earlier)
    assert all(torch.equal(read_back(store, stored), content) for stored in earlier)
    assert torch.equal(read_back(store, store.write(2, content)), content)  # once there is room again


def test_a_disk_that_really_takes_no_more(store: DiskStore) -> None:
    """The kernel's own limit on a file's size stands in for a full disk: half a file is there when it says no."""
    earlier = store.write(0, content_of(0, 5000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE_BYTES + 4096, hard))
        with pytest.raises(OutputError, match="chunk 1 .* cannot be written to .* still in host memory"):
            store.write(1, content_of(1, 2 * PIECE_BYTES))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(store.folder.iterdir()) == [earlier.path]
    assert torch.equal(read_back(store, earlier), content_of(0, 5000))


def test_an_interrupted_write_leaves_no_rest(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.write(1, content_of(1, 5000))
    assert list(store.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"^the folder for chunks, \S+, cannot be made \(.*\); name one"):
        DiskStore(tmp_path / "file" / "bank")


# ---------------------------------------------------------------------- how long files live


def test_a_file_goes_with_the_last_who_holds_its_chunk(store: DiskStore) -> None:
    stored = store.write(1, content_of(1, 100))
    path, shared = stored.path, {"a fork": stored}
    del stored
    gc.collect()
    assert path.exists()
    shared.clear()
    gc.collect()
    assert not path.exists()


def test_a_temporary_folder_goes_with_close_which_may_be_called_again() -> None:
    store = DiskStore()
    stored = store.write(1, content_of(1, 100))
    assert store.folder.is_dir()
    store.close()
    store.close()
    assert not store.folder.exists()
    with pytest.raises(LostChunkError, match="is missing"):
        read_back(store, stored)
    with pytest.raises(OutputError, match="chunk 2 cannot be written: the store is closed; "):
        store.write(2, content_of(2, 100))


def test_a_given_folder_stays_and_so_do_chunks_that_are_held(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "a" / "b")
    stored = store.write(1, content_of(1, 100))
    store.close()
    assert torch.equal(read_back(store, stored), content_of(1, 100))
    del stored
    gc.collect()
    assert list(store.folder.iterdir()) == []


def test_stores_that_share_a_folder_do_not_meet(tmp_path: Path) -> None:
    stores = [DiskStore(tmp_path) for _ in range(3)]
    chunks = [store.write(1, content_of(number, 100)) for number, store in enumerate(stores) for _ in range(2)]
    assert len({stored.path for stored in chunks}) == 6
    for number, stored in enumerate(chunks):
        assert torch.equal(read_back(stores[0], stored), content_of(number // 2, 100))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_stays_open(store: DiskStore) -> None:
    stored = store.write(1, content_of(1, 2 * PIECE_BYTES))
    read_back(store, stored)
    with_other_data(stored, store)
    with pytest.raises(LostChunkError):
        read_back(store, stored)
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink() and path.exists()]
    assert not [link for link in links if str(store.folder) in link]


# ---------------------------------------------------------------------- processes that end

PROGRAM = """
import os, random, signal, sys, time
from pathlib import Path
import torch
import worldkv.backends.bank.chunk_file
from worldkv.backends.bank.disk import DiskStore

folder, is_held = Path(sys.argv[1]), []
worldkv.backends.bank.chunk_file.PIECE_BYTES = 1 << 18

def write(rounds):
    store = DiskStore(folder)
    for chunk in range(rounds):
        content = torch.full((1 << 20,), chunk % 251, dtype=torch.uint8)
        is_held.append(store.write(chunk, content))
"""
AT_EVERY_CALL = """
def dying(real):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

for calls in range(40):
    child = os.fork()
    if not child:
        left = calls
        for name in ("open", "lseek", "write", "fsync", "close", "replace"):
            setattr(os, name, dying(getattr(os, name)))
        write(99)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
"""
AT_RANDOM_MOMENTS = """
moments = random.Random(0)
for _ in range(25):
    child = os.fork()
    if not child:
        write(10**6)
    time.sleep(moments.uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
IN_A_CHILD = """
write(2)
child = os.fork()
if not child:
    is_held.clear()
    sys.exit()
os.waitpid(child, 0)
print(len(list(folder.iterdir())))
"""
AT_EXIT = """
write(2)
temporary = DiskStore()
is_held.append(temporary.write(5, torch.zeros(9, dtype=torch.uint8)))
print(temporary.folder)
"""


def run_program(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + code, str(folder)], capture_output=True, text=True, timeout=180, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("code", [AT_EVERY_CALL, AT_RANDOM_MOMENTS], ids=["at every call", "at random moments"])
def test_a_killed_process_leaves_only_whole_chunks(tmp_path: Path, code: str) -> None:
    run_program(code, tmp_path)
    left = list(tmp_path.iterdir())
    whole = [path for path in left if path.suffix == SUFFIX]
    assert whole
    assert len(whole) < len(left)  # some were hit while they wrote
    for path in whole:
        tensor, metadata = read_by_safetensors(path)
        assert torch.equal(tensor, torch.full((1 << 20,), int(metadata["chunk"]) % 251, dtype=torch.uint8))
        assert metadata["crc32"] == f"{zlib.crc32(tensor.numpy().tobytes()):08x}"


def test_a_child_process_does_not_remove_its_parents_files(tmp_path: Path) -> None:
    assert run_program(IN_A_CHILD, tmp_path) == "2\n"


def test_files_and_temporary_folder_are_gone_at_exit(tmp_path: Path) -> None:
    assert not Path(run_program(AT_EXIT, tmp_path).strip()).exists()
    assert list(tmp_path.iterdir()) == []
