"""The shape of a trained world model, and of the cache it runs on."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.worlds.textured import PICTURE

PATCH = 8
"""Side of a token's patch, in elements of the picture."""

GEOMETRY = PRESETS["trained"]
"""The cache of both shipped models."""

POSITIONS = ("rays", "rotary")
"""How keys know where they were seen from."""


@dataclass(frozen=True)
class TrainedConfig:
    """The shape of a `TrainedWorld`.

    Attributes:
        positions: `rays`, queries, keys and values are turned by the camera's rays (after GTA, arXiv 2310.10375, and
            PRoPE, arXiv 2507.10496); or `rotary`, they are turned by frame, row and column as in the Wan family, and
            rays are features that queries and keys are projected from.
        dim: channels of a token's hidden state.
        ffn_ratio: width of the feed-forward over `dim`.
        latent_channels: channels of a token at the door.
    """

    positions: str = "rays"
    dim: int = 96
    ffn_ratio: int = 2
    latent_channels: int = 64

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise SpecError(f"positions must be one of {', '.join(POSITIONS)}, got {self.positions!r}")

    @property
    def geometry(self) -> CacheGeometry:
        """The cache's shape: layers, heads and tokens are the model's."""
        return GEOMETRY

    def as_text(self) -> dict[str, str]:
        """Every field as text, as a file of weights carries it."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def of_text(cls, text: dict[str, str]) -> TrainedConfig:
        """The way back from `as_text`."""
        return cls(text["positions"], int(text["dim"]), int(text["ffn_ratio"]), int(text["latent_channels"]))


if PICTURE != (GEOMETRY.frame_rows * PATCH, GEOMETRY.frame_columns * PATCH):
    raise SpecError(f"pictures of {PICTURE} are no {GEOMETRY.frame_rows} x {GEOMETRY.frame_columns} patches of {PATCH}")
