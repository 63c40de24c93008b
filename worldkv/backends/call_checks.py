"""Refuse what a model hands to the cache and the cache cannot take, each in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldkv.backends.transfer.device_ops import DeviceOps
from worldkv.errors import DeviceError, PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.signals import Viewpoint


def check_views(views: Sequence[Viewpoint], geometry: CacheGeometry, single: str | None) -> None:
    """Refuse viewpoints that cannot be one pass.

    Args:
        views: of the step's chunks.
        geometry: the cache's shape.
        single: what takes one chunk a step only; None where several are taken.

    Raises:
        PolicyError: none, no viewpoint, too many frames, or several where one is taken.
    """
    if not isinstance(views, Sequence) or not views or not all(isinstance(view, Viewpoint) for view in views):
        raise PolicyError(f"begin takes a Viewpoint, or a list of them for a prefill, got {views!r}")
    for view in views:
        view.frames_of(geometry)
    if len(views) > 1 and single is not None:
        raise PolicyError(f"{single} takes one chunk a step, got a prefill of {len(views)}; begin them one by one")


def check_tensors(
    queries: Tensor | None,
    keys: Tensor,
    values: Tensor,
    geometry: CacheGeometry,
    dtype: torch.dtype,
    ops: DeviceOps,
    batch: int,
    tokens: int,
) -> None:
    """Refuse queries, keys and values of another shape, dtype or device.

    Args:
        queries: `(batch, tokens, heads, head_dim)`; None where there are none.
        keys: `(batch, tokens, kv_heads, head_dim)`.
        values: likewise.
        geometry: the cache's shape.
        dtype: of what is cached.
        ops: of the device where the cache is.
        batch: branches that the call is of.
        tokens: of the chunk being generated.

    Raises:
        PolicyError: another shape or dtype.
        DeviceError: another device, which a copy would move in silence.
    """
    channels, place = geometry.head_dim, keys.device
    shape = (batch, tokens, geometry.kv_heads, channels)
    if (  # the call that is right, asked in as few steps as Python allows: this runs once a layer and pass
        keys.shape == shape
        and values.shape == shape
        and keys.dtype is dtype
        and values.dtype is dtype
        and place == values.device
        and ops.holds(keys)
        and (
            queries is None
            or (
                queries.shape == (batch, tokens, geometry.heads, channels)
                and queries.dtype is dtype
                and queries.device == place
            )
        )
    ):
        return
    for name, tensor, heads in (
        ("queries", queries, geometry.heads),
        ("keys", keys, geometry.kv_heads),
        ("values", values, geometry.kv_heads),
    ):
        wanted = (batch, tokens, heads, channels)
        if tensor is None:
            continue
        _check_place(name, tensor, ops)
        if tensor.shape != wanted or tensor.dtype != dtype:
            raise PolicyError(
                f"attend's {name} must be (branches, tokens, heads, head_dim) = {wanted} in {dtype}, got "
                f"{tuple(tensor.shape)} in {tensor.dtype}; check the geometry against the model"
            )


def check_hidden(hidden: Tensor | None, reader: str, geometry: CacheGeometry, ops: DeviceOps, tokens: int) -> Tensor:
    """The hidden states of a call, where the policy reads them.

    Raises:
        PolicyError: there are none, or of another shape.
        DeviceError: they are on another device.
    """
    if hidden is None or hidden.ndim != 3 or hidden.shape[1] != tokens or len(hidden) not in (1, geometry.branches):
        raise PolicyError(
            f"{reader} reads hidden states: hand attend(..., hidden=...) what the keys were "
            f"projected from, (branches, tokens, channels) = ({geometry.branches}, {tokens}, ...), "
            f"got {None if hidden is None else tuple(hidden.shape)}"
        )
    _check_place("hidden states", hidden, ops)
    return hidden


def _check_place(name: str, tensor: Tensor, ops: DeviceOps) -> None:
    if not ops.holds(tensor):
        raise DeviceError(f"attend's {name} are on {tensor.device}, the cache is on {ops.device}; move one of them")
