"""FlashDreams' Wan and Cosmos networks under a WorldCache: a stand-in for its `BlockKVCache`.

Read against the wheel flashdreams 0.1.0, `core/attention/kvcache.py` and `recipes/wan/transformer`. A duck type:
FlashDreams is not imported. `install(network.blocks, cache, viewpoint_of)` makes every block's `self_attn` hand out a
`Layer` where it would allocate a `BlockKVCache`.

Refused, because it would be wrong without a word: keys that are rotated by their place in the cache
(`apply_rope_before_kvcache=False`; the order inside a window is the cache's own), sequences split over ranks (ring and
Ulysses both; a rank's part is not whole frames, and kept tokens would have to be as many on all ranks), and captured
CUDA graphs (`use_cuda_graph=True`; lengths and addresses change as the policy decides).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from worldkv.adapters.chunk_starts import ChunkStarts, ViewpointOf, layers_of
from worldkv.errors import PolicyError, SpecError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from worldkv.backends.cache import WorldCache


class Layer:
    """One block's cache; the methods of FlashDreams' `BlockKVCache`.

    Attributes:
        layer: number of the block.
        branch: guidance branch; None where there is only one.
        chunk_size: tokens of a whole chunk.
    """

    def __init__(self, starts: ChunkStarts, layer: int, branch: int | None) -> None:
        """Layer `layer` of branch `branch`."""
        self._starts, self.layer, self.branch = starts, layer, branch
        self.chunk_size = starts.cache.geometry.chunk_tokens
        self._window: tuple[Tensor, Tensor] | None = None

    def before_update(self, chunk_idx: int) -> None:
        """Chunk `chunk_idx` is generated from here on; a new number commits the chunk before it.

        Raises:
            PolicyError: chunks do not come one by one.
        """
        if self.layer == 0:
            self._starts.begin(chunk_idx)

    def update(self, k: Tensor, v: Tensor) -> None:
        """The chunk's keys and values `(1, tokens, kv_heads, head_dim)`, keys rotated to absolute frames.

        Raises:
            PolicyError: a CUDA graph is being captured, and as for `WorldCache.window`.
        """
        import torch

        if k.is_cuda and torch.cuda.is_current_stream_capturing():
            raise PolicyError(
                "a captured CUDA graph would replay this step's addresses and lengths, which the policy changes; set "
                "use_cuda_graph=False"
            )
        self._window = self._starts.cache.window(self.layer, k, v, branch=self.branch)

    def cached_k(self) -> Tensor:
        """Every key that the chunk attends, its own last: `(1, tokens, kv_heads, head_dim)`."""
        return self._attended()[0]

    def cached_v(self) -> Tensor:
        """Values, likewise."""
        return self._attended()[1]

    def after_update(self, chunk_idx: int) -> None:
        """The pass, or the chunk, is done. Which of them it is FlashDreams does not say; the next chunk commits it."""
        self._window = None

    def reset(self) -> None:
        """A new rollout; the engine calls every layer, the very first one resets the cache."""
        self._window = None
        if self.layer == 0 and not self.branch:
            self._starts.reset()

    @property
    def size(self) -> int:
        """Tokens that the chunk attends, its own included."""
        return self._attended()[0].shape[1]

    @property
    def write_end(self) -> int:
        """Refused: where a chunk lies in the window is no position.

        Raises:
            PolicyError: always.
        """
        raise PolicyError(
            "keys would be rotated by their place in the cache, whose order is its own; build the network with "
            "apply_rope_before_kvcache=True"
        )

    def _attended(self) -> tuple[Tensor, Tensor]:
        if self._window is None:
            raise PolicyError(f"layer {self.layer} is read before update(k, v) of this pass; update comes first")
        return self._window


def layers(cache: WorldCache, viewpoint_of: ViewpointOf) -> tuple[list[Layer], ...]:
    """One list of layers for each branch of the cache's geometry: conditional, then unconditional.

    Args:
        cache: of the network's shape.
        viewpoint_of: the viewpoint of a chunk by its number.
    """
    return layers_of(Layer, cache, viewpoint_of)


def install(blocks: Iterable[Any], cache: WorldCache, viewpoint_of: ViewpointOf) -> Callable[[], None]:
    """Make every block hand out the cache's layers.

    FlashDreams allocates a block's cache once for each branch, the conditional first. Where it allocates the first one
    again, a new rollout starts.

    Args:
        blocks: the network's `blocks`, each with a `self_attn`.
        cache: of the network's shape, one branch or two.
        viewpoint_of: the viewpoint of a chunk by its number.

    Returns:
        A function that takes it back.
    """
    attentions, by_branch = [block.self_attn for block in blocks], layers(cache, viewpoint_of)
    if len(attentions) != cache.geometry.layers:
        raise SpecError(
            f"the network has {len(attentions)} blocks, the cache's geometry {cache.geometry.layers} layers; they must "
            "be the same"
        )
    for number, attention in enumerate(attentions):
        attention.initialize_cache = _handing_out([of_branch[number] for of_branch in by_branch], cache)

    def take_back() -> None:
        for attention in attentions:
            del attention.initialize_cache  # the class's own comes to light again

    return take_back


def _handing_out(own: list[Layer], cache: WorldCache) -> Callable[..., Layer]:
    handed_out = 0

    def initialize_cache(
        batch_size: int,
        chunk_size: int,
        window_size: int,
        sink_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Layer:
        nonlocal handed_out
        if (batch_size, chunk_size, dtype) != (1, cache.geometry.chunk_tokens, cache.dtype):
            raise SpecError(
                f"the engine's cache is for batch {batch_size} and chunks of {chunk_size} tokens in {dtype}, this one "
                f"for batch 1 and {cache.geometry.chunk_tokens} in {cache.dtype}; a sequence split over ranks (ring or "
                "Ulysses) is not whole chunks, run it on one"
            )
        layer = own[handed_out % len(own)]
        if handed_out and layer is own[0]:
            layer.reset()
        handed_out += 1
        return layer

    return initialize_cache
