"""Learned utility: a small network over hidden states, loaded from a safetensors file."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError, WorldKVError
from worldkv.files import read_plain
from worldkv.geometry import ModelShape
from worldkv.parts.host_array import on_host
from worldkv.policy import TokenScorer
from worldkv.signals import Signal
from worldkv.views import ChunkView

START_BIAS = 5.0
"""The last bias before training: nearly everything is admitted."""
_SHAPES = {
    "w1": "(layers, hidden, channels)",
    "b1": "(layers, hidden)",
    "w2": "(layers, kv_heads, hidden)",
    "b2": "(layers, kv_heads)",
}


@dataclass(frozen=True)
class LearnedUtility(TokenScorer):
    """Utility = sigmoid(w2 SiLU(w1 h + b1) + b2) of a token's hidden state h, per layer and KV head.

    The file holds the arrays `w1`, `b1`, `w2`, `b2` of all layers and heads; without one every utility is sigmoid(5),
    where training starts. Source: arXiv 2605.14037.

    Attributes:
        weights: path of the safetensors file; empty for the untrained start.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("learned-utility",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.HIDDEN_STATE})

    weights: str = ""

    def __post_init__(self) -> None:
        if self.weights:
            loaded(self.weights)

    @property
    def bound_to(self) -> ModelShape | None:
        """See `Part.bound_to`: the model whose hidden states it was trained on."""
        if not self.weights:
            return None
        net = loaded(self.weights)
        layers, kv_heads, _ = net["w2"].shape
        return ModelShape(layers, kv_heads, hidden_channels=net["w1"].shape[2])

    def token_scores(self, chunk: ChunkView) -> NDArray[np.float32]:
        """See `TokenScorer.token_scores`: 0 to 1.

        Raises:
            SpecError: the file's arrays do not fit the model.
        """
        hidden = on_host(chunk.hidden)
        geometry = chunk.geometry
        if not self.weights:
            start = 1 / (1 + np.exp(-START_BIAS))
            return np.full((geometry.layers, geometry.kv_heads, chunk.tokens), start, np.float32)
        net, heads = loaded(self.weights), chunk.heads or slice(None)
        w2, b2 = net["w2"][:, heads], net["b2"][:, heads]
        if net["w1"].shape[::2] != hidden.shape[::2] or w2.shape[:2] != (geometry.layers, geometry.kv_heads):
            raise SpecError(
                f"{self.weights}: w1 {net['w1'].shape} and w2 {w2.shape} do not fit a model of "
                f"{geometry.layers} layers, {geometry.kv_heads} kv_heads and {hidden.shape[2]} channels; they must be "
                f"{_SHAPES['w1']} and {_SHAPES['w2']}"
            )
        inner = np.einsum("lhc,ltc->lth", net["w1"], hidden) + net["b1"][:, None]
        inner /= 1 + np.exp(-np.clip(inner, -60, 60))
        logits = np.einsum("lkh,lth->lkt", w2, inner) + b2[..., None]
        utility: NDArray[np.float32] = (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
        return utility


@functools.lru_cache(maxsize=4)
def loaded(path: str) -> dict[str, NDArray[np.float32]]:
    """The four arrays of a weights file.

    Raises:
        SpecError: the file cannot be read, or its arrays do not fit together.
    """
    from safetensors.numpy import load

    try:
        arrays = load(read_plain(Path(path), SpecError))
    except WorldKVError:
        raise
    except Exception as error:  # KeyError, TypeError and more for headers that are not its own
        raise SpecError(f"{path} is no readable safetensors file of a utility network: {error}") from None
    if not set(_SHAPES) <= set(arrays):
        wanted = ", ".join(f"{name} {shape}" for name, shape in _SHAPES.items())
        raise SpecError(f"{path} must hold {wanted}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    net = {name: np.asarray(arrays[name], np.float32) for name in _SHAPES}
    layers, hidden, _ = net["w1"].shape if net["w1"].ndim == 3 else (0, 0, 0)
    heads = net["w2"].shape[1] if net["w2"].ndim == 3 else 0
    wanted_shapes = {"b1": (layers, hidden), "w2": (layers, heads, hidden), "b2": (layers, heads)}
    if not layers or any(net[name].shape != shape for name, shape in wanted_shapes.items()):
        raise SpecError(
            f"{path}: {', '.join(f'{name} {array.shape}' for name, array in net.items())} do not fit together"
        )
    return net
