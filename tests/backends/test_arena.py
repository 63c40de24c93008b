"""The window's tensors under the layout: a chunk in many pieces is put together again, token for token."""

from __future__ import annotations

import torch
from torch import Tensor

from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.window.arena import Arena, ArenaForm
from worldkv.backends.window.run_layout import MOST_EXTENTS
from worldkv.geometry import CacheGeometry

GEOMETRY = CacheGeometry(2, 1, 1, 4, 1, 6, frames_per_chunk=1, itemsize=4)


def numbered(chunk: int, tokens: int) -> Tensor:
    return (100 * chunk + torch.arange(tokens)).float()[None, None, :, None].expand(1, 1, tokens, 4)


def test_a_scattered_chunk_is_put_together() -> None:
    arena = Arena(CpuOps(), ArenaForm(GEOMETRY, torch.float32, 4), None)
    sizes = {chunk: 1 for chunk in range(4 * MOST_EXTENTS)} | {99: 2 * MOST_EXTENTS}
    for chunk, tokens in sizes.items():
        arena.reserve(tokens)
        for layer in range(GEOMETRY.layers):
            arena.write_tail(layer, numbered(chunk, tokens), -numbered(chunk, tokens))
        arena.append(chunk, tokens)
    gone = [chunk for chunk in range(4 * MOST_EXTENTS) if chunk % 2]
    arena.update(gone, {}, {}, {}, torch.empty(0))
    layout = arena.groups[0].layout
    assert not layout.scattered() and len(layout.extents[99]) == 1
    assert layout.length == sum(tokens for chunk, tokens in sizes.items() if chunk not in gone)
    for chunk in layout.extents:
        for plane, sign in ((0, 1), (1, -1)):
            expected = sign * numbered(chunk, sizes[chunk]).expand(2, 1, -1, 4)
            assert torch.equal(arena.read(chunk, plane), expected)
