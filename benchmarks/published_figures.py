"""The published FPS series of the WorldKV project page beside the time model's.

Run: python benchmarks/published_figures.py. The full-KV series is what the machine file `worldkv-project-page` was
fitted to; the WorldKV series was not used, and the page does not say which of the two readings below it measured.
"""

from __future__ import annotations

import numpy as np

from worldkv import PRESETS, ChunkedTrajectory, FullKV, Poses, Trajectory, WorldKV, load_machine
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


def still_path(chunks: int) -> ChunkedTrajectory:
    """A camera that stands: speed depends on how much is attended, not on where."""
    positions, rotations = np.zeros((chunks * 12, 3)), np.tile(np.eye(3), (chunks * 12, 1, 1))
    latents = (chunks, 3)
    camera = Poses.of(np.zeros((*latents, 3)), np.tile(np.eye(3), (*latents, 1, 1)))
    return ChunkedTrajectory(Trajectory("still", positions, rotations), camera, None, 1.0, chunks * 12)


def main() -> None:
    """Print the whole series."""
    geometry, page = PRESETS["lingbot-world-fast-480p"], load_machine("worldkv-project-page")
    overhead = load_machine("worldkv-project-page-overhead")
    path = still_path(len(FULL_KV_FPS))
    runs = [
        simulate(path, policy, geometry, machine).seconds
        for policy, machine in (
            (FullKV(), page),
            (WorldKV(keep_ratio=1.0), page),
            (WorldKV(keep_ratio=0.25), page),
            (WorldKV(keep_ratio=0.25), overhead),
        )
    ]
    full, whole, half, half_overhead = (geometry.video_frames_per_chunk / seconds for seconds in runs)
    print("FPS by chunk: published | model. Fitted to the published full-KV series only; WorldKV was not fitted.")
    print("  A: keep 1, no stall. B: keep 0.25. C: keep 0.25 with 67 ms a chunk of other work.")
    print("chunk   full KV  model    %      WorldKV    A      %      B      %      C      %")
    for row, (published, worldkv) in enumerate(zip(FULL_KV_FPS, WORLDKV_FPS, strict=True)):
        cells = [f"{row + 1:5d}   {published:5.1f}  {full[row]:6.2f}  {100 * (full[row] / published - 1):+5.1f}"]
        cells.append(f"     {worldkv:5.1f}")
        for series in (whole, half, half_overhead):
            cells.append(f"  {series[row]:5.2f}  {100 * (series[row] / worldkv - 1):+5.1f}")
        print("".join(cells))
    worst = np.abs(full / np.array(FULL_KV_FPS) - 1).max()
    print(f"full KV: largest difference {100 * worst:.2f} % (fitted)")
    for name, series in (("A", whole), ("B", half), ("C", half_overhead)):
        difference = series / np.array(WORLDKV_FPS) - 1
        last = 100 * difference[-1]
        print(f"WorldKV {name}: plateau {last:+.1f} %, largest {100 * np.abs(difference).max():.1f} % (not fitted)")


if __name__ == "__main__":
    main()
