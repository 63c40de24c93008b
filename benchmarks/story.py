"""The recall tables of docs/measurements.md: who holds what, at equal window tokens, and what pose noise costs.

Run: python -m benchmarks.story [FOLDER OF RECORDED PATHS]. The folder defaults to ../shared/data.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from worldkv import (
    PRESETS,
    CachePolicy,
    ChunkedTrajectory,
    FrustumCoverage,
    Landmarks,
    Oracle,
    RandomRetrieval,
    SlidingWindow,
    WorldKV,
    cut,
    load_machine,
    load_trajectory,
    place_landmarks,
)
from worldkv.sim import simulate
from worldkv.trajectory import with_pose_noise

GEOMETRY = PRESETS["lingbot-world-fast-480p"]
MACHINE = load_machine("worldkv-project-page")
SINK_FRAMES = 3
"""The window's sink: one chunk, as WorldKV and random have."""
PATHS: dict[str, tuple[str, float | None]] = {
    "KITTI 00": ("kitti/KITTI_00_gt.txt", 40.0),
    "TartanAir": ("tartanair/pose_gt.txt", 10.0),
    "fr2_desk": ("tum/fr2_desk_groundtruth.txt", 3.0),
    "three turns": ("script:RRR360_540", None),
    "tour": ("generate:tour:rooms=12,seed=1", None),
}


def path(name: str, folder: Path, scale: float = 1.0) -> tuple[ChunkedTrajectory, Landmarks]:
    """A path at `scale` times its nominal view distance, and its landmarks."""
    source, distance = PATHS[name]
    trajectory = load_trajectory(source if ":" in source else str(folder / source))
    chunked = cut(trajectory, GEOMETRY, view_distance=distance)
    if scale != 1:
        chunked = cut(trajectory, GEOMETRY, view_distance=scale * chunked.view_distance)
    return chunked, place_landmarks(chunked)


def recall(chunked: ChunkedTrajectory, landmarks: Landmarks, policy: CachePolicy) -> float | None:
    """Revisit recall; None where the path never comes back."""
    return simulate(chunked, policy, GEOMETRY, MACHINE, landmarks=landmarks).recall


def main() -> None:
    """Print both tables as Markdown."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    for keep, frames in ((0.25, 18), (1.0, 27)):
        print(f"\nwindow = {frames // 3 + 1} chunks, worldkv:keep_ratio={keep}\n")
        print("| path | view distance | sliding | random (20 seeds) | worldkv | chordal | frustum | closes | oracle |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for name in PATHS:
            for scale in (0.5, 1.0, 2.0):
                print(_row(name, folder, scale, keep, frames))
    print("\npose noise, share of each motion: worldkv | frustum-coverage, mean of 5 noise seeds\n")
    shares = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
    print(f"| path | {' | '.join(map(str, shares))} |\n| --- |{' --- |' * len(shares)}")
    for name in PATHS:
        chunked, landmarks = path(name, folder)
        cells = []
        for share in shares:
            noisy = [with_pose_noise(chunked, share, seed=seed) for seed in range(5)]
            found = [[recall(c, landmarks, p) for c in noisy] for p in (WorldKV(), FrustumCoverage())]
            cells.append(" / ".join(f"{np.mean(np.array(values, float)):.2f}" for values in found))
        print(f"| {name} | {' | '.join(cells)} |")


def _row(name: str, folder: Path, scale: float, keep: float, frames: int) -> str:
    chunked, landmarks = path(name, folder, scale)
    head = f"| {name} | {chunked.view_distance:.3g} |"
    sliding = recall(chunked, landmarks, SlidingWindow(frames - SINK_FRAMES, SINK_FRAMES))
    if sliding is None:
        return head + f" never comes back (counted share {100 * landmarks.counted_share:.1f} %) |" + " |" * 6
    chance = [recall(chunked, landmarks, RandomRetrieval(retrieved_frames=frames - 9, seed=s)) for s in range(20)]
    worldkv = WorldKV(keep_ratio=keep)
    frustum = FrustumCoverage() if keep < 1 else FrustumCoverage(retrieved_frames=18, keep_ratio=1.0)
    found = [
        recall(chunked, landmarks, policy)
        for policy in (worldkv, replace(worldkv, rotation_mean="chordal"), frustum, Oracle(frames))
    ]
    ours, chordal, best, oracle = np.array(found, float)
    closes = (best - sliding) / (oracle - sliding)
    cells = [sliding, float(np.mean(np.array(chance, float))), ours, chordal, best]
    return head + "".join(f" {cell:.2f} |" for cell in cells) + f" {100 * closes:.0f} % | {oracle:.2f} |"


if __name__ == "__main__":
    main()
