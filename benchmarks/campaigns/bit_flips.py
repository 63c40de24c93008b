"""Flip single bits in files that worldkv wrote; each flip is refused in a sentence, or changes nothing that is read.

    python -m benchmarks.campaigns.bit_flips --trials 500

Half of the flips lie in the first 600 bytes, where headers are, half anywhere. A flip that is read without an error is
harmless only where everything read is equal to what the file held before, value by value; in a rollout, where every
output is equal bit for bit to that of a rollout whose files nobody touched.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.campaigns import child
from benchmarks.campaigns.kills import can_save
from benchmarks.campaigns.outcome import WRONG, Outcome, arguments, work_folder
from worldkv.errors import LostChunkError, WorldKVError

if TYPE_CHECKING:
    from worldkv.backends import WorldCache

HEAD_BYTES = 600
GEOMETRY, POLICY = "tiny:layers=1,heads=1,kv_heads=1", "random:retrieved_frames=9,recent_frames=3"
Read = Callable[[Path], Any]


def main() -> int:
    """Run the campaign."""
    options = arguments(__doc__ or "", 500)
    outcome, draw = Outcome("bit_flips"), random.Random(options.seed)
    outcome.fact("seed", options.seed)
    child.preload()
    with work_folder() as folder:
        for kind, (file, read) in made(folder).items():
            if options.only is None or options.only in kind:
                flip(outcome, draw, kind, file, read, options.trials)
        if can_save() and (options.only is None or options.only in "saved world"):
            for kind, (file, read) in saved_world(folder / "world").items():
                flip(outcome, draw, kind, file, read, options.trials // 4)
        if options.only is None or options.only in "rollout":
            for _ in range(max(1, options.trials // 10)):
                flip_in_rollout(outcome, draw, folder)
    return outcome.finish(options.out)


def flip(outcome: Outcome, draw: random.Random, kind: str, file: Path, read: Read, trials: int) -> None:
    """Flip one bit of `file` at a time."""
    whole = file.read_bytes()
    before = read(file)
    for number in range(trials):
        at = draw.randrange(len(whole) if number % 2 else min(len(whole), HEAD_BYTES))
        bit = draw.randrange(8)
        file.write_bytes(flipped(whole, at, bit))
        where = f"bit {bit} of byte {at} of {len(whole)}"
        try:
            now = read(file)
        except WorldKVError as error:
            is_short = len(str(error)) < 2500 and str(error).isprintable()
            outcome.note(kind, "refused" if is_short else WRONG, f"{where}: a bad sentence: {str(error)[:300]!r}")
        except Exception as error:
            outcome.note(kind, WRONG, f"{where}: {type(error).__name__}: {error}")
        else:
            outcome.note(kind, "harmless" if equal(before, now) else WRONG, f"{where}: read as something else")
    file.write_bytes(whole)


def flipped(whole: bytes, at: int, bit: int) -> bytes:
    """The bytes with one bit turned."""
    return whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :]


def equal(one: Any, other: Any) -> bool:
    """Whether two values read are the same, array by array, bit by bit."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        names = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(equal(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, np.ndarray):
        same = isinstance(other, np.ndarray) and one.dtype == other.dtype and one.shape == other.shape
        return same and one.tobytes() == other.tobytes()
    return bool(one == other)


def made(folder: Path) -> dict[str, tuple[Path, Read]]:
    """A small file of each kind, and what reads it."""
    import torch

    from worldkv.backends.bank.disk import DiskStore
    from worldkv.experiments.sweep_file import csv_rows, parquet_rows
    from worldkv.trajectory import load_trajectory

    store = DiskStore(folder / "chunks")
    stored = store.write(7, torch.from_numpy(np.random.default_rng(0).integers(0, 256, 6000, np.uint8)))

    def read_chunk(_: Path) -> bytes:
        room = torch.empty(stored.num_bytes, dtype=torch.uint8)
        store.read(stored, room)
        return bytes(room.numpy())

    commands = {
        "recording": "run generate:loop:chunks=5 --passes 1 --no-recall --record recording.safetensors",
        "csv": "sweep generate:loop:chunks=8 -p worldkv --budgets 4chunks --seeds 0 --out rows.csv --jobs 1",
        "parquet": "sweep generate:loop:chunks=8 -p worldkv --budgets 4chunks --seeds 0 --out rows.parquet --jobs 1",
    }
    for line in commands.values():
        ended = child.run(line.split(), folder)
        if ended.code != 0:
            raise SystemExit(f"{line} ends with {ended.code}: {ended.said[-500:]}")
    return {
        "stored chunk": (stored.path, read_chunk),
        "recording": (folder / "recording.safetensors", lambda file: load_trajectory(str(file))),
        "sweep file, CSV": (folder / "rows.csv", lambda file: csv_rows(str(file))),
        "sweep file, Parquet": (folder / "rows.parquet", lambda file: parquet_rows(str(file))),
    }


def saved_world(folder: Path) -> dict[str, tuple[Path, Read]]:
    """The files of a saved world by kind; reading one is opening the world and taking two steps."""
    from worldkv import CacheConfig, TierLimits, parse_geometry, parse_policy
    from worldkv.backends import WorldCache

    geometry, policy = parse_geometry(GEOMETRY), parse_policy(POLICY)
    config = CacheConfig(limits=TierLimits(2 * geometry.chunk_bytes))
    with WorldCache(policy, geometry, config=config) as cache:
        for step in range(8):
            take_step(cache, step)
        saving: Any = cache
        saving.save(folder)

    def read(_: Path) -> list[bytes]:
        opening: Any = WorldCache
        with opening.open(folder, policy, geometry, config=config) as cache:
            return [take_step(cache, step) for step in (8, 9)]

    kinds = {"description": "world.json", "state": "state-*", "window": "window-*", "bank": "bank-*"}
    return {f"saved world, {kind}": (sorted(folder.glob(name))[0], read) for kind, name in kinds.items()}


def take_step(cache: WorldCache, step: int) -> bytes:
    """Generate a chunk with drawn queries, keys and values; what its attention answers."""
    import torch

    from worldkv import Viewpoint

    geometry = cache.geometry
    shape = (geometry.branches, geometry.chunk_tokens, 1, geometry.head_dim)
    cache.begin(Viewpoint())
    queries, keys, values = torch.randn(3, *shape, generator=torch.Generator().manual_seed(step))
    output = cache.attend(0, queries, keys, values, clean=True).numpy().tobytes()
    cache.commit()
    return output


def flip_in_rollout(outcome: Outcome, draw: random.Random, folder: Path) -> None:
    """A rollout that spills, one bit of one of its files flipped at some step."""
    step, seed = draw.randrange(8, 20), draw.randrange(1 << 30)
    expected, _ = rollout(folder / "spill", None, None)
    turn = random.Random(seed)
    found, lost = rollout(folder / "spill", step, turn)
    differ = [number for number, (one, other) in enumerate(zip(expected, found, strict=False)) if one != other]
    if differ:
        outcome.note("rollout", WRONG, f"flip at step {step}, seed {seed}: step {differ[0]} differs")
    else:
        outcome.note("rollout", "refused" if lost else "never read again")


def rollout(folder: Path, flip_at: int | None, draw: random.Random | None) -> tuple[list[bytes], bool]:
    """The output of every step, and whether a chunk was found lost; the rollout ends there."""
    from worldkv import CacheConfig, TierLimits, parse_geometry, parse_policy
    from worldkv.backends import WorldCache

    geometry, policy = parse_geometry(GEOMETRY), parse_policy(POLICY)
    config = CacheConfig(limits=TierLimits(2 * geometry.chunk_bytes))
    outputs = list[bytes]()
    with WorldCache(policy, geometry, config=config, folder=folder) as cache:
        for step in range(24):
            if step == flip_at and draw is not None:
                cache.backend.drain()
                file = draw.choice(sorted(folder.iterdir()))
                whole = file.read_bytes()
                file.write_bytes(flipped(whole, draw.randrange(len(whole)), draw.randrange(8)))
            try:
                outputs.append(take_step(cache, step))
            except LostChunkError:
                return outputs, True
    return outputs, False


if __name__ == "__main__":
    sys.exit(main())
