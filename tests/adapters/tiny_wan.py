"""A tiny random `WanTransformer3DModel`, its rollout chunk by chunk, and two references that know no WorldCache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers import transformer_wan
from numpy.typing import NDArray
from torch import Tensor, nn

from worldkv import CacheGeometry, Scene, Viewpoint, WorldCache, cut, load_trajectory, parse_policy
from worldkv.adapters.diffusers import Attachment, geometry_of

ROWS, COLUMNS, HEADS, CHANNELS, LAYERS = 2, 3, 2, 24, 2
TOKENS = ROWS * COLUMNS
TIMES = (800.0, 300.0, 0.0)
"""Noise levels of a chunk's passes; the last is the clean one."""


def tiny_wan(**changes: Any) -> Any:
    """Random weights, the same every time, with attention that is not nearly uniform."""
    torch.manual_seed(0)
    shape = {
        "num_attention_heads": HEADS,
        "attention_head_dim": CHANNELS,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 8,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": LAYERS,
    }
    model = WanTransformer3DModel(**shape | changes).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "attn1.norm_q" in name or "attn1.norm_k" in name:
            weight.mul_(2)
    return model


def cache_for(model: Any, policy: str = "full-kv", frames: int = 3, branches: int = 1, **options: Any) -> WorldCache:
    geometry = geometry_of(model, 2 * ROWS, 2 * COLUMNS, frames_per_chunk=frames, branches=branches)
    return WorldCache(parse_policy(policy), geometry, scene=Scene(view_distance=5.0), **options)


def cameras(chunks: int, frames: int = 3) -> NDArray[np.float64]:
    """Camera-to-world `(chunks, frames, 4, 4)` on a walk that comes back."""
    path = cut(load_trajectory("generate:loop"), CacheGeometry(1, 1, 1, 2, ROWS, COLUMNS, frames))
    every = slice(None, None, path.num_chunks // chunks)
    views = np.tile(np.eye(4), (chunks, frames, 1, 1))
    views[..., :3, :3] = path.camera.frame_rotations[every][:chunks]
    views[..., :3, 3] = path.camera.frame_positions[every][:chunks]
    return views


def prompts(branches: int = 1, length: int = 5) -> Tensor:
    return torch.randn(branches, length, 8, generator=torch.Generator().manual_seed(7))


def at(model: Any, latents: Tensor, now: float, text: Tensor) -> Tensor:
    """The model's output in float32, of latents in its own dtype and a noise level."""
    out: Tensor = model(latents.to(text.dtype), torch.full((len(text),), now), text, return_dict=False)[0]
    return out.float()


def roll_out(
    call: Callable[[Tensor, float], Tensor],
    lengths: Sequence[int],
    begin: Callable[[int], object] = lambda chunk: None,
    commit: Callable[[], object] = lambda: None,
    branches: int = 1,
) -> Tensor:
    """Every pass's output, one behind the other, `(branches, channels, frames, height, width)`.

    Args:
        call: the model, of latents and a noise level.
        lengths: latent frames of every chunk.
        begin: called with the chunk's number.
        commit: called after its clean pass.
        branches: guidance branches; each denoises latents of its own.
    """
    noise, outs = torch.Generator().manual_seed(3), []
    for chunk, frames in enumerate(lengths):
        begin(chunk)
        latents = torch.randn(branches, 4, frames, 2 * ROWS, 2 * COLUMNS, generator=noise)
        for now, then in zip(TIMES, (*TIMES[1:], 0.0), strict=True):
            outs.append(call(latents, now))
            latents = latents + (then - now) / 1000 * outs[-1]
        commit()
    return torch.cat(outs, dim=2)


def roll_out_cached(attached: Attachment, lengths: Sequence[int], text: Tensor) -> Tensor:
    """The rollout of a model under a cache; guidance is on the batch axis, as many as there are prompts."""
    views = cameras(len(lengths))

    def call(latents: Tensor, now: float) -> Tensor:
        with attached.clean_pass() if now == 0 else nullcontext():
            return at(attached.transformer, latents, now, text)

    def begin(chunk: int) -> None:
        attached.cache.begin(Viewpoint.of(views[chunk][: lengths[chunk]]))

    return roll_out(call, lengths, begin, attached.cache.commit, len(text))


# ---------------------------------------------------------------------- the references


class OtherKernel(transformer_wan.WanAttnProcessor):  # type: ignore[misc]
    """The library's own processor; only the keys and values it attends over, or how, are `attend`'s."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(transformer_wan, "dispatch_attention_fn", self.attend):
            return super().__call__(*args, **kwargs)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, **_: Any) -> Any:
        raise NotImplementedError


class Concatenating(OtherKernel):
    """Over every chunk's last keys and values in a list: full KV in its plainest form, with the model's kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Tensor, Tensor]] = []

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, **_: Any) -> Any:
        self.own = keys, values
        keys, values = (torch.cat(parts, dim=1) for parts in zip(*self.kept, self.own, strict=True))
        return dispatch_attention_fn(queries, keys, values)


class LongerRope(nn.Module):
    """The library's table of a sequence from frame 0 on, of which only the last frames are wanted."""

    def __init__(self, rope: Any) -> None:
        super().__init__()
        self.rope, self.start = rope, 0

    def forward(self, latents: Tensor) -> Any:
        frames = latents.shape[2]
        longer = latents.new_empty(1, 1, self.start + frames, *latents.shape[3:])
        return tuple(part[:, -frames * TOKENS :] for part in self.rope(longer))


def concatenated(model: Any, lengths: Sequence[int], text: Tensor) -> Tensor:
    """The rollout over lists of keys and values; `model` is used up."""
    banks = [Concatenating() for _ in model.blocks]
    for bank, block in zip(banks, model.blocks, strict=True):
        block.attn1.set_processor(bank)
    model.rope = LongerRope(model.rope)

    def begin(chunk: int) -> None:
        model.rope.start = sum(lengths[:chunk])

    def commit() -> None:
        for bank in banks:
            bank.kept.append(bank.own)

    def call(latents: Tensor, now: float) -> Tensor:
        return at(model, latents, now, text)

    return roll_out(call, lengths, begin, commit, len(text))


class Masked(OtherKernel):
    """Over the whole sequence at once in float64; `mask` says which token sees which."""

    mask: Tensor

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, **_: Any) -> Any:
        scores = torch.einsum("bqhd,bkhd->bhqk", queries.double(), keys.double()) / CHANNELS**0.5
        weights = scores.masked_fill(~self.mask, -torch.inf).softmax(-1)
        return torch.einsum("bhqk,bkhd->bqhd", weights, values.double()).to(queries.dtype)


def recomputed(model: Any, lengths: Sequence[int], text: Tensor, seen: Callable[[int], set[int]]) -> Tensor:
    """The rollout with everything recomputed in every pass, earlier chunks at noise level 0; `model` is used up.

    Args:
        model: the transformer.
        lengths: latent frames of every chunk.
        text: one prompt a branch.
        seen: earlier chunks that a chunk attends.
    """
    masked = Masked()
    for block in model.blocks:
        block.attn1.set_processor(masked)
    chunk_of_token = torch.repeat_interleave(torch.arange(len(lengths)), TOKENS * torch.tensor(lengths))
    sees = torch.tensor([[b == a or b in seen(a) for b in range(len(lengths))] for a in range(len(lengths))])
    whole, done = sees[chunk_of_token][:, chunk_of_token], torch.empty(len(text), 4, 0, 2 * ROWS, 2 * COLUMNS)

    def call(latents: Tensor, now: float) -> Tensor:
        nonlocal done
        sequence = torch.cat([done, latents], dim=2)
        times = torch.zeros(len(text), sequence.shape[2] * TOKENS)
        times[:, done.shape[2] * TOKENS :] = now
        masked.mask = whole[: times.shape[1], : times.shape[1]]
        out: Tensor = model(sequence, times, text, return_dict=False)[0][:, :, done.shape[2] :]
        if now == 0:
            done = sequence
        return out

    return roll_out(call, lengths, branches=len(text))
