"""Saving that fails, or a process that ends, at any call of the file system leaves a whole world behind."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.backends.rollouts import loop, open_cache
from tests.backends.saved_rollouts import run, told
from tests.backends.test_going_back import CONFIGS, SMALL
from worldkv.backends.cache import WorldCache
from worldkv.errors import OutputError
from worldkv.policies import WorldKV

POLICY = WorldKV(3, 6, 3, 0.5)
PATH = loop(SMALL, chunks=12)
CALLS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("open", "write", "fsync", "replace", "link")),
    *((Path, name) for name in ("open", "unlink", "mkdir")),
)
"""What saving asks of the file system, as far as it changes anything."""


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@contextmanager
def faults(at: int, fail: Callable[[], BaseException], *, for_ever: bool) -> Iterator[list[str]]:
    """The call of number `at` fails, half of a write done, and with `for_ever` every later one too."""
    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        real_calls = [(owner, name, getattr(owner, name)) for owner, name in CALLS]
        for owner, name, real in real_calls:

            def counted(*args: Any, name: str = name, real: Any = real, **options: Any) -> Any:
                made.append(name)
                if len(made) == at + 1 or (for_ever and len(made) > at):
                    if name == "write" and len(made) == at + 1:
                        real(args[0], args[1][: len(args[1]) // 2])
                    raise fail()
                return None if name == "fsync" else real(*args, **options)

            patch.setattr(owner, name, counted)
        yield made


def opened(folder: Path) -> WorldCache:
    return WorldCache.open(folder, POLICY, SMALL)


@pytest.mark.parametrize("kind", ["killed", "the disk is full"])
def test_an_older_world_is_whole_until_the_new_one_is(kind: str, tmp_path: Path) -> None:
    """At every call there is, one after the other."""
    folder, is_kill = tmp_path / "world", kind == "killed"

    def fail() -> BaseException:
        return Killed() if is_kill else OSError(errno.ENOSPC, "No space left on device")

    with open_cache(POLICY, SMALL, PATH, config=CONFIGS["disk"]) as cache:
        run(cache, PATH, 0, 7)
        cache.backend.drain()
        cache.save(tmp_path / "older")
        before = told(cache)
        run(cache, PATH, 7, 9)
        cache.backend.drain()
        now, at, seen = told(cache), 0, set[str]()
        while True:
            shutil.copytree(tmp_path / "older", folder)
            with faults(at, fail, for_ever=is_kill) as made, contextlib.suppress(Killed, OutputError):
                cache.save(folder)
            with opened(folder) as world:
                assert told(world) in (before, now)
            assert told(cache) == now  # which goes on
            if at % 8 == 0:  # what a process that ended left behind is in nobody's way
                cache.save(folder)
                assert sorted(name.partition("-")[0] for name in os.listdir(folder)) == sorted(
                    ["bank"] * len(cache.backend.bank.stored)
                    + ["window"] * len(cache.backend.arena.chunks())
                    + ["reading.lock", "state", "world.json", "writing.lock"]
                )
            if len(made) <= at:
                break
            shutil.rmtree(folder)
            seen.add(made[at])
            at += 1
        assert at > 30 and seen >= {"open", "write", "fsync", "replace", "link", "unlink"}
        run(cache, PATH, 9, 12)


def test_two_processes_do_not_save_into_one_folder_at_a_time(tmp_path: Path) -> None:
    import fcntl

    with open_cache(POLICY, SMALL, PATH) as cache:
        cache.save(tmp_path)
        with open(tmp_path / "writing.lock") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(OutputError, match="another process is saving"):
                cache.save(tmp_path)
        cache.save(tmp_path)


ROLLOUT = """
import sys
from pathlib import Path
from tests.backends.test_saved_faults import PATH, POLICY, SMALL, run
from worldkv.backends.cache import WorldCache

print("ready", flush=True)
sys.stdin.readline()
with WorldCache.open(sys.argv[1], POLICY, SMALL, share_bank=True, spill_folder=Path(sys.argv[2])) as cache:
    print([float(out.double().sum()).hex() for out, _ in run(cache, PATH, 9, 12)], flush=True)
"""


def content_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def test_two_processes_go_on_from_one_bank_and_leave_it_as_it_is(tmp_path: Path) -> None:
    folder, spilled = tmp_path / "world", tmp_path / "spilled"
    with open_cache(POLICY, SMALL, PATH, config=CONFIGS["disk"]) as cache:
        run(cache, PATH, 0, 9)
        cache.save(folder)
        expected = run(cache, PATH, 9, 12)
    before = content_of(folder)
    command = [sys.executable, "-c", ROLLOUT, str(folder), str(tmp_path / "other")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    with WorldCache.open(folder, POLICY, SMALL, share_bank=True, spill_folder=spilled) as cache:
        shared = [stored for stored in cache.backend.bank.stored.values() if stored.is_shared]
        assert len(shared) == len(cache.backend.bank.stored) and all(stored.host is None for stored in shared)
        other.stdin.write("\n")
        other.stdin.flush()
        found = run(cache, PATH, 9, 11)
        twin = cache.fork()
        found += run(cache, PATH, 11, 12)
        assert torch.equal(run(twin, PATH, 11, 12)[0][0], found[-1][0])
        assert all(twin.backend.bank.stored[one.chunk].host is None for one in shared)  # it is read, never brought home
        twin.close()
        cache.backend.drain()
        files = list(spilled.iterdir())
        assert files and all(int(file.name.split("-")[1]) >= 8 for file in files)
        cache.save(folder)  # what the other reads stays there
        assert all(name in content_of(folder) for name in before)
        cache.restore(cache.snapshot())
        cache.save(tmp_path / "elsewhere")
    printed = eval(other.communicate()[0])
    sums = [float(out.double().sum()).hex() for out, _ in expected]
    assert printed == sums and all(
        a[1] == b[1] and torch.equal(a[0], b[0]) for a, b in zip(found, expected, strict=True)
    )
    after = content_of(folder)
    assert all(after[name] == before[name] for name in before if name.startswith("bank-"))
    with opened(tmp_path / "elsewhere") as cache:
        assert len(cache.engine.table) == 12
