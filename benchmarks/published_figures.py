"""The published FPS series of the WorldKV project page beside the time model's.

Run: python benchmarks/published_figures.py. The full-KV series is what the machine file `worldkv-project-page` was
fitted to. The page does not say which window, keep ratio and bank its WorldKV series had, so every reading is shown.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv import (
    PRESETS,
    CachePolicy,
    ChunkedTrajectory,
    FullKV,
    Poses,
    Trajectory,
    WorldKV,
    WorldKVPublished,
    load_machine,
)
from worldkv.sim import simulate

# arXiv 2605.22718, project page: FPS at chunk 1, 2, 3, ...
FULL_KV_FPS = [
    *(8.9, 8.7, 8.5, 8.4, 8.3, 8.1, 8.0, 8.0, 7.8, 7.7, 7.6, 7.5, 7.4, 7.3, 7.2, 7.1, 7.0, 6.9, 6.9, 6.7, 6.6, 6.6),
    *(6.5, 6.4, 6.3, 6.3, 6.2, 6.2, 6.1, 6.0, 6.0, 5.9, 5.8, 5.8, 5.7, 5.6, 5.6, 5.5, 5.5, 5.4, 5.4, 5.3, 5.2, 5.2),
    *(5.2, 5.1, 5.1, 5.0, 5.0, 4.9, 4.9, 4.8, 4.8, 4.8, 4.7, 4.7, 4.6, 4.6, 4.6, 4.5, 4.5, 4.4, 4.4, 4.4, 4.3, 4.3),
    *(4.3, 4.2, 4.2, 4.2, 4.1, 4.1, 4.1, 4.1, 4.0, 4.0, 4.0, 3.9, 3.9, 3.9, 3.8, 3.8, 3.8, 3.8, 3.7, 3.7, 3.7, 3.7),
    *(3.6, 3.6),
]
WORLDKV_FPS = [8.9, 8.8, 8.6, 8.3, 8.0, 7.9, 7.8] + [7.7] * 83


class Reading(NamedTuple):
    """What the WorldKV series may have measured.

    Attributes:
        name: its column.
        words: what it takes the page to have run.
        policy: the policy whose window it is.
        machine: machine file.
        other_seconds: work a chunk, beside the machine file's, at every step that retrieves.
    """

    name: str
    words: str
    policy: CachePolicy
    machine: str = "worldkv-project-page"
    other_seconds: float = 0.0


READINGS = (
    Reading("A", "6 recent frames beside the chunk (worldkv), keep 1", WorldKV(keep_ratio=1.0)),
    Reading("B", "the same, keep 0.25", WorldKV()),
    Reading("C", "B and 67 ms of other work at every chunk", WorldKV(), "worldkv-project-page-overhead"),
    Reading(
        "D",
        "6 recent frames with the chunk (worldkv-published), keep 1",
        WorldKVPublished(keep_ratio=1.0),
    ),
    Reading("E", "the same, keep 0.5: the quick start of the code", WorldKVPublished()),
    Reading(
        "F",
        "the same, keep 0.25: half a chunk, as the page's 1.7 of 3.4 GB",
        WorldKVPublished(keep_ratio=0.25),
    ),
    Reading(
        "G",
        "F and 89 ms of other work at every chunk that retrieves",
        WorldKVPublished(keep_ratio=0.25),
        other_seconds=0.089,
    ),
)


def still_path(chunks: int) -> ChunkedTrajectory:
    """A camera that stands: speed depends on how much is attended, not on where."""
    positions, rotations = np.zeros((chunks * 12, 3)), np.tile(np.eye(3), (chunks * 12, 1, 1))
    latents = (chunks, 3)
    camera = Poses.of(np.zeros((*latents, 3)), np.tile(np.eye(3), (*latents, 1, 1)))
    return ChunkedTrajectory(Trajectory("still", positions, rotations), camera, None, 1.0, chunks * 12)


def fps(reading: Reading) -> NDArray[np.float64]:
    """Frames per second by chunk `(chunks,)`."""
    geometry, retrieves = PRESETS["lingbot-world-fast-480p"], list[bool]()
    rollout = simulate(
        still_path(len(FULL_KV_FPS)),
        reading.policy,
        geometry,
        load_machine(reading.machine),
        on_step=lambda _engine, record, _time: retrieves.append(bool(record.plan.retrieved)),
    )
    series: NDArray[np.float64] = geometry.video_frames_per_chunk / (
        rollout.seconds + reading.other_seconds * np.array(retrieves)
    )
    return series


def main() -> None:
    """Print the whole series."""
    full, published = fps(Reading("", "", FullKV())), np.array(WORLDKV_FPS)
    series = [fps(reading) for reading in READINGS]
    print("FPS by chunk: published | model. Fitted: the machine to full KV's series, 67 and 89 ms to WorldKV's 7.7.")
    for reading in READINGS:
        print(f"  {reading.name}: {reading.words}")
    print("chunk   full KV  model    %      WorldKV" + "".join(f"{reading.name:>7}" for reading in READINGS))
    for row, (one, worldkv) in enumerate(zip(FULL_KV_FPS, WORLDKV_FPS, strict=True)):
        percent = 100 * (full[row] / one - 1)
        cells = "".join(f"{values[row]:7.2f}" for values in series)
        print(f"{row + 1:5d}   {one:5.1f}  {full[row]:6.2f}  {percent:+5.1f}     {worldkv:5.1f}{cells}")
    worst = np.abs(full / np.array(FULL_KV_FPS) - 1).max()
    print(f"full KV: largest difference {100 * worst:.2f} % (fitted)")
    for reading, values in zip(READINGS, series, strict=True):
        percent = 100 * (values / published - 1)
        row = int(np.abs(percent).argmax())
        print(
            f"WorldKV {reading.name}: plateau {values[-1]:.2f}, {percent[-1]:+.1f} %; largest {percent[row]:+.1f} % at "
            f"chunk {row + 1}"
        )


if __name__ == "__main__":
    main()
