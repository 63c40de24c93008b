"""Fidelity of a rollout: its pictures against those of the first visit and against the truth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import Array
from worldkv.worlds.paint import Colours
from worldkv.worlds.seen_before import NEVER
from worldkv.worlds.world import PaintedWorld

LEAST_SHARE = 0.1
"""A step is a revisit where at least this share of its elements counts."""

MOST_DB = 60.0
"""PSNR of pictures that are the same."""

_SSIM_WINDOW = 7


@dataclass(frozen=True)
class Fidelity:
    """Fidelity of a rollout's pictures, one row a chunk; NaN where a chunk is no revisit.

    Only elements that count are compared: some earlier chunk showed them, and neither chunk 0 nor the last two did.

    Attributes:
        psnr_visit: dB against the picture generated at the first visit, moved to this view `(chunks,)`.
        psnr_truth: dB against the truth.
        ssim_visit: structural similarity to the first visit's picture.
        ssim_truth: structural similarity to the truth.
        mass: share of attention that memory had.
        drift: dB against the truth over all that was seen before, counted or not; NaN where nothing was.
    """

    psnr_visit: Array
    psnr_truth: Array
    ssim_visit: Array
    ssim_truth: Array
    mass: Array
    drift: Array

    @property
    def num_revisits(self) -> int:
        """Chunks that are revisits."""
        return int(np.isfinite(self.psnr_truth).sum())

    def means(self) -> dict[str, float | None]:
        """Mean over revisits by name, and `drift` as dB lost from the first to the last quarter; None without any."""
        found: dict[str, float | None] = {}
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            values = values[np.isfinite(values)]
            found[field.name] = float(values.mean()) if len(values) else None
        drift = self.drift[np.isfinite(self.drift)]
        quarter = len(drift) // 4
        found["drift"] = float(drift[:quarter].mean() - drift[-quarter:].mean()) if quarter else None
        return found


def measure(pictures: Colours, mass: NDArray[np.float32], world: PaintedWorld) -> Fidelity:
    """Compare a rollout's pictures.

    Args:
        pictures: what was generated `(frames, rows, columns, 3)`.
        mass: share of attention that memory had `(frames, rows, columns)`.
        world: along the same trajectory.
    """
    surface, seen_before = world.surface, world.seen_before
    rows = np.full((6, surface.num_chunks), np.nan)
    for chunk in range(surface.num_chunks):
        frames = surface.of_chunk(chunk)
        before = ~world.novel[frames]
        if before.any():
            rows[5, chunk] = psnr(pictures[frames][before], world.truth[frames][before])
        counted = seen_before.counted[frames]
        if counted.mean() < LEAST_SHARE:
            continue
        rows[1, chunk] = psnr(pictures[frames][counted], world.truth[frames][counted])
        rows[3, chunk] = _ssim(pictures[frames], world.truth[frames], counted)
        rows[4, chunk] = mass[frames][counted].mean()
        compared = seen_before.is_compared[frames]
        if compared.any():
            visits = np.stack([first_visit(pictures, world, frame) for frame in range(frames.start, frames.stop)])
            rows[0, chunk] = psnr(pictures[frames][compared], visits[compared])
            rows[2, chunk] = _ssim(pictures[frames], visits, compared)
    return Fidelity(*rows)


def first_visit(pictures: Colours, world: PaintedWorld, frame: int) -> Colours:
    """The first visit's generated picture as seen from `frame` `(rows, columns, 3)`; itself where there is none."""
    from scipy.ndimage import map_coordinates

    seen: Colours = pictures[frame].copy()
    visit, is_compared = world.seen_before.visit[frame], world.seen_before.is_compared[frame]
    if visit == NEVER:
        return seen
    places = world.seen_before.visit_at[frame][is_compared].T
    for colour in range(seen.shape[-1]):
        seen[is_compared, colour] = map_coordinates(pictures[visit][..., colour], places, order=1, mode="nearest")
    return seen


def psnr(pictures: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Peak signal-to-noise ratio in dB of colours in [0, 1], at most `MOST_DB`."""
    from skimage.metrics import mean_squared_error

    error = float(mean_squared_error(pictures.astype(np.float64), reference.astype(np.float64)))
    return min(MOST_DB, -10 * float(np.log10(max(error, 1e-12))))


def _ssim(pictures: Colours, reference: Colours, where: NDArray[np.bool_]) -> float:
    """Mean structural similarity of frames over the elements `where`; what is outside is the same in both."""
    from skimage.metrics import structural_similarity

    total = 0.0
    for picture, other, inside in zip(pictures, reference, where, strict=True):
        if inside.any():
            window = min(_SSIM_WINDOW, (min(inside.shape) - 1) // 2 * 2 + 1)
            filled = np.where(inside[..., None], other, picture)
            _, similar = structural_similarity(
                picture, filled, win_size=window, data_range=1.0, channel_axis=-1, full=True
            )
            total += float(similar[inside].sum())
    return total / (3 * int(where.sum()))
