"""The cache's shape of a diffusers transformer, from its config."""

from __future__ import annotations

from typing import Any

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry


def geometry_of(
    transformer: Any,
    latent_height: int,
    latent_width: int,
    *,
    frames_per_chunk: int = 3,
    branches: int = 1,
    temporal_stride: int = 4,
) -> CacheGeometry:
    """The cache's shape for a transformer and a size of latents.

    Args:
        transformer: a `WanTransformer3DModel`, or another whose config has the same names.
        latent_height: rows of the latents, before they are cut into patches.
        latent_width: columns of the latents.
        frames_per_chunk: latent frames generated together.
        branches: 2 where guidance runs a conditional and an unconditional branch.
        temporal_stride: video frames that become one latent frame.

    Raises:
        SpecError: the latents are no whole patches.
    """
    config = transformer.config
    _, rows, columns = config.patch_size
    if latent_height % rows or latent_width % columns:
        raise SpecError(
            f"latents of {latent_height} x {latent_width} are not whole patches of {rows} x {columns}, and the model "
            "would cut them; take multiples"
        )
    return CacheGeometry(
        layers=config.num_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_attention_heads,
        head_dim=config.attention_head_dim,
        frame_rows=latent_height // rows,
        frame_columns=latent_width // columns,
        frames_per_chunk=frames_per_chunk,
        itemsize=transformer.dtype.itemsize,
        temporal_stride=temporal_stride,
        rope_frames=config.rope_max_seq_len,
        branches=branches,
        name=type(transformer).__name__,
    )


def check_geometry(transformer: Any, geometry: CacheGeometry) -> None:
    """Refuse a cache that is not the model's.

    Raises:
        SpecError: a number differs.
    """
    config = transformer.config
    for name, own, given in (
        ("layers", config.num_layers, geometry.layers),
        ("heads", config.num_attention_heads, geometry.heads),
        ("kv_heads", config.num_attention_heads, geometry.kv_heads),
        ("head_dim", config.attention_head_dim, geometry.head_dim),
    ):
        if own != given:
            raise SpecError(f"the model has {own} {name}, the cache's geometry {given}; make it by geometry_of")
    if geometry.rope_frames > config.rope_max_seq_len:
        raise SpecError(
            f"the model's rotary table has {config.rope_max_seq_len} frames, the cache's geometry says "
            f"{geometry.rope_frames}; make it by geometry_of"
        )
