"""Causal attention of the Self-Forcing family, written from its description: its cache is a list of dicts it writes.

One dict a layer, `{k, v, global_end_index, local_end_index}`: keys rotated before they are cached, a window that rolls
by whole tokens behind a sink once the cache is full, every pass writing over the chunk's own place. The variants do
what other members of the family do with their cache: cut it again, copy it and write it later, roll over several
chunks.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS, COLUMNS = 4, 4
FRAME = ROWS * COLUMNS
HEADS, CHANNELS = 2, 16
DIM = HEADS * CHANNELS
Cache = MutableMapping[str, Any]
Caches = Sequence[Cache]


def angles(frames: int = 1024) -> Tensor:
    """The table of rotary factors `(frames, head_dim / 2)`, time first, then rows and columns."""
    pairs = CHANNELS // 2
    axes = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    at = torch.arange(frames, dtype=torch.float64)
    parts = [torch.outer(at, 10_000.0 ** (-torch.arange(n, dtype=torch.float64) / n)) for n in axes]
    return torch.polar(torch.ones(frames, pairs, dtype=torch.float64), torch.cat(parts, 1))


def causal_rope_apply(x: Tensor, grid_sizes: Tensor, freqs: Tensor, start_frame: int = 0) -> Tensor:
    """Whole frames turned to their positions, the first one at `start_frame`."""
    frames = x.shape[1] // FRAME
    pairs = freqs.shape[1]
    time, rows, columns = torch.split(freqs, [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3], 1)
    grid = (frames, ROWS, COLUMNS, -1)
    turns = torch.cat(
        [
            time[start_frame : start_frame + frames, None, None].expand(grid),
            rows[None, :ROWS, None].expand(grid),
            columns[None, None, :COLUMNS].expand(grid),
        ],
        -1,
    ).reshape(1, frames * FRAME, 1, pairs)
    numbers = torch.view_as_complex(x.double().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(numbers * turns).flatten(-2).type_as(x)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Writes its chunk into its dict, rolls it where it is full, attends its newest tokens."""

    def __init__(self, local_attn_size: int = -1, sink_size: int = 0) -> None:
        super().__init__()
        self.num_heads, self.head_dim = HEADS, CHANNELS
        self.local_attn_size, self.sink_size = local_attn_size, sink_size
        self.max_attention_size = (10_000 if local_attn_size == -1 else local_attn_size) * FRAME
        self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(DIM), nn.RMSNorm(DIM)

    def forward(
        self,
        x: Tensor,
        grid_sizes: Tensor,
        freqs: Tensor,
        kv_cache: Cache | None = None,
        current_start: int = 0,
    ) -> Any:
        q, k, v = self.projected(x)
        start = current_start // FRAME
        q, k = (causal_rope_apply(part, grid_sizes, freqs, start) for part in (q, k))
        if kv_cache is None:
            return self.o(attention(q, k, v).flatten(2))
        return self.o(self.cached(q, k, v, kv_cache, current_start).flatten(2))

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (*x.shape[:2], HEADS, CHANNELS)
        return self.norm_q(self.q(x)).view(shape), self.norm_k(self.k(x)).view(shape), self.v(x).view(shape)

    def cached(self, q: Tensor, k: Tensor, v: Tensor, cache: Cache, current_start: int) -> Tensor:
        end = self.written(k, v, cache, current_start)
        first = max(0, end - self.max_attention_size)
        return attention(q, cache["k"][:, first:end], cache["v"][:, first:end])

    def written(self, k: Tensor, v: Tensor, cache: Cache, current_start: int) -> int:
        """Keys and values in their place of the dict; where they end there."""
        new, current_end = k.shape[1], current_start + k.shape[1]
        room, sink = cache["k"].shape[1], self.sink_size * FRAME
        seen: int = cache["global_end_index"].item()
        held: int = cache["local_end_index"].item()
        end = held + current_end - seen
        if self.local_attn_size != -1 and current_end > seen and new + held > room:
            gone = new + held - room
            stay = held - gone - sink
            for name in ("k", "v"):
                moved = cache[name][:, sink + gone : sink + gone + stay].clone()
                cache[name][:, sink : sink + stay] = moved
            end -= gone
        cache["k"][:, end - new : end] = k
        cache["v"][:, end - new : end] = v
        cache["global_end_index"].fill_(current_end)
        cache["local_end_index"].fill_(end)
        return end


class Recutting(SelfAttention):
    """Cuts what it reads back to its own size, sink first (as FastVideo's Matrix-Game-2)."""

    def cached(self, q: Tensor, k: Tensor, v: Tensor, cache: Cache, current_start: int) -> Tensor:
        cache["k"], cache["v"] = cache["k"].detach(), cache["v"].detach()
        end = self.written(k, v, cache, current_start)
        size, sink = min(end, self.local_attn_size * FRAME), self.sink_size * FRAME
        window = []
        for name in ("k", "v"):
            all_of_it = cache[name][:, :end]
            if all_of_it.shape[1] <= size or sink == 0:
                window.append(all_of_it[:, -size:])
            else:
                window.append(torch.cat([all_of_it[:, :sink], all_of_it[:, sink:][:, sink - size :]], 1))
        return attention(q, *window)


class Copying(SelfAttention):
    """Attends a copy of its dict and returns what is to be written, which its model does after all layers."""

    def forward(
        self,
        x: Tensor,
        grid_sizes: Tensor,
        freqs: Tensor,
        kv_cache: Cache | None = None,
        current_start: int = 0,
    ) -> Any:
        assert kv_cache is not None
        q, k, v = self.projected(x)
        q, k = (causal_rope_apply(part, grid_sizes, freqs, current_start // FRAME) for part in (q, k))
        copy = {
            "k": kv_cache["k"].clone(),
            "v": kv_cache["v"].clone(),
            "global_end_index": kv_cache["global_end_index"].clone(),
            "local_end_index": kv_cache["local_end_index"].clone(),
        }
        out = self.o(self.cached(q, k, v, copy, current_start).flatten(2))
        return out, (current_start + x.shape[1], copy["local_end_index"].item(), (k, v))


class Rolling(SelfAttention):
    """A pass over several chunks, each noisier than the one before; only the first is cached (as Rolling Forcing).

    Not more than the window is ever generated here, so that the whole history stands at its own positions.
    """

    chunk = 3 * FRAME

    def cached(self, q: Tensor, k: Tensor, v: Tensor, cache: Cache, current_start: int) -> Tensor:
        end = self.written(k[:, : self.chunk], v[:, : self.chunk], cache, current_start)
        own = end - self.chunk
        return attention(q, torch.cat([cache["k"][:, :own], k], 1), torch.cat([cache["v"][:, :own], v], 1))


class TwoPlanes(SelfAttention):
    """A second attention over keys and values of its own for the same tokens, without rotary positions (as PRoPE)."""

    def __init__(self, local_attn_size: int = -1, sink_size: int = 0) -> None:
        super().__init__(local_attn_size, sink_size)
        self.second = nn.Linear(DIM, DIM)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        grid_sizes: Tensor,
        freqs: Tensor,
        kv_cache: Cache,
        current_start: int,
        prope_kv_cache: Cache,
    ) -> Tensor:
        q, k, v = self.projected(x)
        first: Tensor = super().forward(x, grid_sizes, freqs, kv_cache, current_start)
        turned = self.cached(q.flip(-1), k.flip(-1), v.flip(-1), prope_kv_cache, current_start)
        second: Tensor = self.second(turned.flatten(2))
        return first + second


class Block(nn.Module):
    def __init__(self, kind: type[SelfAttention], **sizes: int) -> None:
        super().__init__()
        self.self_attn, self.ffn = kind(**sizes), nn.Linear(DIM, DIM)

    def forward(self, h: Tensor, **arguments: Any) -> tuple[Tensor, Any]:
        out, write = self.self_attn(h, **arguments), None
        if isinstance(out, tuple):
            out, write = out
        h = h + out
        return h + torch.tanh(self.ffn(h)), write


class Model(nn.Module):
    """A few blocks; the noise level is added to every token."""

    blocks: Any
    freqs: Tensor

    def __init__(self, kind: type[SelfAttention] = SelfAttention, layers: int = 2, **sizes: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.blocks = nn.ModuleList(Block(kind, **sizes) for _ in range(layers))
        self.time, self.freqs = nn.Linear(1, DIM), angles()
        self.local_attn_size = sizes.get("local_attn_size", -1)
        self.num_frame_per_block = 3

    def forward(self, x: Tensor, t: float, *, kv_cache: Caches, current_start: int, **more: Caches) -> Tensor:
        h: Tensor = x + self.time(torch.tensor([t]))
        writes = []
        grid = torch.tensor([[x.shape[1] // FRAME, ROWS, COLUMNS]])
        for layer, block in enumerate(self.blocks):
            extra = {name: caches[layer] for name, caches in more.items()}
            h, write = block(
                h, grid_sizes=grid, freqs=self.freqs, kv_cache=kv_cache[layer], current_start=current_start, **extra
            )
            if write is not None:
                writes.append((layer, write))
        for layer, (current_end, local_end, written) in writes:
            if written is not None:
                cache = kv_cache[layer]
                k, v = written
                cache["k"][:, local_end - k.shape[1] : local_end] = k
                cache["v"][:, local_end - v.shape[1] : local_end] = v
                cache["global_end_index"].fill_(current_end)
                cache["local_end_index"].fill_(local_end)
        return h


def own_caches(layers: int = 2, frames: int = 60, batch: int = 1, device: Any = "cpu") -> Caches:
    """The family's own caches, with room for `frames` latent frames."""
    return [
        {
            "k": torch.zeros(batch, frames * FRAME, HEADS, CHANNELS, device=device),
            "v": torch.zeros(batch, frames * FRAME, HEADS, CHANNELS, device=device),
            "global_end_index": torch.tensor([0], device=device),
            "local_end_index": torch.tensor([0], device=device),
        }
        for _ in range(layers)
    ]


LEVELS = (1.0, 0.5, 0.0)
"""Noise levels of a chunk's passes; the last is the clean one."""


def noise(frames: Sequence[int], batch: int = 1) -> list[Tensor]:
    """Noise of chunks with so many latent frames each."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, n * FRAME, DIM, generator=generator) for n in frames]


@torch.inference_mode()
def roll_out(model: Model, chunks: Sequence[Tensor], caches: Caches, **more: Caches) -> Tensor:
    """Their loop: a few denoise passes a chunk, then one over what came out of them."""
    out, start = [], 0
    for x in chunks:
        for t in LEVELS:
            y = model(x, t, kv_cache=caches, current_start=start, **more)
            x = x - (x - y) / 3 if t else x
        out.append(y)
        start += x.shape[1]
    return torch.cat(out, 1)


class Pipeline:
    """A pipeline that keeps one list of caches on itself, and resets it by its indices."""

    def __init__(self, model: Model, frame_seq_length: int = FRAME) -> None:
        self.generator: Any = nn.Module()
        self.generator.model = model
        self.frame_seq_length, self.num_frame_per_block = frame_seq_length, 3
        self.kv_cache1: Caches | None = None
        self.crossattn_cache: Any = None

    def inference(self, chunks: Sequence[Tensor]) -> Tensor:
        if self.kv_cache1 is None:
            self._initialize_kv_cache(batch_size=chunks[0].shape[0], dtype=torch.float32, device=torch.device("cpu"))
            self.crossattn_cache = [{"k": None, "v": None, "is_init": False}]
        else:
            for cache in self.kv_cache1:
                cache["global_end_index"] = torch.tensor([0])
                cache["local_end_index"] = torch.tensor([0])
        assert self.kv_cache1 is not None
        return roll_out(self.generator.model, chunks, self.kv_cache1)

    def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
        local = self.generator.model.local_attn_size
        frames = 60 if local == -1 else local
        self.kv_cache1 = own_caches(len(self.generator.model.blocks), frames, batch_size, device)


class GuidedPipeline(Pipeline):
    """Conditional and unconditional passes in turn, each with a list of its own."""

    kv_cache_pos: Caches
    kv_cache_neg: Caches

    @torch.inference_mode()
    def inference(self, chunks: Sequence[Tensor]) -> Tensor:
        if not hasattr(self, "kv_cache_pos"):
            self._initialize_kv_cache(batch_size=1, dtype=torch.float32, device=torch.device("cpu"))
        out, start, model = [], 0, self.generator.model
        for x in chunks:
            for t in LEVELS:
                yes, no = (
                    model(part, t, kv_cache=caches, current_start=start)
                    for part, caches in ((x, self.kv_cache_pos), (0.3 * x, self.kv_cache_neg))
                )
                x = x - (x - no - 2 * (yes - no)) / 3 if t else x
            out.append(torch.stack([yes, no]))
            start += x.shape[1]
        return torch.cat(out, 2)

    def _initialize_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
        layers = len(self.generator.model.blocks)
        self.kv_cache_pos, self.kv_cache_neg = own_caches(layers, device=device), own_caches(layers, device=device)


class TwoPlanesPipeline(Pipeline):
    """A second list for the second keys and values of the same tokens."""

    prope_kv_cache1: Caches | None = None

    def inference(self, chunks: Sequence[Tensor]) -> Tensor:
        if self.kv_cache1 is None:
            self._initialize_kv_cache(1, torch.float32, torch.device("cpu"))
            self._initialize_prope_kv_cache(1, torch.float32, torch.device("cpu"))
        assert self.kv_cache1 is not None
        assert self.prope_kv_cache1 is not None
        return roll_out(self.generator.model, chunks, self.kv_cache1, prope_kv_cache=self.prope_kv_cache1)

    def _initialize_prope_kv_cache(self, batch_size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.prope_kv_cache1 = own_caches(len(self.generator.model.blocks), device=device)


class ReturningPipeline(Pipeline):
    """Its method returns the list (as LingBot and FastVideo)."""

    def inference(self, chunks: Sequence[Tensor]) -> Tensor:
        caches = self._initialize_self_kv_cache(2, [1, 60 * FRAME, HEADS, CHANNELS], torch.float32, "cpu")
        return roll_out(self.generator.model, chunks, caches)

    def _initialize_self_kv_cache(self, num_layers: int, shape: list[int], dtype: torch.dtype, device: Any) -> Caches:
        return own_caches(num_layers, shape[1] // FRAME, device=device)

    _initialize_kv_cache = None  # type: ignore[assignment]
