"""Roll the trained model out along a path, through a cache or anything that attends."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.models.dit import noise_for
from worldkv.backends.models.painter import Unturned
from worldkv.backends.models.trained.config import GEOMETRY
from worldkv.backends.models.trained.model import TrainedWorld, next_latents
from worldkv.backends.models.trained.rays import Turned, turned_by
from worldkv.backends.models.transformer_layer import AttendingCache
from worldkv.backends.rotary import Rotary
from worldkv.errors import SpecError, check_choice
from worldkv.geometry import CacheGeometry
from worldkv.worlds.fidelity import LEAST_SHARE
from worldkv.worlds.textured import level_places
from worldkv.worlds.world import PaintedWorld

VISITS = ("given", "free")
"""Protocols: every chunk that is no revisit is the truth's, or only the first is."""

STEPS = 4
"""Passes that denoise a chunk."""


class TrainedPainter:
    """Generates a textured world with a trained model, whose only memory is the cache.

    A given chunk is written to the cache as the truth has it, in one clean pass. Any other starts from noise, is
    denoised in `STEPS` passes that read the cache, and is written as it was generated. Of the world it reads the
    camera, and the truth of given chunks; see `VISITS`.

    Attributes:
        model: the weights.
        rotary: the model's positions; hand them to the cache.
        readings: passes that read the cache, for a generated chunk.
        given: which chunks are given `(chunks,)`.
        pictures: what was generated so far `(frames, rows, columns, 3)`; given chunks as the codec has them.
        mass: NaN, for nobody measures the share of attention that memory has.
    """

    def __init__(
        self,
        model: TrainedWorld,
        world: PaintedWorld,
        *,
        seed: int = 0,
        visits: str = "given",
        asks_first: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Nothing is generated yet.

        Args:
            model: weights, on `device`.
            world: a `textured_world` along the path.
            seed: of the noise.
            visits: one of `VISITS`.
            asks_first: whether a given chunk reads the cache too before it is written, for a policy that is asked
                after the first pass.
            dtype: of keys and values; float32 where None.
            device: where the model lies.
        """
        check_choice("visits", visits, VISITS)
        geometry = model.config.geometry
        self.model, self.readings = model, STEPS
        self.rotary = (Unturned if model.config.positions == "rays" else Rotary)(geometry, device)
        self._world, self._seed, self._asks_first = world, seed, asks_first
        self._device, self._dtype = torch.device(device), dtype or torch.float32
        self.given = given_chunks(world, visits)
        self.pictures = np.zeros(world.truth.shape, np.float32)
        self.mass = np.full(world.novel.shape, np.nan, np.float32)

    def paint(self, cache: AttendingCache, chunk: int) -> Tensor:
        """Generate a chunk, or take the given one, and write it to the cache; its colours, flat.

        Args:
            cache: where the caller has begun the chunk's step, and commits it afterwards.
            chunk: which one of the path.
        """
        frames = self._world.surface.of_chunk(chunk)
        with torch.inference_mode():
            turned = self._turned(frames, cache.start_frame)
            if self.given[chunk]:
                latents = self._given_latents(frames)
                if self._asks_first:
                    self._pass(cache, latents, 0.0, turned)
            else:
                latents = self._noise(chunk)
                for done in range(STEPS):
                    level = 1 - done / STEPS
                    clean = self._pass(cache, latents, level, turned)
                    latents = next_latents(latents, clean, level, level - 1 / STEPS)
            self._pass(cache, latents, 0.0, turned, clean=True)
            tokens = self.model.config.geometry.tokens_per_frame
            pictures = self.model.codec.decode(latents.view(-1, tokens, latents.shape[-1])).clamp(0, 1)
            self.pictures[frames] = pictures.cpu().numpy()
        return pictures.flatten()

    def _pass(
        self, cache: AttendingCache, latents: Tensor, level: float, turned: Turned, clean: bool = False
    ) -> Tensor:
        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (each.to(self._dtype).contiguous() for each in (q, k, v))
            return cache.attend(layer, q, k, v, clean=clean).float()

        answer: Tensor = self.model(latents, level, turned, attend)
        return answer

    def _turned(self, frames: slice, start_frame: int) -> Turned:
        surface = self._world.surface
        places = torch.from_numpy(level_places(surface.positions[frames], surface.rotations[frames]))
        turned = turned_by(places[None], torch.tensor([start_frame]), self.model.config)
        return Turned(*(None if part is None else part.to(self._device) for part in turned))  # type: ignore[arg-type]

    def _given_latents(self, frames: slice) -> Tensor:
        truth = torch.from_numpy(self._world.truth[frames]).to(self._device)
        return self.model.codec.encode(truth).flatten(0, 1)[None]

    def _noise(self, chunk: int) -> Tensor:
        config = self.model.config
        return noise_for(config.geometry, chunk, self._seed, config.latent_channels, torch.float32, self._device)


def given_chunks(world: PaintedWorld, visits: str) -> NDArray[np.bool_]:
    """Which chunks a protocol gives `(chunks,)`: the first, or all in which nothing counts, see `textured_world`."""
    chunks = world.surface.num_chunks
    if visits == "free":
        return np.asarray(np.arange(chunks) == 0)
    counted = world.seen_before.counted.reshape(chunks, -1).mean(axis=1)
    return np.asarray(counted < LEAST_SHARE)


def check_trained_shape(geometry: CacheGeometry) -> None:
    """Refuse a cache of another shape than the trained models'.

    Raises:
        SpecError: the shapes differ in more than their names and numbers' sizes.
    """
    names = ("layers", "heads", "kv_heads", "head_dim", "frame_rows", "frame_columns", "frames_per_chunk", "branches")
    wrong = [name for name in names if getattr(geometry, name) != getattr(GEOMETRY, name)]
    if wrong:
        told = ", ".join(f"{name} {getattr(GEOMETRY, name)}, not {getattr(geometry, name)}" for name in wrong)
        raise SpecError(f"the trained world has {told}; take --geometry trained")
