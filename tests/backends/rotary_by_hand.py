"""Rotary positions the slow way."""

from __future__ import annotations

import cmath

import torch
from torch import Tensor


def rotated_by_hand(x: Tensor, rows: int, columns: int, start_frame: int, theta: float = 10_000.0) -> Tensor:
    """Every channel pair of every token as one complex number, turned in float64."""
    batch, tokens, heads, head_dim = x.shape
    pairs = head_dim // 2
    axes = [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3]
    out = torch.empty(x.shape, dtype=torch.float64)
    for token in range(tokens):
        frame, place = divmod(token, rows * columns)
        positions = [start_frame + frame, place // columns, place % columns]
        steps = [p / theta ** (2 * i / (2 * n)) for n, p in zip(axes, positions, strict=True) for i in range(n)]
        for b in range(batch):
            for h in range(heads):
                for i, angle in enumerate(steps):
                    z = complex(float(x[b, token, h, 2 * i]), float(x[b, token, h, 2 * i + 1]))
                    z *= cmath.exp(1j * angle)
                    out[b, token, h, 2 * i], out[b, token, h, 2 * i + 1] = z.real, z.imag
    return out
