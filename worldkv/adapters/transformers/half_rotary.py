"""Rotary positions of language models, which turn channel i with channel i + half; proved on the model itself."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from worldkv.backends.rotary import Rotary
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry


class HalfRotary(Rotary):
    """Turns the pair of channels i and i + n by an angle that grows with the token's number, n pairs a head.

    The Wan family's `Rotary` turns neighbouring channels by frame, row and column; on keys of a language model it would
    give numbers that look right and are not. Source: RoFormer (arXiv 2104.09864), in the layout of GPT-NeoX and Llama.

    Attributes:
        frequencies: angle a token of every pair `(pairs,)`; channels behind the first 2 x pairs are not turned.
    """

    def __init__(self, geometry: CacheGeometry, frequencies: Tensor) -> None:
        """Positions of `geometry`'s tokens, one after the other."""
        super().__init__(geometry, frequencies.device)
        self.frequencies = frequencies.double()

    def rotate(self, x: Tensor, start_frame: int) -> Tensor:
        """See `Rotary.rotate`."""
        first = start_frame * self.geometry.tokens_per_frame
        tokens = torch.arange(first, first + x.shape[1], dtype=torch.float64, device=self.device)
        out = torch.empty_like(x)
        self._turn(x, torch.outer(tokens, self.frequencies)[:, None], out)
        return out

    def shift_time(self, keys: Tensor, delta_frames: int, out: Tensor) -> None:
        """See `Rotary.shift_time`; a frame is `tokens_per_frame` tokens."""
        self._turn(keys, delta_frames * self.geometry.tokens_per_frame * self.frequencies, out)

    def _turn(self, x: Tensor, angles: Tensor, out: Tensor) -> None:
        pairs = len(self.frequencies)
        cosine, sine = angles.cos().to(x.device, torch.float32), angles.sin().to(x.device, torch.float32)
        first, second = x[..., :pairs], x[..., pairs : 2 * pairs]
        turned = (first * cosine).sub_(second * sine), (second * cosine).add_(first * sine)
        out[..., :pairs].copy_(turned[0])
        out[..., pairs : 2 * pairs].copy_(turned[1])
        out[..., 2 * pairs :].copy_(x[..., 2 * pairs :])


def rotary_of(decoder: Any, geometry: CacheGeometry) -> HalfRotary:
    """The rotary positions of a transformers decoder, for policies that move keys.

    What it would do to a key is compared with what the model's own code does, so that a model with another layout, or
    with positions in several axes, is refused instead of corrupted.

    Args:
        decoder: the model without its head.
        geometry: its cache shape.

    Raises:
        SpecError: its keys cannot be moved, and why.
    """
    name, config = type(decoder).__name__, decoder.config
    parameters = getattr(config, "rope_parameters", None) or {}
    if "mrope_section" in parameters:
        raise SpecError(
            f"{name} has positions in several axes (mrope), whose keys cannot be moved in time; take a policy that "
            "leaves positions alone"
        )
    kind = parameters.get("rope_type", "default")
    if kind in ("dynamic", "longrope"):
        raise SpecError(
            f"{name}'s rotary frequencies change with the text's length ({kind}), so keys cannot be moved; take a "
            "policy that leaves positions alone"
        )
    apply = getattr(sys.modules[type(decoder).__module__], "apply_rotary_pos_emb", None)
    embedding = getattr(decoder, "rotary_emb", None)
    frequencies = getattr(embedding, "inv_freq", None)
    if apply is None or frequencies is None:
        raise SpecError(
            f"{name} has no rotary positions that worldkv knows (rotary_emb.inv_freq, apply_rotary_pos_emb), so keys "
            "cannot be moved; take a policy that leaves positions alone"
        )
    rotary = HalfRotary(geometry, frequencies)
    if not _agrees(rotary, embedding, apply):
        raise SpecError(
            f"{name} does not turn channel i with channel i + half a head, so worldkv cannot move its keys; take a "
            "policy that leaves positions alone"
        )
    return rotary


def _agrees(rotary: HalfRotary, embedding: Any, apply: Any) -> bool:
    """Whether a drawn key, rotated by the model at one position and moved, is the key it rotates at the other."""
    geometry, frames = rotary.geometry, 3
    drawn = torch.randn((1, 1, 1, geometry.head_dim), generator=torch.Generator().manual_seed(0)).to(rotary.device)
    rotated = []
    with torch.no_grad():
        for position in (5, 5 + frames * geometry.tokens_per_frame):
            cosine, sine = embedding(drawn[0], torch.tensor([[position]], device=rotary.device))
            try:
                rotated.append(apply(drawn, drawn, cosine, sine)[1])
            except RuntimeError:  # shapes of another kind of positions
                return False
        moved = torch.empty_like(rotated[0])
        rotary.shift_time(rotated[0], frames, moved)
    return torch.allclose(moved, rotated[1], atol=1e-4)
