"""Attention modules whose forward calls the cache, for models that copy their caches or write them later."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from worldkv.adapters.cache_form import check_form
from worldkv.adapters.self_forcing.handle import Handle
from worldkv.adapters.self_forcing.steps import Steps, Viewpoints
from worldkv.backends import WorldCache, attend
from worldkv.backends.uncompiled import uncompiled
from worldkv.errors import PolicyError, SpecError
from worldkv.policy import needs_of
from worldkv.signals import Signal

Rope = Callable[..., Tensor]
"""`rope(x, grid_sizes, freqs, start_frame=...)`: queries or keys `[B, S, H, D]` turned to their positions."""
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`kernel(queries, keys, values)`: attention over everything, all of them `[B, S, H, D]`."""
IsClean = Callable[[tuple[Any, ...], dict[str, Any]], bool]
"""Whether a call of the model with these arguments is the clean pass."""
_PARTS = ("q", "k", "v", "o", "norm_q", "norm_k")
_NEEDS_CLEAN = {Signal.ATTENTION_MASS, Signal.HIDDEN_STATE}


def patch(
    model: nn.Module,
    cache: WorldCache,
    viewpoints: Viewpoints = None,
    *,
    rope: Rope | None = None,
    kernel: Kernel | None = None,
    is_clean: IsClean | None = None,
    is_rolling: bool = False,
    returns: Callable[[Tensor, int], Any] | None = None,
) -> Patched:
    """Replace the forward of each self-attention module by one that computes q, k and v as before and asks the cache.

    For models that copy their cache or write it later: LongLive 2 (`returns=deferred`) and Rolling Forcing
    (`is_rolling=True`); and for policies that read queries, attention or hidden states, which slots never see. A module
    is taken that has `q, k, v, o, norm_q, norm_k, num_heads, head_dim` and whose forward takes `x`, `grid_sizes`,
    `freqs`, `kv_cache` and `current_start`; without a `kv_cache` its own forward runs. The model's own lists are not
    read or written any more, so let the pipeline make them small.

    Args:
        model: the transformer; modules are taken in order, one a layer of the cache.
        cache: the cache; one with keys="unrotated" turns keys and queries itself, and `rope` is not asked.
        viewpoints: of the chunks by number, a sequence or a function; None for policies that read no poses.
        rope: turns queries and keys; by default `causal_rope_apply` of the file the module's class is in.
        kernel: the attention; by default plain attention (`cache.attend`).
        is_clean: whether a call of the model, by its arguments, is the clean pass; needed where the policy reads
            attention or hidden states, for example `lambda args, kwargs: kwargs["t"].max() == 0`.
        is_rolling: a pass generates its first chunk and noisier ones behind it, which are attended and not cached.
        returns: what a module returns, from its output and the pass's end token; the output by default.

    Raises:
        SpecError: the model has not one such module a layer, the policy needs `is_clean`, or the cache pads windows.
    """
    check_form(cache, takes_unrotated=True)
    if cache.keys == "unrotated" and is_rolling:
        raise SpecError(
            'is_rolling and a cache with keys="unrotated" exclude each other: what follows the chunk is not in the '
            "cache, which could not turn it"
        )
    rope = _as_it_is if cache.keys == "unrotated" else rope
    return Patched(model, Steps(cache, viewpoints), rope, kernel, is_clean, is_rolling, returns or _output)


def deferred(output: Tensor, end: int) -> tuple[Tensor, tuple[int, int, None]]:
    """What an attention module of LongLive 2 returns: its output, both end indices, and nothing to write later."""
    return output, (end, end, None)


def _as_it_is(x: Tensor, grid_sizes: Any, freqs: Any, start_frame: int = 0) -> Tensor:
    return x


def _output(output: Tensor, end: int) -> Tensor:
    return output


class Patched(Handle):
    """A model whose attention asks the cache, until `unpatch` or `close`."""

    def __init__(
        self,
        model: nn.Module,
        steps: Steps,
        rope: Rope | None,
        kernel: Kernel | None,
        is_clean: IsClean | None,
        is_rolling: bool,
        returns: Callable[[Tensor, int], Any],
    ) -> None:
        """See `patch`."""
        self._steps = steps
        cache, policy = steps.cache, steps.cache.policy
        unclean = sorted(signal.value for signal in needs_of(policy) & _NEEDS_CLEAN)
        if unclean and is_clean is None:
            raise SpecError(
                f"{type(policy).__name__} reads {' and '.join(unclean)}, measured in the clean pass; hand is_clean=, "
                "which tells that pass by the arguments of the model's call"
            )
        if policy.ragged and (kernel is not None or is_rolling):
            raise SpecError(
                f"{type(policy).__name__} keeps other tokens for each head, which only plain attention reads; leave "
                "kernel and is_rolling out"
            )
        self._kernel, self._is_rolling, self._returns, self._rope = kernel, is_rolling, returns, rope
        modules = [module for module in model.modules() if _is_attention(module)]
        if len(modules) != cache.geometry.layers:
            raise SpecError(
                f"the model has {len(modules)} self-attention modules with {', '.join(_PARTS)}, the geometry has "
                f"{cache.geometry.layers} layers; hand the transformer itself, with the geometry of its caches"
            )
        self._clean = False
        self._lists: list[Any] = []
        self._branch: int | None = None
        self._originals: list[tuple[nn.Module, Any]] = []
        for layer, module in enumerate(modules):
            turn = rope or getattr(sys.modules[type(module).__module__], "causal_rope_apply", None)
            if turn is None:
                raise SpecError(
                    f"the file of {type(module).__name__} has no causal_rope_apply; hand rope=, called with (x, "
                    "grid_sizes, freqs, start_frame=)"
                )
            original = module.forward
            call = inspect.signature(original)
            self._originals.append((module, vars(module).get("forward")))
            module.forward = partial(self._forward, _Layer(layer, module, original, call, turn))
        self._hook = None
        if is_clean is not None:
            self._hook = model.register_forward_pre_hook(partial(self._note_pass, is_clean), with_kwargs=True)

    @property
    def steps(self) -> Steps:
        """The chunks begun and committed."""
        return self._steps

    def reset(self) -> None:
        """As new, for another rollout: the pipeline's own reset is not seen here."""
        self._lists.clear()
        self.steps.reset()

    def unpatch(self) -> None:
        """Give the modules their own forward back; the cache stays open."""
        for module, own in self._originals:
            vars(module).pop("forward", None)
            if own is not None:
                module.forward = own
        self._originals.clear()
        if self._hook is not None:
            self._hook.remove()

    def close(self) -> None:
        """Unpatch, and close the cache; a chunk that is not committed yet is given up."""
        self.unpatch()
        self.cache.close()

    # ------------------------------------------------------------------ inside

    def _note_pass(
        self,
        is_clean: IsClean,
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._clean = bool(is_clean(args, kwargs))

    @uncompiled
    def _forward(self, layer: _Layer, *args: Any, **kwargs: Any) -> Any:
        """What the module's forward does, with the cache in the place of its own."""
        call = layer.call.bind(*args, **kwargs).arguments
        x, mine = call["x"], call.get("kv_cache")
        if mine is None:
            return layer.original(*args, **kwargs)
        module, geometry = layer.module, self.cache.geometry
        start, tokens = int(call.get("current_start", 0)), x.shape[1]
        own = min(tokens, geometry.chunk_tokens) if self._is_rolling else tokens
        if layer.number == 0:
            self._branch = self._branch_of(mine, x.shape[0])
            self.steps.open_pass(start, own, self._branch, mine)
        shape = (*x.shape[:2], module.num_heads, module.head_dim)
        queries, keys = module.norm_q(module.q(x)).view(shape), module.norm_k(module.k(x)).view(shape)
        values = module.v(x).view(shape)
        frame = start // geometry.tokens_per_frame
        queries, keys = (
            layer.rope(part, call["grid_sizes"], call["freqs"], start_frame=frame).type_as(values)
            for part in (queries, keys)
        )
        output = self._attend(layer.number, queries, keys, values, own, x)
        return self._returns(module.o(output.flatten(2).type_as(x)), start + tokens)

    def _attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, own: int, hidden: Tensor) -> Tensor:
        """Attention over the window, the chunk's own tokens and, where passes roll, the noisier ones behind it."""
        cache, branch, clean = self.cache, self._branch, self._clean
        queries, keys, values = (part.to(cache.dtype) for part in (queries, keys, values))
        if self._kernel is None and own == queries.shape[1]:
            return cache.attend(layer, queries, keys, values, clean=clean, hidden=hidden, branch=branch)
        attended, carried = cache.window(
            layer,
            keys[:, :own],
            values[:, :own],
            branch=branch,
            queries=queries[:, :own],
            clean=clean,
            hidden=hidden[:, :own],
        )
        if own < queries.shape[1]:
            attended, carried = (
                torch.cat([seen, part[:, own:]], dim=1) for seen, part in ((attended, keys), (carried, values))
            )
        if self._rope is _as_it_is:
            queries = cache.rotate(queries, branch=branch)
        return (self._kernel or _plain)(queries, attended, carried)

    def _branch_of(self, mine: Any, batch: int) -> int | None:
        """The branch that a pass is of, by which of the model's lists it is called with; None for all on the batch."""
        geometry = self.cache.geometry
        if geometry.branches == batch:
            return None
        for number, known in enumerate(self._lists):
            if known is mine:
                return number
        if len(self._lists) == geometry.branches:
            raise PolicyError(
                f"the model is called with more lists of caches than the geometry's {geometry.branches} branches; call "
                "reset() before another rollout, or take a geometry with as many branches"
            )
        self._lists.append(mine)
        return len(self._lists) - 1


class _Layer(NamedTuple):
    """One attention module that is patched."""

    number: int
    module: Any
    original: Callable[..., Any]
    call: inspect.Signature
    rope: Rope


def _plain(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return attend(queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)).transpose(1, 2)


def _is_attention(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in (*_PARTS, "num_heads", "head_dim")) and (
        "kv_cache" in inspect.signature(module.forward).parameters
    )
