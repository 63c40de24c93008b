"""A camera-controlled world model, causal over chunks, that a few flow-matching steps denoise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from worldkv.backends.models.trained.codec import PatchCodec
from worldkv.backends.models.trained.config import TrainedConfig
from worldkv.backends.models.trained.layer import TIME_CHANNELS, TrainedLayer, normed
from worldkv.backends.models.trained.rays import Turned, turned_by

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of a layer's queries over keys and values, `(batch, tokens, heads, head_dim)` each."""

_TIME_WAVES, _FASTEST = 8, 50.0
_NOTHING = -1e9


class TrainedWorld(nn.Module):
    """A small video transformer that knows a place it saw from its keys and values alone.

    Tokens of 8 x 8 patches, modulated by the noise level; layers of attention and feed-forward; the model answers with
    the clean latents. What a camera sees is asked by its rays, see `TrainedConfig.positions`. A chunk's own tokens see
    each other and every earlier chunk that the cache holds. Source: this project; flow matching after arXiv 2210.02747.

    Attributes:
        config: its shape.
        codec: between pictures and tokens.
    """

    def __init__(self, config: TrainedConfig | None = None) -> None:
        """A model of untrained weights, drawn from torch's generator."""
        super().__init__()
        self.config = config = config or TrainedConfig()
        shape = config.geometry
        self.codec = PatchCodec(config)
        self.embed_patch = nn.Linear(config.latent_channels, config.dim)
        self.embed_place = nn.Parameter(torch.randn(shape.tokens_per_frame, config.dim) * 0.1)
        self.time_in, self.time_out = nn.Linear(2 * _TIME_WAVES, TIME_CHANNELS), nn.Linear(TIME_CHANNELS, TIME_CHANNELS)
        self.layers = nn.ModuleList(TrainedLayer(config) for _ in range(shape.layers))
        self.head_modulation = nn.Linear(TIME_CHANNELS, 2 * config.dim)
        self.head = nn.Linear(config.dim, config.latent_channels)
        nn.init.normal_(self.head.weight, std=0.3 / math.sqrt(config.dim))
        for zero in (self.head.bias, self.head_modulation.weight, self.head_modulation.bias):
            nn.init.zeros_(zero)

    def forward(self, latents: Tensor, time: float, turned: Turned, attend: Attend) -> Tensor:
        """One pass over a chunk.

        Args:
            latents: `(1, tokens, latent_channels)`, noise at level 1, clean at 0.
            time: the noise level.
            turned: what `turned_by` says of its camera.
            attend: answers each layer, from the cache and the chunk itself.

        Returns:
            The clean latents as far as the model knows them, in the shape of `latents`.
        """
        x, level = self._embed(latents), latents.new_full((1,), time)
        embedded = self._embed_time(level)
        for index, layer in enumerate(self._stack()):
            q, k, v = layer.project(x, embedded, level, turned)
            x = layer.finish(x, attend(index, q, k, v), embedded, turned)
        return self._answer(x, embedded)

    def denoised(
        self,
        context: Tensor,
        noisy: Tensor,
        time: Tensor,
        places: Tensor,
        start_frames: Tensor,
        sees: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Clean latents of many targets, each a chunk after the same clean context; for training.

        Args:
            context: `(batch, chunks, tokens, latent_channels)`.
            noisy: `(batch, targets, tokens, latent_channels)`.
            time: their noise levels `(batch, targets)`.
            places: `(batch, chunks + targets, frames, 3)`, see `turned_by`.
            start_frames: `(batch, chunks + targets)`, likewise.
            sees: which chunk attends to which `(batch, chunks, chunks)`, and which target to which chunk
                `(batch, targets, chunks)`; every chunk sees itself.
        """
        batch, chunks, tokens = context.shape[:3]
        targets = noisy.shape[1]
        turned = turned_by(places, start_frames, self.config)
        turned_context, turned_noisy = turned.part(slice(chunks)), turned.part(slice(chunks, None))
        clean = context.new_zeros(batch, chunks)
        x, y = self._embed(context), self._embed(noisy)
        embedded_clean, embedded = self._embed_time(clean), self._embed_time(time)
        own = torch.eye(chunks, dtype=torch.bool)
        mask = _as_bias((sees[0] | own).repeat_interleave(tokens, 1).repeat_interleave(tokens, 2))[:, None]
        seen = sees[1].repeat_interleave(tokens, 2)
        itself = torch.ones(batch, targets, tokens, dtype=torch.bool)
        mask_noisy = _as_bias(torch.cat([seen, itself], 2)).view(batch * targets, 1, 1, -1)
        for index, layer in enumerate(self._stack()):
            q, k, v = layer.project(x, embedded_clean, clean, turned_context)
            q, k, v = (each.flatten(1, 2).transpose(1, 2) for each in (q, k, v))
            asked, own_k, own_v = (
                each.flatten(0, 1).transpose(1, 2) for each in layer.project(y, embedded, time, turned_noisy)
            )
            wide_k, wide_v = (each[:, None].expand(-1, targets, -1, -1, -1).flatten(0, 1) for each in (k, v))
            answer = scaled_dot_product_attention(
                asked, torch.cat([wide_k, own_k], 2), torch.cat([wide_v, own_v], 2), attn_mask=mask_noisy
            )
            y = layer.finish(
                y, answer.transpose(1, 2).view(batch, targets, tokens, *q.shape[1::2]), embedded, turned_noisy
            )
            if index + 1 < len(self._stack()):
                answer = scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
                x = layer.finish(
                    x, answer.reshape(batch, chunks, tokens, *q.shape[1::2]), embedded_clean, turned_context
                )
        return self._answer(y, embedded)

    def _stack(self) -> list[TrainedLayer]:
        return cast("list[TrainedLayer]", list(self.layers))

    def _embed(self, latents: Tensor) -> Tensor:
        frames = self.config.geometry.frames_per_chunk
        embedded: Tensor = self.embed_patch(latents) + self.embed_place.repeat(frames, 1)
        return embedded

    def _embed_time(self, time: Tensor) -> Tensor:
        """`(..., TIME_CHANNELS)`."""
        waves = torch.linspace(0, math.log(_FASTEST), _TIME_WAVES, device=time.device).exp()
        angles = time[..., None] * waves
        return silu(self.time_out(silu(self.time_in(torch.cat([angles.cos(), angles.sin()], dim=-1)))))

    def _answer(self, x: Tensor, embedded: Tensor) -> Tensor:
        shift, scale = self.head_modulation(embedded)[..., None, :].chunk(2, dim=-1)
        answer: Tensor = self.head(normed(x) * (1 + scale) + shift)
        return answer


def next_latents(latents: Tensor, clean: Tensor, time: float, next_time: float) -> Tensor:
    """Latents at level `time` moved to `next_time` on the straight line to what the model calls clean."""
    return clean + (latents - clean) * (next_time / time)


def _as_bias(sees: Tensor) -> Tensor:
    return torch.zeros(sees.shape).masked_fill_(~sees, _NOTHING)
