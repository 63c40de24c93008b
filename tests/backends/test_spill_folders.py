"""Several folders to spill to: a disk that is full or gone costs nothing while another takes the chunks."""

from __future__ import annotations

import errno
import gc
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.backends.rollouts import generate, loop, open_cache
from tests.backends.test_going_back import SMALL
from worldkv.backends.bank import chunk_file, disk
from worldkv.backends.bank.spill_folders import SpillFolders
from worldkv.config import CacheConfig
from worldkv.errors import OutputError
from worldkv.policies import WorldKV
from worldkv.tiers import TierLimits

POLICY, PATH = WorldKV(3, 6, 3, 1.0), loop(SMALL, chunks=22)
CONFIG = CacheConfig(limits=TierLimits(int(1.5 * SMALL.chunk_bytes)))


class FullAfter:
    """Each folder takes so many files, then its disk is full; where it is told to, files are cut short on the way."""

    def __init__(self, room: dict[Path, int]) -> None:
        self.room, self.tried = room, list[Path]()

    def __call__(self, path: Path, chunk: int, data: Any) -> int:
        self.tried.append(path.parent)
        if len(list(path.parent.glob("*.safetensors"))) >= self.room[path.parent]:
            path.write_bytes(bytes(data)[:100])  # as a disk that fills up leaves it
            raise OSError(errno.ENOSPC, "No space left on device")
        return chunk_file.write_file(path, chunk, data)


def contents(size: int, count: int) -> list[Tensor]:
    return [torch.full((size,), number, dtype=torch.uint8) for number in range(count)]


def test_the_next_folder_takes_what_the_first_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    full = FullAfter({a: 2, b: 3})
    monkeypatch.setattr(disk, "write_file", full)
    store = SpillFolders([a, b])
    data = contents(300, 5)
    stored = [store.write(chunk, content) for chunk, content in enumerate(data)]
    assert [one.path.parent for one in stored] == [a, a, b, b, b]
    assert full.tried == [a, a, a, a, b, b, b], "the full disk is tried twice, once for all"
    with pytest.raises(OutputError, match=f"no folder takes it; the first says: chunk 5 .* cannot be written to {b}"):
        store.write(5, data[0])
    for one, content in zip(stored, data, strict=True):
        room = torch.empty(300, dtype=torch.uint8)
        store.read(one, room)
        assert torch.equal(room, content)
    kept = stored[2].path
    gc.disable()
    try:
        del stored[2], one
        assert not kept.exists(), "the file goes with the chunk, not when garbage is collected"
        del stored[0]
    finally:
        gc.enable()
    sixth = store.write(6, data[0])
    assert sixth.path.parent == b
    assert store.write(5, data[0]).path.parent == a, "the first has room again"
    assert not list(tmp_path.glob("*/*.part")), "nothing is left of what did not fit"
    store.close()
    with pytest.raises(OutputError, match="closed"):
        store.write(6, data[0])


def test_a_folder_that_cannot_be_made_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (content,) = contents(64, 1)
    store = SpillFolders([tmp_path / "file" / "a", tmp_path / "b"])
    assert store.write(0, content).path.parent == tmp_path / "b"
    with pytest.raises(OutputError, match="cannot be made"):
        SpillFolders([tmp_path / "file" / "a"]).write(0, content)
    with pytest.raises(OutputError, match="there is no folder to spill to"):
        SpillFolders([])


@pytest.mark.parametrize("fault", ["full", "gone"])
def test_a_rollout_goes_on_where_the_first_disk_fills_up_or_goes(
    fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bit for bit as on one disk that never does, with what the first disk holds read back as long as it is there."""
    a, b = tmp_path / "a", tmp_path / "b"
    with open_cache(POLICY, SMALL, PATH, config=CONFIG) as cache:
        expected = [generate(cache, PATH, step)[0] for step in range(22)]
    if fault == "full":
        monkeypatch.setattr(disk, "write_file", FullAfter({a: 4, b: 99}))
    with open_cache(POLICY, SMALL, PATH, config=CONFIG) as cache:
        cache.backend.bank._folder = [a, b]
        for step in range(22):
            if fault == "gone" and step == 2:
                a.mkdir()
                cache.backend.bank._disk()._store(0)
                shutil.rmtree(a)
            assert torch.equal(generate(cache, PATH, step)[0], expected[step])
        cache.backend.drain()
        assert len(list(b.glob("*.safetensors"))) > 5
        assert fault == "gone" or len(list(a.glob("*.safetensors"))) == 4
