"""Random weights from a seed: the same numbers in any dtype on any device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from worldkv.errors import SpecError


class Weights:
    """Draws a model's weights one after the other, in float32 on the CPU, and casts each when it is drawn.

    Attributes:
        dtype: of the weights.
        device: where they lie.
    """

    def __init__(self, seed: int, dtype: torch.dtype, device: torch.device | str) -> None:
        """Weights from `seed`; torch's global generators are left alone.

        Raises:
            SpecError: `seed` is below 0.
        """
        if seed < 0:
            raise SpecError(f"a model's seed must be at least 0, got {seed}")
        self.dtype, self.device = dtype, device
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, deviation: float, mean: Tensor | float = 0.0) -> nn.Parameter:
        """Normally distributed numbers round `mean`, never trained."""
        drawn = torch.randn(shape, generator=self._generator).mul_(deviation).add_(mean)
        return nn.Parameter(drawn.to(self.device, self.dtype), requires_grad=False)

    def projection(self, inputs: int, outputs: int, gain: float = 1.0) -> Projection:
        """A linear layer that gives inputs of deviation 1 the deviation `gain`."""
        return Projection(
            self.normal(outputs, inputs, deviation=gain / inputs**0.5), self.normal(outputs, deviation=0.1 * gain)
        )


class Projection(nn.Module):
    """A linear layer of given weights.

    Attributes:
        weight: `(outputs, inputs)`.
        bias: `(outputs,)`.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        """A layer of these weights."""
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Channels `(..., inputs)` to `(..., outputs)`."""
        return linear(x, self.weight, self.bias)
