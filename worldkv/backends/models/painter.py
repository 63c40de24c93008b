"""A model that paints a world by attention alone: colours are read from cached keys and values, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.cache import default_dtype
from worldkv.backends.models.transformer_layer import AttendingCache
from worldkv.backends.rotary import Rotary
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.worlds.world import PaintedWorld

SHARPNESS = 100.0
"""Attention logit of a point with itself: the temperature, the same for every policy."""

SKIRT_METRES = 2.0
"""Reach of the kernel's broad part, between samples of one surface."""

PEAK_METRES = 0.15
PEAK_SHARE = 0.1
"""Reach of its narrow part, which makes a point seen before win over its neighbours, and that part's share."""

FACE_METRES = 1.5
"""How far apart directions of a surface are put: faces of one wall are twice that apart."""

NULL_DEPTH = 16.0
"""How far below a point's own logit all null keys together lie."""

KEY_NOISE = 0.02
"""Length of the noise on a key, as a share of the key's."""

_COLOURS, _INDICATOR, _LEAST_CHANNELS = 3, 3, 16


class Painter:
    """An analytic attention world: no learned weights, and no memory but the cache.

    A token is a ray's surface point, every layer and head has a ray of its own inside the token's patch. Its key is
    random Fourier features of point and surface direction, so that the attention logit of two points is a kernel of
    their distance; its value is a colour and an indicator that says "memory". Queries meet the cache and the chunk's
    own null keys, constant and colourless, as heavy whatever is cached; what the indicator lacks to 1 is filled with
    what the world imagines. A last pass writes keys, and as values the colours just generated. Geometry (where
    surfaces are) is given, as it is to a depth-conditioned model; appearance is remembered or lost. Source: this
    project, after random features (Rahimi and Recht 2007).

    Attributes:
        geometry: the cache's shape; `layers x kv_heads` rays a token.
        rotary: the identity: keys carry places, not times; hand it to the cache.
        readings: passes that read the cache, a chunk.
        pictures: what was generated so far `(frames, rows, columns, 3)`.
        mass: share of attention that memory had, likewise.
    """

    def __init__(
        self,
        geometry: CacheGeometry,
        world: PaintedWorld,
        *,
        seed: int = 0,
        readings: int = 1,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Nothing is painted yet.

        Args:
            geometry: heads of their own (`kv_heads` = `heads`), one branch, at least 16 channels a head.
            world: where the camera goes, in pictures of `picture_shape(geometry)`; its truth is not read.
            seed: of features and noise.
            readings: passes that read the cache, of which the last counts; a policy that is asked after the first pass
                needs two.
            dtype: of keys and values; by default what `WorldCache` takes for the geometry.
            device: where they lie.

        Raises:
            SpecError: a geometry that cannot paint.
        """
        if readings < 1:
            raise SpecError(f"a painted world reads its cache at least once a chunk, got readings {readings}")
        check_paintable(geometry)
        self.geometry, self.rotary = geometry, Unturned(geometry, device)
        self._views, self._imagined, self._novel = world.surface, world.imagined, world.novel
        self.readings, self._seed, self._device = readings, seed, torch.device(device)
        self._dtype = dtype or default_dtype(geometry)
        waves, strengths = _waves((geometry.head_dim - 1) // 2, seed)
        self._waves = torch.as_tensor(waves, dtype=torch.float32, device=device)
        self._strengths = torch.as_tensor(strengths, dtype=torch.float32, device=device)
        self._length = math.sqrt(SHARPNESS * math.sqrt(geometry.head_dim))  # of a query and a key
        self.pictures = np.zeros(world.imagined.shape, np.float32)
        self.mass = np.zeros(world.novel.shape, np.float32)

    @staticmethod
    def readings_for(policy: CachePolicy) -> int:
        """Passes that read the cache, for `policy` to see what it asks for."""
        return 2 if policy.asked_at == "first_pass" else 1

    def paint(self, cache: AttendingCache, chunk: int) -> Tensor:
        """Generate a chunk and write it to the cache, in passes that read and one that writes; its colours, flat.

        Args:
            cache: where the caller has begun the chunk's step, and commits it afterwards.
            chunk: which one of the path.
        """
        frames = self._views.of_chunk(chunk)
        with torch.inference_mode():
            keys = self._keys(frames)
            queries = keys.clone()
            queries[..., -1] = self._length
            for _ in range(self.readings):
                remembered = self._remember(cache, queries.to(self._dtype))
            novel, imagined = self._novel[frames], self._imagined[frames]
            mass = np.where(novel, 0, remembered[..., _INDICATOR].clip(0, 1))
            colours = np.where(
                novel[..., None], imagined, remembered[..., :_COLOURS] + (1 - mass[..., None]) * imagined
            )
            self.pictures[frames], self.mass[frames] = colours, mass
            self._write(cache, chunk, queries.to(self._dtype), keys, colours)
        return torch.as_tensor(colours).flatten()

    def _remember(self, cache: AttendingCache, queries: Tensor) -> NDArray[np.float32]:
        """What attention over the cache answers, `(frames, rows, columns, colours and indicator)`."""
        null_keys, nothing = torch.zeros_like(queries[0]), torch.zeros_like(queries[0])
        depth = NULL_DEPTH + math.log(self.geometry.chunk_tokens)
        null_keys[..., -1] = (1 - depth / SHARPNESS) * self._length
        seen = [cache.attend(layer, asked, null_keys, nothing) for layer, asked in enumerate(queries)]
        return self._picture(torch.stack(seen)[..., : _INDICATOR + 1].float())

    def _write(
        self, cache: AttendingCache, chunk: int, queries: Tensor, keys: Tensor, colours: NDArray[np.float32]
    ) -> None:
        draw = torch.Generator().manual_seed(
            np.random.SeedSequence([self._seed, chunk]).generate_state(1, np.uint64).item()
        )
        noise = torch.randn(keys.shape, generator=draw).to(self._device)
        keys = keys + (KEY_NOISE * self._length / math.sqrt(self.geometry.head_dim)) * noise
        keys[..., -1] = 0
        values = torch.zeros_like(keys)
        values[..., :_COLOURS], values[..., _INDICATOR] = self._tokens(colours), 1
        for layer in range(self.geometry.layers):
            cache.attend(layer, queries[layer], keys[layer].to(self._dtype), values[layer].to(self._dtype), clean=True)

    def _keys(self, frames: slice) -> Tensor:
        """Features of the chunk's points, of length `_length` `(layers, 1, tokens, heads, head_dim)`; the last is 0."""
        places = [self._views.points[frames]]
        normals = self._views.normals
        places.append(np.zeros_like(places[0]) if normals is None else FACE_METRES * normals[frames])
        turns = self._tokens(np.concatenate(places, axis=-1)) @ self._waves.T
        channels = [turns.cos() * self._strengths, turns.sin() * self._strengths]
        rest = self.geometry.head_dim - 2 * len(self._strengths)
        return self._length * torch.cat([*channels, turns.new_zeros(*turns.shape[:-1], rest)], dim=-1)

    def _tokens(self, picture: NDArray[np.float32]) -> Tensor:
        """`(frames, rows, columns, channels)` as `(layers, 1, tokens, heads, channels)`."""
        shape = self.geometry
        patches = torch.as_tensor(picture, device=self._device).reshape(
            shape.frames_per_chunk, shape.frame_rows, shape.layers, shape.frame_columns, shape.heads, -1
        )
        return patches.permute(2, 0, 1, 3, 4, 5).reshape(shape.layers, 1, shape.chunk_tokens, shape.heads, -1)

    def _picture(self, tokens: Tensor) -> NDArray[np.float32]:
        """The way back from `_tokens`."""
        shape = self.geometry
        patches = tokens.reshape(
            shape.layers, shape.frames_per_chunk, shape.frame_rows, shape.frame_columns, shape.heads, -1
        )
        whole = patches.permute(1, 2, 0, 3, 4, 5).reshape(shape.frames_per_chunk, *self._views.picture, -1)
        return np.asarray(whole.cpu().numpy())


def check_paintable(geometry: CacheGeometry) -> None:
    """Refuse a cache shape that no painted world fits into.

    Raises:
        SpecError: branches, grouped heads or too few channels.
    """
    if geometry.branches != 1 or geometry.heads != geometry.kv_heads or geometry.head_dim < _LEAST_CHANNELS:
        raise SpecError(
            "a painted world takes one branch, as many kv_heads as heads and a head_dim of at least "
            f"{_LEAST_CHANNELS}, got branches {geometry.branches}, heads {geometry.heads}, kv_heads "
            f"{geometry.kv_heads}, head_dim {geometry.head_dim}; take --geometry rooms"
        )


class Unturned(Rotary):
    """No rotary positions: a key that is moved in time stays as it is."""

    def shift_time(self, keys: Tensor, delta_frames: int, out: Tensor) -> None:
        """See `Rotary.shift_time`."""
        if out is not keys:
            out.copy_(keys)


def _waves(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies `(count, 6)` over point and direction, and each one's strength `(count,)`; squares sum to 1."""
    narrow = count // 3
    random = np.random.default_rng([seed, count])
    drawn = np.concatenate(
        [_orthogonal(narrow, random) / PEAK_METRES, _orthogonal(count - narrow, random) / SKIRT_METRES]
    )
    shares = np.repeat([PEAK_SHARE / narrow, (1 - PEAK_SHARE) / (count - narrow)], [narrow, count - narrow])
    return drawn, np.sqrt(shares)


def _orthogonal(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal vectors `(count, 6)`, six at a time at right angles: they cover directions more evenly."""
    blocks = []
    for _ in range(-(-count // 6)):
        turned, _ = np.linalg.qr(random.normal(size=(6, 6)))
        blocks.append(turned * np.linalg.norm(random.normal(size=(6, 6)), axis=1)[:, None])
    return np.concatenate(blocks)[:count]
