"""A language model's cache under a policy: opened for a model, handed to its forwards or to `generate`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from worldkv.adapters.transformers.half_rotary import rotary_of
from worldkv.adapters.transformers.layer import ATTENTION, PolicyLayer, register
from worldkv.adapters.transformers.library import load
from worldkv.adapters.transformers.model_shape import geometry_of
from worldkv.adapters.transformers.token_chunks import OnAttend, TokenChunks
from worldkv.backends.cache import WorldCache
from worldkv.config import CacheConfig
from worldkv.errors import PolicyError, SignalError, SpecError
from worldkv.policy import CachePolicy, needs_of
from worldkv.scene import Scene
from worldkv.signals import Signal
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch


class PolicyCache:
    """What `open_cache` returns is this and transformers' `Cache`: hand it to a model as `past_key_values`.

    Close it, or use it in a `with` statement.

    Attributes:
        world: the cache under the policy: its engine, its counts, its records.
    """

    world: WorldCache
    _chunks: TokenChunks
    _model: Any
    _hook: Any
    _attention_before: str | None

    @property
    def attended_tokens(self) -> int:
        """Tokens of the window that the last forward attended, without those of the chunk that it filled."""
        return self._chunks.attended_tokens

    def finish(self) -> None:
        """Commit the last chunk if it is whole: by itself it is committed when the next forward begins."""
        self._chunks.settle()

    def announce_repeat(self) -> None:
        """The next forward is a draft, and the one after it brings the same tokens again.

        So a policy that is asked after the first pass (quest-bounds, arkvale, mean-key) is asked with the tokens' own
        queries. Without it such a policy is asked after a chunk's first forward: in decoding, after its first token.
        """
        self._chunks.announce_repeat()

    def close(self) -> None:
        """Give back memory, files and threads, and the model its own attention implementation."""
        self._hook.remove()
        if self._attention_before is not None:
            self._model.set_attn_implementation(self._attention_before)
            self._attention_before = None
        self.world.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_cache(
    model: Any,
    policy: CachePolicy,
    *,
    chunk_tokens: int = 64,
    frames_per_chunk: int = 1,
    batch_size: int = 1,
    config: CacheConfig | None = None,
    capacity_tokens: int | None = None,
    folder: Path | Sequence[Path] | None = None,
    extra_signals: frozenset[Signal] = frozenset(),
    stopwatch: Stopwatch = NO_STOPWATCH,
    on_attend: OnAttend | None = None,
) -> PolicyCache:
    """An empty cache for a transformers language model, under any policy that needs no camera.

    A prompt of several chunks that is handed over at once attends all of itself, as under every cache of transformers;
    the policy's window holds from the next forward on. `forward_in_chunks` keeps to the window from the first token.

    A policy that reads queries or attention, and `on_attend`, switch the model to the attention implementation
    "worldkv" (SDPA that also shows queries) until the cache is closed; others leave the model's own alone.

    Args:
        model: a causal language model of transformers.
        policy: the policy that decides; its frames are chunks, see `geometry_of`.
        chunk_tokens: tokens of a chunk, which policies keep, drop and fetch as a whole.
        frames_per_chunk: latent frames of a chunk.
        batch_size: rows that go through the model together. They share every decision, which is made by the first.
        config: see `WorldCache`.
        capacity_tokens: see `WorldCache`.
        folder: see `WorldCache`.
        extra_signals: see `WorldCache`.
        stopwatch: see `WorldCache`.
        on_attend: called in every layer of every forward, drafts excepted, with its queries and all that they attend.

    Raises:
        SignalError: the policy needs a camera, or hidden states.
        SpecError: the model's layers or positions do not allow it, heads keep different numbers of tokens, or numbers
            do not fit.
        WorldKVError: transformers is not installed.
    """
    register()
    _check_policy(policy, needs_of(policy) | extra_signals)
    if not getattr(model, "_supports_attention_backend", False):
        raise SpecError(
            f"{type(model).__name__} does not attend through transformers' attention interface, so what it does by the "
            "places of keys (ALiBi, say) would be wrong unnoticed once keys are dropped; take a model that does"
        )
    dtype = model.dtype
    geometry = geometry_of(
        model.config, chunk_tokens, frames_per_chunk=frames_per_chunk, batch_size=batch_size, dtype=dtype
    )
    decoder = model.get_decoder()
    rotary = rotary_of(decoder, geometry) if policy.positions.moves else None
    signals = needs_of(policy) | extra_signals
    reads_queries = policy.asked_at == "first_pass" or bool(signals & {Signal.QUERY_SUMMARY, Signal.ATTENTION_MASS})
    with_queries = reads_queries or on_attend is not None
    before = _own_attention(model, type(policy).__name__ if reads_queries else "on_attend") if with_queries else None
    world = WorldCache(
        policy,
        geometry,
        device=str(model.device),
        dtype=dtype,
        scene=Scene(signals=frozenset()),
        config=config,
        capacity_tokens=capacity_tokens,
        rotary=rotary,
        folder=folder,
        stopwatch=stopwatch,
        extra_signals=extra_signals,
        is_causal=True,
    )
    if before is not None:
        model.set_attn_implementation(ATTENTION)
    chunks = TokenChunks(world, with_queries=with_queries, on_attend=on_attend)
    cache = _cache_class()(layers=[PolicyLayer(chunks, decoder.config, index) for index in range(geometry.layers)])
    cache.world, cache._chunks, cache._model, cache._attention_before = world, chunks, model, before
    cache._hook = decoder.register_forward_pre_hook(functools.partial(_check_call, cache), with_kwargs=True)
    result: PolicyCache = cache
    return result


def forward_in_chunks(model: Any, token_ids: Tensor, cache: PolicyCache, **kwargs: Any) -> Iterator[Any]:
    """Run a model over a text one chunk after the other, so that each attends the policy's window and no more.

    A policy that is asked after the first pass sees every chunk twice: first to be asked with its queries.

    Args:
        model: the model the cache was opened for.
        token_ids: the text `(rows, tokens)`; it may continue an earlier one and end inside a chunk.
        cache: an open cache.
        kwargs: handed to the model.

    Yields:
        The model's output for each chunk, the first and last of which may be shorter.
    """
    chunk, start = cache.world.geometry.chunk_tokens, 0
    is_asked_late = cache.world.policy.asked_at == "first_pass"
    while start < token_ids.shape[1]:
        end = start + chunk - cache._chunks.seen % chunk
        if is_asked_late:
            cache.announce_repeat()
            model.get_decoder()(token_ids[:, start:end], past_key_values=cache, use_cache=True)
        yield model(token_ids[:, start:end], past_key_values=cache, use_cache=True, **kwargs)
        start = end


# ---------------------------------------------------------------------- inside


@functools.cache
def _cache_class() -> Any:
    return type("PolicyCache", (PolicyCache, load("transformers.cache_utils").Cache), {})


def _check_policy(policy: CachePolicy, signals: frozenset[Signal]) -> None:
    """Refuse what a cache of transformers is not shown, or cannot hold.

    Raises:
        SignalError: hidden states are read.
        SpecError: heads keep different numbers of tokens.
    """
    name = type(policy).__name__
    if Signal.HIDDEN_STATE in signals:
        raise SignalError(
            f"{name} reads hidden states, which a transformers model does not show its cache; take a policy that "
            "judges by keys or attention"
        )
    if policy.ragged:
        raise SpecError(
            f"{name} keeps other numbers of tokens in every head, which one tensor of keys cannot hold; take a policy "
            "that keeps as many in all"
        )


def _own_attention(model: Any, reader: str) -> str | None:
    """The attention implementation that "worldkv" stands in for; None if the model has "worldkv" already.

    Raises:
        SpecError: it cannot stand in for the one that the model has.
    """
    own: str = model.config._attn_implementation
    if own not in (ATTENTION, "sdpa"):
        raise SpecError(
            f"{reader} reads queries, which the attention implementation {own!r} does not show; call "
            "model.set_attn_implementation('sdpa') first, which worldkv can stand in for"
        )
    return None if own == ATTENTION else own


def _check_call(cache: PolicyCache, decoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse a forward whose mask this cache cannot follow: transformers reads it by position, kept tokens have moved.

    Raises:
        PolicyError: tokens are masked (padding), or the mask is one of the caller's own.
    """
    mask = kwargs.get("attention_mask")
    if kwargs.get("past_key_values") is not cache or mask is None:
        return
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        raise PolicyError(
            "a mask of its own cannot be used under a cache policy, which moves tokens; leave attention_mask out"
        )
    if not bool(mask.all()):
        raise PolicyError(
            f"attention_mask hides {int((mask == 0).sum())} tokens (padding), which a cache policy cannot follow once "
            "it has moved tokens; pass texts of one length, or one at a time"
        )
