"""Pictures as tokens: each patch in the coordinates that its variance is largest along."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldkv.backends.models.trained.config import GEOMETRY, PATCH, TrainedConfig
from worldkv.worlds.textured import PICTURE

PATCH_CHANNELS = 3 * PATCH * PATCH


class PatchCodec(nn.Module):
    """A linear autoencoder of patches: principal components, each divided by the root of its deviation.

    Attributes:
        mean: of all patches `(PATCH_CHANNELS,)`.
        basis: principal directions `(latent_channels, PATCH_CHANNELS)`.
        scale: what each is divided by `(latent_channels,)`.
    """

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, config: TrainedConfig) -> None:
        """A codec that is to be fitted or loaded."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(PATCH_CHANNELS))
        self.register_buffer("basis", torch.zeros(config.latent_channels, PATCH_CHANNELS))
        self.register_buffer("scale", torch.ones(config.latent_channels))

    def fit(self, pictures: Tensor) -> None:
        """Take mean, directions and scales from pictures `(frames, rows, columns, 3)`."""
        patches = _patches(pictures).flatten(0, 1).double()
        mean = patches.mean(dim=0)
        spread, directions = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        order = spread.argsort(descending=True)[: len(self.scale)]
        deviation = spread[order].clamp_min(1e-12).sqrt()
        self.mean.copy_(mean)
        self.basis.copy_(directions[:, order].T)
        self.scale.copy_(deviation.sqrt() * deviation.mean().sqrt())  # mean square of a token's channels is 1

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures `(frames, rows, columns, 3)` as tokens `(frames, tokens, latent_channels)`."""
        return (_patches(pictures) - self.mean) @ self.basis.T / self.scale

    def decode(self, tokens: Tensor) -> Tensor:
        """The way back, colours not yet clipped to [0, 1]."""
        patches = (tokens * self.scale) @ self.basis + self.mean
        grid = (len(tokens), GEOMETRY.frame_rows, GEOMETRY.frame_columns, PATCH, PATCH, 3)
        return patches.reshape(grid).transpose(2, 3).reshape(len(tokens), *PICTURE, 3)


def _patches(pictures: Tensor) -> Tensor:
    """`(frames, tokens, PATCH_CHANNELS)`, row by row."""
    grid = (len(pictures), GEOMETRY.frame_rows, PATCH, GEOMETRY.frame_columns, PATCH, 3)
    return pictures.reshape(grid).transpose(2, 3).reshape(len(pictures), GEOMETRY.tokens_per_frame, -1)
