"""Write the weight files that policies of the list read, once a process.

They fit the shapes of the backends' tests: two layers, one KV head of 8 channels, two query heads (16 hidden channels).
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from worldkv.parts.scorer.anchor_penalty import mean_difference, save_direction

LAYERS, KV_HEADS, HEAD_DIM, HIDDEN_CHANNELS = 2, 1, 8, 16


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="worldkv-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def utility_weights() -> str:
    """A utility network that admits about half of all tokens."""
    draw = np.random.default_rng(1)
    shapes = {"w1": (LAYERS, 6, HIDDEN_CHANNELS), "b1": (LAYERS, 6), "w2": (LAYERS, KV_HEADS, 6)}
    net = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    path = _folder() / "utility.safetensors"
    save_file({**net, "b2": np.full((LAYERS, KV_HEADS), -0.5, np.float32)}, path)
    return str(path)


@functools.cache
def anchor_direction() -> str:
    """A direction among the keys."""
    draw = np.random.default_rng(2)
    one, other = draw.standard_normal((2, LAYERS, KV_HEADS, 9, HEAD_DIM))
    path = _folder() / "direction.safetensors"
    save_direction(mean_difference(one, other), path)
    return str(path)
