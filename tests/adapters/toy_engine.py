"""What the tests of engines' shells share: random keys and values, naive attention over lists, signatures compared."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.adapters.tiny_wan import cameras
from worldkv import CacheGeometry, Scene, Viewpoint, WorldCache, parse_policy

LAYERS, HEADS, CHANNELS, CHUNKS, PASSES = 2, 2, 8, 7, 3
GEOMETRY = CacheGeometry(LAYERS, HEADS, HEADS, CHANNELS, 2, 2, 3, itemsize=4)
TOKENS = GEOMETRY.chunk_tokens
WINDOW = "sliding-window:sink_frames=3,recent_frames=6"

Attend = Callable[[int, int, int, tuple[Tensor, Tensor, Tensor]], Tensor]
"""Attention of a chunk in a layer and branch: `(chunk, layer, branch, (queries, keys, values)) -> attended`."""


def cache_for(policy: str = "full-kv", branches: int = 1, reduce: Any = None, **changes: Any) -> WorldCache:
    geometry = dataclasses.replace(GEOMETRY, branches=branches, **changes)
    return WorldCache(parse_policy(policy), geometry, scene=Scene(view_distance=5.0), reduce=reduce)


def viewpoint_of(chunk: int) -> Viewpoint:
    return Viewpoint.of(cameras(CHUNKS)[chunk])


def roll_out(
    attend: Attend,
    branches: int = 1,
    begin: Callable[[int], object] = lambda chunk: None,
    commit: Callable[[int], object] = lambda chunk: None,
    open_pass: Callable[[int], object] = lambda chunk: None,
) -> Tensor:
    """Every attention's result; keys and values are random, others in every pass."""
    noise, outs = torch.Generator().manual_seed(5), []
    for chunk in range(CHUNKS):
        begin(chunk)
        for _ in range(PASSES):
            for branch in range(branches):
                open_pass(chunk)
                for layer in range(LAYERS):
                    own = torch.randn(3, 1, TOKENS, HEADS, CHANNELS, generator=noise)
                    outs.append(attend(chunk, layer, branch, (own[0], own[1], own[2])))
        commit(chunk)
    return torch.stack(outs)


def kernel(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The engine's attention; `[B, S, H, D]`."""
    queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))
    return scaled_dot_product_attention(queries, keys, values).transpose(1, 2)


def naive(seen: Callable[[int], set[int]], branches: int = 1) -> Tensor:
    """The rollout over lists: each chunk attends the last keys of those it has `seen`, and its own."""
    kept: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def attend(chunk: int, layer: int, branch: int, own: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        kept[chunk, layer, branch] = own[1:]
        attended = [kept[other, layer, branch] for other in sorted(seen(chunk) | {chunk}) if other >= 0]
        keys, values = (torch.cat(parts, dim=1) for parts in zip(*attended, strict=True))
        return kernel(own[0], keys, values)

    return roll_out(attend, branches)


def full(chunk: int) -> set[int]:
    return set(range(chunk))


def windowed(chunk: int) -> set[int]:
    """What `WINDOW` attends."""
    return {0, chunk - 2, chunk - 1} & full(chunk)


def assert_takes_the_calls_of(ours: type, published: type) -> None:
    """Every public method of `published` is there, and takes the same arguments by position and by name."""
    for name, theirs in inspect.getmembers(published, inspect.isfunction):
        if name.startswith("__") and name != "__init__":
            continue
        own = inspect.signature(getattr(ours, name)).parameters
        for number, (argument, parameter) in enumerate(inspect.signature(theirs).parameters.items()):
            assert argument in own, f"{name} lacks {argument}"
            assert own[argument].kind == parameter.kind, (name, argument)
            if parameter.kind == parameter.POSITIONAL_OR_KEYWORD:
                assert list(own)[number] == argument, (name, argument)
            if parameter.default is not parameter.empty:
                assert own[argument].default is not parameter.empty, (name, argument)
        extra = [own[argument] for argument in own if argument not in inspect.signature(theirs).parameters]
        assert all(parameter.default is not parameter.empty for parameter in extra) or name == "__init__", name
