"""The optimiser of weight matrices: momentum whose singular values are all brought to about 1."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_MOMENTUM, _DECAY, _ROUNDS = 0.95, 0.02, 5
_QUINTIC = (3.4445, -4.775, 2.0315)


class Muon:
    """Orthogonalised momentum for matrices. Source: Jordan et al., Muon (2024), with its Newton-Schulz coefficients."""

    def __init__(self, matrices: Iterable[nn.Parameter]) -> None:
        """Momentum of nought."""
        self._matrices = list(matrices)
        self.momentum = [torch.zeros_like(matrix) for matrix in self._matrices]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step along the gradients, of spectral norm about `rate`."""
        for matrix, momentum in zip(self._matrices, self.momentum, strict=True):
            if matrix.grad is None:
                continue
            momentum.lerp_(matrix.grad, 1 - _MOMENTUM)
            ahead = matrix.grad.lerp(momentum, _MOMENTUM)
            step = orthogonalised(ahead)
            matrix.mul_(1 - rate * _DECAY).add_(step, alpha=-rate * max(1.0, step.shape[0] / step.shape[1]) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """`matrix` with singular values of 0.7 to 1.2, its singular vectors as they were."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.T if tall else x
    return found
