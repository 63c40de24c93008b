"""diffusers' SANA-WM refiner under a WorldCache: a stand-in for its `SanaWMRefinerKVCache`.

Read against diffusers 0.42.1 (`transformer_sana_wm_refiner.py`, `pipelines/sana_wm/refiner.py`). A duck type: what
the refiner's loop keeps as its recent history, and trims by itself, is the cache's window here. The attention sink
stays the model's: it was trained with one that is turned anew to right before the history (`sink_pe`), so give the
policy `sink_frames=0`. The pipeline makes its cache inside its loop; there, put a `RefinerCache` in place of that name.

The refiner asks for its history before it hands over keys of its own, in all but the last pass of a block. For those
passes zeros stand in the window as the block's own keys, which nobody reads. The last pass hands over those that stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.adapters.chunk_starts import ChunkStarts, ViewpointOf
from worldkv.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache

Pair = tuple["Tensor", "Tensor"]
"""Keys and values `(batch, tokens, heads * head_dim)`."""


class RefinerCache:
    """All layers' cache; the methods of diffusers' `SanaWMRefinerKVCache`.

    Attributes:
        sink_pe: the sink's rotary table, which the loop sets for every block.
    """

    def __init__(self, cache: WorldCache, viewpoint_of: ViewpointOf) -> None:
        """A cache for one rollout of the refiner.

        Args:
            cache: a chunk is one block of the refiner; its batch is the geometry's branches.
            viewpoint_of: the viewpoint of a block by its number; of a last block cut short, of its frames.

        Raises:
            SpecError: the policy moves keys in time, whose rotary positions are not the Wan family's.
        """
        if cache.policy.positions.moves or cache.keys == "unrotated":
            raise SpecError(
                "the refiner's rotary positions are LTX-2's, in seconds, which the cache cannot turn keys by; take a "
                'policy with absolute positions and keys="rotated"'
            )
        self.cache = cache
        self.sink_pe: Pair | None = None
        self._starts, self._is_open = ChunkStarts(cache, viewpoint_of), False
        self._layers = [LayerCache(self, layer) for layer in range(cache.geometry.layers)]

    def __len__(self) -> int:
        return len(self._layers)

    def get(self, layer_idx: int) -> LayerCache:
        """One layer's cache."""
        return self._layers[layer_idx]

    def clear(self) -> None:
        """A new rollout."""
        self.sink_pe, self._is_open = None, False
        self._starts.reset()
        for layer in self._layers:
            layer.clear()

    def open_block(self) -> None:
        """Begin the next block, unless one is open."""
        if not self._is_open:
            self._starts.begin(self._starts.chunk + 1)
            self._is_open = True

    def close_block(self) -> None:
        """The open block's keys are the ones that stay."""
        self._is_open = False


class LayerCache:
    """One layer's cache; the methods of diffusers' `SanaWMRefinerKVLayerCache`."""

    def __init__(self, whole: RefinerCache, layer: int) -> None:
        """Layer `layer` of `whole`."""
        self._whole, self._layer = whole, layer
        self.clear()

    def clear(self) -> None:
        """Nothing is stored."""
        self._sink: Pair | None = None
        self._before_rotary: Pair | None = None
        self._captured: Pair | None = None
        self._own: Pair | None = None
        self._is_asked_by_model = False

    # ------------------------------------------------------------------ the sink, as diffusers keeps it

    def store_captured_pre_rope(self, key: Tensor, value: Tensor) -> None:
        """Keys before rotary and values of a pass that becomes the sink."""
        self._before_rotary = key, value

    def get_captured_pre_rope(self) -> Pair:
        """Those, handed out once.

        Raises:
            SpecError: there are none.
        """
        captured, self._before_rotary = _popped(self._before_rotary, "capture_pre_rope"), None
        return captured

    def store_sink(self, sink_k_pre: Tensor, sink_v: Tensor) -> None:
        """The sink: keys before rotary, and values."""
        self._sink = sink_k_pre, sink_v

    def get_sink(self) -> Pair | None:
        """The sink, None without one; only the model's attention asks for it, right before it asks for the history."""
        self._is_asked_by_model = True
        return self._sink

    # ------------------------------------------------------------------ the history, which is the window

    def store_captured_post_rope(self, key: Tensor, value: Tensor) -> None:
        """The block's own keys, rotated to absolute frames, and values, in the pass that is kept."""
        self._own = self._captured = key, value

    def get_history(self) -> Pair | None:
        """Every earlier token that the block attends; None without one, and for the loop, which only keeps account."""
        if not self._is_asked_by_model:
            return None
        self._is_asked_by_model = False
        if self._layer == 0:
            self._whole.open_block()
        import torch

        own, self._own = self._own, None
        cache, geometry = self._whole.cache, self._whole.cache.geometry
        tokens = cache.chunk_frames * geometry.tokens_per_frame
        if own is None:
            shape = (geometry.branches, tokens, geometry.kv_heads, geometry.head_dim)
            keys = torch.zeros(shape, dtype=cache.dtype, device=cache.backend.ops.device)
            attended = cache.window(self._layer, keys, keys)
        else:
            heads = (geometry.kv_heads, geometry.head_dim)
            keys, values = (part.view(*part.shape[:2], *heads) for part in own)
            attended = cache.window(self._layer, keys, values)
        keys, values = (part[:, :-tokens].flatten(2) for part in attended)
        return (keys, values) if keys.shape[1] else None

    def get_captured_post_rope(self) -> Pair:
        """The block's own keys and values, handed out once; the last layer's end the block.

        Raises:
            SpecError: there are none.
        """
        captured, self._captured = _popped(self._captured, "inject_and_capture_post_rope"), None
        if self._layer == len(self._whole) - 1:
            self._whole.close_block()
        return captured

    def store_history(self, history_k: Tensor, history_v: Tensor) -> None:
        """Nothing to store: the policy says what stays."""


def _popped(pair: Pair | None, mode: str) -> Pair:
    if pair is None:
        raise SpecError(f"no keys were captured; run a pass with kv_cache_mode={mode!r} first")
    return pair
