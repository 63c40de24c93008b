"""A causal video transformer with random weights: a real model's work, generated chunk by chunk."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from worldkv.backends.models.transformer_layer import AttendingCache, TransformerLayer, modulated
from worldkv.backends.models.weights import Weights
from worldkv.backends.rotary import Rotary
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry

_TIME_CHANNELS = 256
_TIME_SCALE = 1000.0  # Wan's noise levels run from 0 to 1000
_LATENT_CHANNELS = 16


class CausalVideoDiT(nn.Module):
    """A causal, chunk-wise video DiT in the Wan family's shape, with random weights.

    Linear patch embedding (the tokens are patches already), sinusoidal time embedding and MLP to a six-fold modulation
    that every layer adds its own table to, self-attention through the cache, modulated head. There is no text
    cross-attention: it caches nothing that a policy decides about. Of two branches the first is conditional (a random
    condition is added to its time embedding), the second is not. Weights are scaled so that activations stay of order
    1 and attention has favourites. Source: Wan 2.1 (arXiv 2503.20314), chunk-wise as in Self-Forcing
    (arXiv 2506.08009).

    Attributes:
        geometry: the cache's shape, and the model's.
        rotary: its positions; hand them to the cache where keys are rebased.
        latent_channels: channels of a token at the door.
        layers: the transformer layers.
    """

    def __init__(
        self,
        geometry: CacheGeometry,
        *,
        seed: int = 0,
        latent_channels: int = _LATENT_CHANNELS,
        ffn_ratio: float = 4.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """A model for `geometry`, every weight drawn from `seed`.

        Args:
            geometry: layers, heads, grid; branches 1, or 2 for guidance.
            seed: the same seed gives the same weights, in any dtype on any device.
            latent_channels: channels of a token at the door.
            ffn_ratio: width of the feed-forward over the model's; Wan takes 2.7 (14B) to 5.8 (1.3B).
            dtype: of weights and activations.
            device: where they lie.

        Raises:
            SpecError: more than two branches, or a seed, width or channel count out of range.
        """
        dim = geometry.heads * geometry.head_dim
        if geometry.branches > 2:
            raise SpecError(f"the model knows branches=1 and branches=2 (guided), got {geometry.branches}")
        if latent_channels < 1 or ffn_ratio * dim < 1:
            raise SpecError(
                f"latent_channels and ffn_ratio x {dim} must be at least 1, got {latent_channels} and {ffn_ratio}"
            )
        super().__init__()
        weights = Weights(seed, dtype, device)
        self.geometry, self.latent_channels = geometry, latent_channels
        self.rotary = Rotary(geometry, device)
        self.patch_embedding = weights.projection(latent_channels, dim)
        self.time_in = weights.projection(_TIME_CHANNELS, dim, math.sqrt(2))  # half of sin^2 + cos^2 each
        self.time_out = weights.projection(dim, dim, math.sqrt(2))
        self.condition = weights.normal(dim, deviation=0.5)
        self.time_modulation = weights.projection(dim, 6 * dim, 0.2)
        self.layers = nn.ModuleList(
            TransformerLayer(layer, geometry, round(ffn_ratio * dim), self.rotary, weights)
            for layer in range(geometry.layers)
        )
        self.head_modulation = weights.normal(2, dim, deviation=0.2)
        self.head = weights.projection(dim, latent_channels)

    def forward(self, x: Tensor, time: float, cache: AttendingCache, *, clean: bool = False) -> Tensor:
        """One pass over the chunk being generated.

        Args:
            x: its latents `(branches, tokens, latent_channels)`, in the model's dtype.
            time: noise level, 1 for noise alone, 0 for clean.
            cache: where the step is open; its `attend` is called once a layer.
            clean: whether this pass's keys and values are the ones to keep.

        Returns:
            The velocity from clean latents to noise, in the shape of `x`.
        """
        embedded = self._time_embedding(time)
        modulation = self.time_modulation(silu(embedded)).view(len(embedded), 6, -1)
        hidden: Tensor = self.patch_embedding(x)
        for layer in self.layers:
            hidden = layer(hidden, modulation, cache, clean)
        shift, scale = (embedded[:, None] + self.head_modulation)[:, :, None].unbind(1)
        velocity: Tensor = self.head(modulated(hidden, shift, scale))
        return velocity

    def _time_embedding(self, time: float) -> Tensor:
        """`(branches, dim)`, the condition in the first."""
        half = _TIME_CHANNELS // 2
        angles = _TIME_SCALE * time * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        waves = torch.cat([angles.cos(), angles.sin()]).to(self.condition.device, self.condition.dtype)
        embedded: Tensor = self.time_out(silu(self.time_in(waves)))
        branches = [embedded + self.condition, embedded]
        return torch.stack(branches[: self.geometry.branches])


def generate_chunk(
    model: CausalVideoDiT, cache: AttendingCache, noise: Tensor, denoise_passes: int, *, guidance_scale: float = 3.0
) -> Tensor:
    """Denoise one chunk, then pass once more over the result so that the cache keeps clean keys and values.

    Flow matching by Euler steps of equal length. Of two branches the guided velocity
    `unconditional + guidance_scale * (conditional - unconditional)` moves both, so they stay at the same latents.

    Args:
        model: the model.
        cache: where the caller has begun a step, and commits it afterwards.
        noise: `(branches, tokens, latent_channels)`, see `noise_for`.
        denoise_passes: passes before the clean one, at least 1.
        guidance_scale: 1 for the conditional branch alone; without meaning for one branch.

    Returns:
        The clean latents, in the shape of `noise`.

    Raises:
        SpecError: `denoise_passes` is below 1.
    """
    if denoise_passes < 1:
        raise SpecError(f"denoise_passes must be at least 1, got {denoise_passes}; a distilled model takes about 4")
    with torch.inference_mode():
        latents = noise
        for done in range(denoise_passes):
            velocity = model(latents, 1 - done / denoise_passes, cache)
            if len(velocity) == 2:
                conditional, unconditional = velocity
                velocity = unconditional + guidance_scale * (conditional - unconditional)
            latents = latents - velocity / denoise_passes
        model(latents, 0.0, cache, clean=True)
    return latents


def noise_for(
    geometry: CacheGeometry,
    step: int,
    seed: int,
    latent_channels: int = _LATENT_CHANNELS,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The noise of chunk `step` `(branches, tokens, latent_channels)`, the same in every branch and on every device.

    Raises:
        SpecError: `seed` or `step` is below 0.
    """
    if seed < 0 or step < 0:
        raise SpecError(f"the noise's seed and step must be at least 0, got seed {seed} and step {step}")
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64).item()
    noise = torch.randn(geometry.chunk_tokens, latent_channels, generator=torch.Generator().manual_seed(mixed))
    return noise.to(device, dtype).repeat(geometry.branches, 1, 1)
