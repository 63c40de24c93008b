"""Shape of a model's KV cache: frames and tokens to bytes, and presets by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from worldkv.errors import SpecError

MOST = 1_000_000
"""No number of a geometry is larger: products stay within 64 bits."""

DEFAULT_GEOMETRY = "lingbot-world-fast-480p"
"""The preset that simulations take by default."""


@dataclass(frozen=True)
class CacheGeometry:
    """What one model caches per latent frame and per chunk.

    Every conversion between frames, tokens and bytes goes through here, so that the simulator and
    a real backend count the same things. Preset sizes are from the papers named beside them.

    Attributes:
        layers: transformer layers that cache keys and values.
        heads: query heads a layer.
        kv_heads: key/value heads a layer; fewer than `heads` for grouped queries.
        head_dim: channels a head.
        frame_rows: token rows of one latent frame.
        frame_columns: token columns of one latent frame.
        frames_per_chunk: latent frames generated and cached together.
        itemsize: bytes of one cached number (2 for bf16 and fp16).
        temporal_stride: video frames that become one latent frame.
        rope_frames: latent-frame positions in the model's rotary table.
        branches: guidance branches (conditional, unconditional), and further keys and values of the same tokens
            (PRoPE), that cache side by side under the same decisions.
        name: the preset's name, or `custom`.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    frame_rows: int
    frame_columns: int
    frames_per_chunk: int = 3
    itemsize: int = 2
    temporal_stride: int = 4
    rope_frames: int = 1024
    branches: int = 1
    name: str = "custom"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "name" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise SpecError(f"geometry {field.name} must be a whole number of at least 1, got {value!r}")
            if field.name != "name" and value > MOST:
                raise SpecError(f"geometry {field.name} must be at most {MOST:,}, got {value:,}")
        if self.heads % self.kv_heads:
            raise SpecError(f"geometry heads must be a multiple of kv_heads, got {self.heads} and {self.kv_heads}")
        if self.head_dim % 2:
            raise SpecError(f"geometry head_dim must be even (rotary pairs), got {self.head_dim}")

    @cached_property
    def tokens_per_frame(self) -> int:
        """Tokens of one latent frame."""
        return self.frame_rows * self.frame_columns

    @cached_property
    def chunk_tokens(self) -> int:
        """Tokens of one whole chunk."""
        return self.tokens_per_frame * self.frames_per_chunk

    @cached_property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values over all layers and branches."""
        return 2 * self.branches * self.layers * self.kv_heads * self.head_dim * self.itemsize

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of one whole chunk's keys and values over all layers."""
        return self.chunk_tokens * self.token_bytes

    @cached_property
    def video_frames_per_chunk(self) -> int:
        """Video frames a chunk shows."""
        return self.frames_per_chunk * self.temporal_stride

    def chunks_of(self, frames: int, what: str) -> int:
        """Latent frames as whole chunks.

        Args:
            frames: latent frames.
            what: the parameter's name, for the error.

        Raises:
            SpecError: `frames` is not a multiple of `frames_per_chunk`.
        """
        chunks, rest = divmod(frames, self.frames_per_chunk)
        if rest:
            lower = chunks * self.frames_per_chunk
            raise SpecError(
                f"{what} must be whole chunks of {self.frames_per_chunk} latent frames, got {frames}; "
                f"take {lower} or {lower + self.frames_per_chunk}"
            )
        return chunks

    def whole_frames(self, frames: int) -> int:
        """Latent frames, rounded up to whole chunks."""
        return -(-frames // self.frames_per_chunk) * self.frames_per_chunk


PRESETS: dict[str, CacheGeometry] = {
    # LingBot-World-Fast, 14B class: 40 layers, dim 5120; 480x832 is 30 x 52 patches, 720x1280 is 45 x 80.
    "lingbot-world-fast-480p": CacheGeometry(40, 40, 40, 128, 30, 52, name="lingbot-world-fast-480p"),
    "lingbot-world-fast-720p": CacheGeometry(40, 40, 40, 128, 45, 80, name="lingbot-world-fast-720p"),
    # Wan 2.1 1.3B class: 30 layers, 12 heads of 128.
    "wan-1.3b-480p": CacheGeometry(30, 12, 12, 128, 30, 52, name="wan-1.3b-480p"),
    # Self-Forcing (33593df): wan_t2v_1_3B.py, self_forcing_dmd.yaml, 480x832, three latent frames a block.
    "self-forcing-1.3b": CacheGeometry(30, 12, 12, 128, 30, 52, name="self-forcing-1.3b"),
    # Causal-Forcing (1fc7bbc): causal_forcing_dmd_framewise.yaml, the same model one latent frame at a time.
    "causal-forcing-framewise": CacheGeometry(
        30, 12, 12, 128, 30, 52, frames_per_chunk=1, name="causal-forcing-framewise"
    ),
    # minWM on Wan 2.1 (df522a2): causal_forcing_dmd_camera.yaml; the second plane holds keys and values under PRoPE.
    "minwm": CacheGeometry(30, 12, 12, 128, 30, 52, frames_per_chunk=4, branches=2, name="minwm"),
    # LingBot-World 2.0 causal-fast, 14B: generate.py of its repository, and its port in FastVideo (2f3d407).
    "lingbot-world-v2": CacheGeometry(40, 40, 40, 128, 30, 52, frames_per_chunk=4, name="lingbot-world-v2"),
    # LongLive 2.0 on Wan2.2-TI2V-5B (7860ad9): inference.yaml, 704x1280 through a VAE of stride 16.
    "longlive-2": CacheGeometry(30, 24, 24, 128, 22, 40, frames_per_chunk=8, name="longlive-2"),
    # Matrix-Game-2: its pipeline and distilled_model/universal/config.json; 352x640, 880 tokens a latent frame.
    "matrix-game-2": CacheGeometry(30, 12, 12, 128, 22, 40, name="matrix-game-2"),
    # HY-WorldPlay, autoregressive 480p (da2d0c2); blocks and heads as its ports in FastVideo and LightX2V have them.
    # The second plane is PRoPE's. Rotary positions are computed for what is attended, there is no table.
    "hy-worldplay": CacheGeometry(
        54, 16, 16, 128, 30, 52, frames_per_chunk=4, rope_frames=1 << 16, branches=2, name="hy-worldplay"
    ),
    # The painted rooms: four rays a token, pictures of 24 x 40.
    "rooms": CacheGeometry(2, 2, 2, 64, 12, 20, itemsize=4, rope_frames=1 << 16, name="rooms"),
    # The trained world model: patches of 8 x 8 of pictures of 32 x 48.
    "trained": CacheGeometry(4, 3, 3, 32, 4, 6, itemsize=4, rope_frames=1 << 16, name="trained"),
    # Small enough for a test on one core.
    "tiny": CacheGeometry(2, 2, 2, 16, 4, 4, itemsize=4, rope_frames=1 << 16, name="tiny"),
}
"""Geometries by name; docs/models.md has their sources and the window that each model comes with."""


@dataclass(frozen=True)
class ModelShape:
    """The part of a model's shape that a file of weights fits; None where any number will do.

    Attributes:
        layers: transformer layers.
        kv_heads: key/value heads a layer.
        head_dim: channels a head.
        hidden_channels: channels of a token's hidden state.
    """

    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    hidden_channels: int | None = None

    def joined(self, other: ModelShape) -> ModelShape:
        """The shape that fits both.

        Raises:
            SpecError: they are of different models.
        """
        numbers = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, number in numbers.items():
            another = getattr(other, name)
            if None not in (number, another) and number != another:
                raise SpecError(
                    f"the policy's files are of different models: {name} is {number} in one and {another} in another; "
                    "take files of one model"
                )
            numbers[name] = another if number is None else number
        return ModelShape(**numbers)

    def of(self, geometry: CacheGeometry) -> CacheGeometry:
        """`geometry` with this model's layers, heads and channels, as many query heads to a KV head as before."""
        layers, kv_heads = self.layers or geometry.layers, self.kv_heads or geometry.kv_heads
        head_dim = self.head_dim or geometry.head_dim
        if (layers, kv_heads, head_dim) == (geometry.layers, geometry.kv_heads, geometry.head_dim):
            return geometry
        heads = kv_heads * (geometry.heads // geometry.kv_heads)
        name = f"{geometry.name}, {layers} x {kv_heads} x {head_dim}"
        return dataclasses.replace(
            geometry, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim, name=name
        )
