"""Rotary positions in three dimensions, and the turning of attended keys to where the plan stands them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.uncompiled import uncompiled
from worldkv.backends.window.arena import Arena, Shift
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry

_AT_ONCE = 1 << 24
"""Most numbers shifted at a time; more go one leading index after the other, so that temporaries stay small."""

_MOST_TURNS = 1 << 12
"""Shifts whose cosines and sines are kept."""


class _Angles(NamedTuple):
    """What every token's channel pairs are multiplied by, `(tokens, 1, head_dim / 2)` complex, in the frames named."""

    start_frame: int
    frames: int
    turns: Tensor


class Rotary:
    """Turns adjacent channel pairs by angles that grow with a token's latent frame, row and column.

    Of c = head_dim / 2 pairs the first c - 2 (c // 3) turn with the frame, the next c // 3 with the row, the last
    c // 3 with the column; pair i of an axis with n pairs turns by theta^(-i/n) a position. Tokens of a frame stand row
    by row. Angles are computed in float64 for the frames asked for, so that a long table costs nothing; their cosines
    and sines, and the products with keys, are float32 (the Wan family's code multiplies in float64). There is no end to
    the positions: what a model was trained for is a distance, which the cache checks at `begin`. Source: Wan 2.1
    (arXiv 2503.20314), after RoFormer (arXiv 2104.09864).

    Attributes:
        geometry: frame grid and `head_dim`.
        device: where the angles lie.
        time_pairs: channel pairs that turn with the frame.
        space_pairs: channel pairs that turn with the row, and as many with the column.
    """

    def __init__(self, geometry: CacheGeometry, device: torch.device | str = "cpu", theta: float = 10_000.0) -> None:
        """Positions of `geometry`'s frames; `theta` is the base of the frequencies.

        Raises:
            SpecError: `theta` is not above 0.
        """
        if not theta > 0:
            raise SpecError(f"theta must be above 0, got {theta}; the Wan family uses 10000")
        self.geometry, self.device = geometry, torch.device(device)
        pairs = geometry.head_dim // 2
        self.space_pairs = pairs // 3
        self.time_pairs = pairs - 2 * self.space_pairs
        self._time_ladder = _ladder(self.time_pairs, theta)
        space = _ladder(self.space_pairs, theta)
        rows = torch.outer(torch.arange(geometry.frame_rows, dtype=torch.float64), space)
        columns = torch.outer(torch.arange(geometry.frame_columns, dtype=torch.float64), space)
        grid = (geometry.frame_rows, geometry.frame_columns, self.space_pairs)
        self._space_angles = torch.cat([rows[:, None].expand(grid), columns[None].expand(grid)], dim=-1).flatten(0, 1)
        self._last: _Angles | None = None
        self._turns: dict[tuple[torch.device, int], Tensor] = {}  # cosines and sines of a shift `(2, time_pairs)`

    def rotate(self, x: Tensor, start_frame: int) -> Tensor:
        """Queries or keys turned to their positions.

        Args:
            x: whole latent frames in order `(batch, tokens, heads, head_dim)`.
            start_frame: latent frame of the first of them.

        Returns:
            The same shape and dtype, new memory.

        Raises:
            SpecError: `x` is not whole frames of this geometry.
        """
        frames, rest = divmod(x.shape[1], self.geometry.tokens_per_frame)
        if rest or x.shape[-1] != self.geometry.head_dim:
            raise SpecError(
                f"rotary positions need whole frames of {self.geometry.tokens_per_frame} tokens and heads of "
                f"{self.geometry.head_dim} channels, got {x.shape[1]} tokens of {x.shape[-1]}; pass [B, S, H, D]"
            )
        turns = self._angles(start_frame, frames).turns
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)

    def ladders(self) -> tuple[Tensor, Tensor]:
        """Angle a latent frame of each time pair `(time_pairs,)`, and angles of a frame's tokens `(tokens, rest)`."""
        return self._time_ladder, self._space_angles

    def prepare(
        self, deltas: Iterable[int], device: torch.device, upload: Callable[[NDArray[np.float32]], Tensor]
    ) -> None:
        """Bring cosines and sines of the shifts that `shift_time` will be asked for to where the keys lie, in one copy.

        Args:
            deltas: latent frames.
            device: where the keys lie.
            upload: copies an array there.
        """
        wanted = [delta for delta in dict.fromkeys(deltas) if (device, delta) not in self._turns]
        if not wanted:
            return
        if len(self._turns) + len(wanted) > _MOST_TURNS:
            self._turns.clear()
        table = upload(self._table(wanted).numpy())
        self._turns |= {(device, delta): turn for delta, turn in zip(wanted, table, strict=True)}

    def shift_time(self, keys: Tensor, delta_frames: int, out: Tensor) -> None:
        """Turn stored keys on by `delta_frames`; rows, columns and channels behind the head's own are only copied.

        Always start from the stored keys: in bf16 a rotation of a rotation drifts. The same key and shift give the same
        bits wherever the key lies.

        Args:
            keys: `(..., tokens, head_dim or more)`, as they lie.
            delta_frames: new latent frame minus old one, any sign.
            out: takes the result, same shape; `keys` itself or memory that does not overlap it.
        """
        if keys.ndim > 3 and keys.numel() > _AT_ONCE:
            for some, into in zip(keys, out, strict=True):
                self.shift_time(some, delta_frames, into)
            return
        if (keys.device, delta_frames) not in self._turns:
            (self._turns[keys.device, delta_frames],) = self._table([delta_frames]).to(keys.device)
        cosine, sine = self._turns[keys.device, delta_frames]
        timed = 2 * self.time_pairs
        first, second = keys[..., 0:timed:2], keys[..., 1:timed:2]  # of any dtype; their products are float32
        # One operation after the other: a fused one, as in a complex product, may round by where a number lies.
        turned_first = (first * cosine).sub_(second * sine)
        turned_second = (first * sine).add_(second * cosine)
        out[..., 0:timed:2].copy_(turned_first)
        out[..., 1:timed:2].copy_(turned_second)
        out[..., timed:].copy_(keys[..., timed:])

    def _table(self, deltas: Sequence[int]) -> Tensor:
        """Cosines and sines of shifts `(shifts, 2, time_pairs)`, on the host."""
        angles = torch.tensor(deltas, dtype=torch.float64)[:, None] * self._time_ladder
        return torch.stack([angles.cos(), angles.sin()], dim=1).float()

    @uncompiled
    def _angles(self, start_frame: int, frames: int) -> _Angles:
        last = self._last
        if last is None or (last.start_frame, last.frames) != (start_frame, frames):
            positions = torch.arange(start_frame, start_frame + frames, dtype=torch.float64)
            time = torch.outer(positions, self._time_ladder)[:, None].expand(-1, len(self._space_angles), -1)
            space = self._space_angles[None].expand(frames, -1, -1)
            angles = torch.cat([time, space], dim=-1).flatten(0, 1)[:, None]
            turns = torch.polar(torch.ones_like(angles), angles).to(self.device, torch.complex64)
            last = self._last = _Angles(start_frame, frames, turns)
        return last


def turn_keys(
    arena: Arena, rotary: Rotary, turns: Iterable[tuple[int, int]], rotate: Callable[[int, Shift], None]
) -> None:
    """Turn the attended keys of chunks on by so many latent frames, each from its stored keys, where they are not yet.

    Args:
        arena: the window.
        rotary: the model's positions.
        turns: chunks in the window, and by how many latent frames each stands later than its stored keys say.
        rotate: writes a chunk's attended keys, `Arena.rotate` or what does it layer by layer.
    """
    moved = [(chunk, frames) for chunk, frames in turns if arena.turned.get(chunk) != frames]
    rotary.prepare((frames for _, frames in moved), arena.buffer.device, arena.upload)
    for chunk, frames in moved:
        rotate(chunk, partial(_shift, rotary, frames))
        arena.turned[chunk] = frames


def _shift(rotary: Rotary, delta_frames: int, stored: Tensor, attended: Tensor) -> None:
    rotary.shift_time(stored, delta_frames, attended)


def _ladder(pairs: int, theta: float) -> Tensor:
    """Angle a position of each of an axis' pairs, in float64."""
    return theta ** (-torch.arange(pairs, dtype=torch.float64) / max(1, pairs))
