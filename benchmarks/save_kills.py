"""Kill a process with SIGKILL while it saves worlds, again and again, and look at what lies in the folder.

    python -m benchmarks.save_kills [--kills 300] [--seed 0]

A child goes on from the world in the folder, generates chunk after chunk and saves after each. It is killed at a random
moment of a save. Then the folder is opened: the world must be that of one of the chunks it may be of, with the table,
the ledgers and the window of a rollout that never stopped, and the next chunk must attend the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from worldkv import (
    CacheConfig,
    CacheGeometry,
    Scene,
    TierLimits,
    Viewpoint,
    WorldCache,
    WorldKV,
    cut,
    load_trajectory,
    viewpoints,
)
from worldkv import generate as generated
from worldkv.backends.models import CausalVideoDiT

GEOMETRY = CacheGeometry(2, 2, 2, 16, 4, 4, itemsize=4, rope_frames=1 << 16)
POLICY = WorldKV(3, 6, 3, 0.5)
CONFIG = CacheConfig(limits=TierLimits(3 * GEOMETRY.chunk_bytes))
STEPS = 24
SAVING, SAVED = b"s", b"e"


def main() -> int:
    """Run the campaign; the exit code is 1 where a world was not whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, found = random.Random(options.seed), Counter[str]()
    path = cut(load_trajectory(f"generate:loop:chunks={STEPS},laps=2"), GEOMETRY)
    views, scene = list(viewpoints(path)), Scene(view_distance=path.view_distance)
    model = CausalVideoDiT(GEOMETRY)
    expected = rollout(model, views, scene)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        folder, longest = Path(work) / "world", 1.5 * seconds_of_a_save(model, views, scene, Path(work) / "timed")
        while found["kills"] < options.kills:
            before = steps_in(folder, scene)
            is_inside, saves = killed_child(model, views, scene, folder, draw, longest)
            found["kills"] += 1
            found["inside a save" if is_inside else "between two saves"] += 1
            if is_inside and len(list(folder.glob("*"))):
                named = {file.name for file in folder.iterdir()}
                found["with files that no world names"] += len(named) > named_files(folder)
            if not (folder / "world.json").exists():
                found["before the first world was whole"] += 1
                found["lost worlds"] += before > 0
                continue
            found[judged(model, views, scene, folder, expected, before, saves)] += 1
            if steps_in(folder, scene) >= STEPS - 2:
                shutil.rmtree(folder)
    wrong = found["lost worlds"] + found["damaged"] + found["another state"] + found["other bits"]
    seconds = time.monotonic() - began
    print(f"{found['kills']} kills in {seconds:.0f} s, seed {options.seed}, Python {sys.version.split()[0]}")
    for what, count in sorted(found.items(), key=lambda one: -one[1]):
        print(f"  {count:5} {what}")
    print(f"  {wrong:5} worlds lost or not whole")
    return 1 if wrong else 0


def opened(folder: Path, scene: Scene) -> WorldCache:
    """The world in the folder, or a new one."""
    if (folder / "world.json").exists():
        return WorldCache.open(folder, POLICY, GEOMETRY, scene=scene)
    return WorldCache(POLICY, GEOMETRY, scene=scene, config=CONFIG)


def rollout(model: CausalVideoDiT, views: list[Viewpoint], scene: Scene) -> list[tuple[str, str]]:
    """Of a rollout that never stops: its state before each step, and what that step attends."""
    steps = []
    with WorldCache(POLICY, GEOMETRY, scene=scene, config=CONFIG) as cache:
        for view in views:
            before = state_of(cache)
            steps.append((before, step_of(model, cache, view)))
    return steps


def step_of(model: CausalVideoDiT, cache: WorldCache, view: Viewpoint) -> str:
    """One more chunk; a digest of every key and value that it attends."""
    digest = hashlib.blake2b()

    def note(layer: int, keys: Any, values: Any) -> None:
        for part in (keys, values):
            digest.update(part.contiguous().numpy().tobytes())

    cache.on_attend = note
    for _ in generated(model, cache, [view], denoise_passes=1):
        pass
    cache.on_attend = None
    return digest.hexdigest()


def state_of(cache: WorldCache) -> str:
    """A digest of table, ledgers and layout."""
    engine = cache.engine
    told: list[Any] = [[column[: len(engine.table)].tolist() for column in engine.table.columns.values()]]
    told += [vars(engine.state.tiers.host), vars(engine.state.tiers.disk), vars(engine.state.counts)]
    told += [engine.state.window_ids.tolist(), engine.state.replicas, engine.state.resident]
    told += [[group.layout.extents for group in cache.backend.arena.groups], cache.backend.traffic()]
    return hashlib.blake2b(repr(told).encode()).hexdigest()


def seconds_of_a_save(model: CausalVideoDiT, views: list[Viewpoint], scene: Scene, folder: Path) -> float:
    """Of a world of half the path."""
    with WorldCache(POLICY, GEOMETRY, scene=scene, config=CONFIG) as cache:
        for view in views[: STEPS // 2]:
            step_of(model, cache, view)
        began = time.perf_counter()
        for _ in range(5):
            cache.save(folder)
        return (time.perf_counter() - began) / 5


def steps_in(folder: Path, scene: Scene) -> int:
    """Chunks of the world in the folder; 0 for none."""
    with opened(folder, scene) as cache:
        return len(cache.engine.table)


def named_files(folder: Path) -> int:
    """Files that the world in the folder names, itself and the locks."""
    import json

    world = json.loads((folder / "world.json").read_text())["world"] if (folder / "world.json").exists() else None
    return 2 if world is None else 4 + len(world["bank"]) + len(world["window"]["chunks"])


def killed_child(
    model: CausalVideoDiT, views: list[Viewpoint], scene: Scene, folder: Path, draw: random.Random, longest: float
) -> tuple[bool, int]:
    """Let a child save until it is killed, at most `longest` seconds after a save began.

    Returns:
        Whether it was killed inside a save, and how many were finished before.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        cache = opened(folder, scene)
        for step in range(len(cache.engine.table), STEPS):
            step_of(model, cache, views[step])
            os.write(writing, SAVING)
            cache.save(folder)
            os.write(writing, SAVED)
        os._exit(0)
    os.close(writing)
    wanted, heard = draw.randint(1, 3), b""
    while heard.count(SAVING) < wanted and (more := os.read(reading, 1)):
        heard += more
    time.sleep(draw.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while select.select([reading], [], [], 0)[0] and (more := os.read(reading, 64)):
        heard += more
    os.close(reading)
    return heard.endswith(SAVING), heard.count(SAVED)


def judged(
    model: CausalVideoDiT,
    views: list[Viewpoint],
    scene: Scene,
    folder: Path,
    expected: list[tuple[str, str]],
    before: int,
    saves: int,
) -> str:
    """What the folder holds after a kill."""
    from worldkv import WorldKVError

    try:
        cache = opened(folder, scene)
    except WorldKVError as error:
        print(error, file=sys.stderr)
        return "damaged"
    with cache:
        step = len(cache.engine.table)
        if step not in (before + saves, before + saves + 1):
            return "another state"
        if step < STEPS:
            state, bits = expected[step]
            if state_of(cache) != state:
                return "another state"
            if step_of(model, cache, views[step]) != bits:
                return "other bits"
        return "the older world, whole" if step == before + saves else "the newer world, whole"


if __name__ == "__main__":
    sys.exit(main())
