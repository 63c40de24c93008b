"""Forwards of any number of tokens, cut into the chunks of a WorldCache."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from worldkv.backends.cache import WorldCache
from worldkv.errors import PolicyError
from worldkv.signals import Signal, Viewpoint

OnAttend = Callable[[int, Tensor, Tensor, Tensor], None]
"""Called with the layer, its queries, and all keys and values they attend, `(rows, tokens, heads, head_dim)` each.

A model that scales its scores in its own way has its queries scaled instead, so that 1 / sqrt(head_dim) is right."""


class _Tokens(NamedTuple):
    """Some tokens of one layer, `(rows, tokens, heads, head_dim)` each; queries only where the policy reads them."""

    keys: Tensor
    values: Tensor
    queries: Tensor | None

    def then(self, more: _Tokens) -> _Tokens:
        """These tokens, and `more` behind them."""
        queries = None
        if self.queries is not None and more.queries is not None:
            queries = torch.cat([self.queries, more.queries], dim=1)
        return _Tokens(torch.cat([self.keys, more.keys], dim=1), torch.cat([self.values, more.values], dim=1), queries)

    def part(self, start: int, end: int | None) -> _Tokens:
        """Those from `start` up to `end`."""
        some = slice(start, end)
        return _Tokens(
            self.keys[:, some], self.values[:, some], None if self.queries is None else self.queries[:, some]
        )

    def filled_up(self, tokens: int) -> _Tokens:
        """As many as `tokens`: behind the real ones zero keys, which are attended by nobody, and mean queries."""
        missing = tokens - self.keys.shape[1]
        if missing <= 0:
            return self
        nothing = self.keys.new_zeros((self.keys.shape[0], missing, *self.keys.shape[2:]))
        queries = None
        if self.queries is not None:  # the mean query of the whole chunk is then that of the real ones
            mean = self.queries.float().mean(dim=1, keepdim=True).to(self.queries.dtype)
            queries = mean.expand(-1, missing, -1, -1)
        return self.then(_Tokens(nothing, nothing, queries))


class TokenChunks:
    """Takes the keys and values of any number of tokens a pass, and hands out everything that they attend.

    A chunk is committed when all its tokens have been seen and the next pass begins. Tokens of a chunk that is not
    whole yet *wait*: they are attended as the chunk's own, and each pass writes the chunk anew with one token more or
    several. A pass that goes on behind the chunk's end (a prompt) attends all of its own tokens; those behind wait too,
    and are then committed chunk by chunk, each under the window that the policy plans for it.

    Attributes:
        cache: the cache whose chunks are filled.
        with_queries: whether passes bring queries, which the policy or `on_attend` reads.
        seen: tokens of all finished passes.
    """

    def __init__(self, cache: WorldCache, *, with_queries: bool, on_attend: OnAttend | None = None) -> None:
        """No tokens yet."""
        self.cache, self.with_queries, self._on_attend = cache, with_queries, on_attend
        self._reads_mass = Signal.ATTENTION_MASS in cache.engine.needs
        self._forget()

    def _forget(self) -> None:
        self.seen, self._waiting, self._tokens = 0, 0, 0
        self._next_layer: int | None = None  # of the pass that runs; None between passes
        self._is_draft = self._is_repeat = self._is_clean = False
        self._held: list[_Tokens | None] = [None] * self.cache.geometry.layers

    def reset(self) -> None:
        """As new; a pass that stopped half way is forgotten too."""
        self.cache.reset()
        self._forget()

    def announce_repeat(self) -> None:
        """The next pass is a draft: the one after it brings the same tokens again.

        So a policy that is asked after the first pass is asked with the tokens' own queries.

        Raises:
            PolicyError: a pass is running.
        """
        if self._next_layer is not None:
            raise PolicyError("announce_repeat comes before a forward, not inside one")
        self._is_draft = True

    # ------------------------------------------------------------------ a pass

    @property
    def attended_tokens(self) -> int:
        """Tokens of the window, without those of the chunk that is being filled."""
        plan = self.cache.plan
        return 0 if plan is None else plan.attended_tokens - plan.frames * self.cache.geometry.tokens_per_frame

    @property
    def kept(self) -> int:
        """Tokens that the running pass attends beside its own."""
        return self.attended_tokens + self._waiting

    def seen_by(self, layer: int) -> int:
        """Tokens that a layer has seen, those of the running pass included once they went through it."""
        is_through = self._next_layer is not None and layer < self._next_layer and not self._is_draft
        return self.seen + (self._tokens if is_through else 0)

    def start_pass(self, tokens: int) -> None:
        """A pass of `tokens` tokens begins; whole chunks of the passes before are committed first.

        Calling it again before the first layer changes nothing.

        Raises:
            PolicyError: the last pass stopped half way, or this is no repetition although one was announced.
        """
        if self._next_layer:
            raise PolicyError(
                f"the last forward stopped after {self._next_layer} of {self.cache.geometry.layers} layers; "
                "reset() the cache and hand it the whole text again"
            )
        if self._is_repeat and tokens != self._tokens:
            raise PolicyError(
                f"a repeated forward brings the {self._tokens} tokens of its draft again, got {tokens}; hand it the "
                "same ones"
            )
        if not self._is_repeat and self._next_layer is None:
            self.settle()
        if self.cache.plan is None:
            self.cache.begin(Viewpoint())
        self._tokens, self._next_layer = tokens, 0
        is_whole = self._waiting + tokens >= self.cache.geometry.chunk_tokens
        self._is_clean = is_whole and self._reads_mass and not self._is_draft

    def window(self, layer: int, keys: Tensor, values: Tensor, queries: Tensor | None) -> tuple[Tensor, Tensor]:
        """One layer of a pass: its new tokens go in, everything that they attend comes out.

        Args:
            layer: which layer, in order; 0 starts a pass.
            keys: `(rows, tokens, kv_heads, head_dim)`, rotated to their positions.
            values: likewise, not rotated.
            queries: `(rows, tokens, heads, head_dim)`, rotated; read only where the policy needs them.

        Returns:
            Keys and values `(rows, kept + tokens, kv_heads, head_dim)`, this pass's tokens last and in order.

        Raises:
            PolicyError: layers are out of order.
        """
        if layer == 0:
            self.start_pass(keys.shape[1])
        if layer != self._next_layer or keys.shape[1] != self._tokens:
            raise PolicyError(
                f"layer {layer} brought {keys.shape[1]} tokens, expected {self._tokens} of layer {self._next_layer}; "
                "one forward at a time goes through every layer once, in order"
            )
        new = _Tokens(keys.detach(), values.detach(), queries.detach() if queries is not None else None)
        before = self._held[layer]
        held = new if before is None else before.part(0, self._waiting).then(new)
        self._held[layer] = held
        all_keys, all_values = self._through(layer, held, clean=self._is_clean)
        behind = held.keys.shape[1] - self.cache.geometry.chunk_tokens
        if behind < 0:
            all_keys, all_values = all_keys[:, :behind], all_values[:, :behind]
        elif behind > 0:
            all_keys = torch.cat([all_keys, held.keys[:, -behind:]], dim=1)
            all_values = torch.cat([all_values, held.values[:, -behind:]], dim=1)
        if self._on_attend is not None and queries is not None and not self._is_draft:
            self._on_attend(layer, queries, all_keys, all_values)
        self._next_layer = layer + 1
        if self._next_layer == self.cache.geometry.layers:
            self._finish_pass()
        return all_keys, all_values

    def settle(self) -> None:
        """Commit every chunk that is whole. Between passes only: what was handed out is not valid any more.

        Raises:
            PolicyError: a pass is running, or a draft was not repeated.
        """
        if self._next_layer or self._is_repeat:
            raise PolicyError("a forward is not finished; whole chunks are committed between forwards")
        chunk = self.cache.geometry.chunk_tokens
        is_written = self.cache.plan is not None
        while self._waiting >= chunk:
            if not is_written:  # a chunk behind the one that the pass was begun with: all is there but the window
                self.cache.begin(Viewpoint())
                for layer, held in enumerate(self._held):
                    if held is not None:
                        self._through(layer, held, clean=self._reads_mass)
            self.cache.commit()
            is_written = False
            self._waiting -= chunk
            self._held = [None if held is None else held.part(chunk, None) for held in self._held]

    # ------------------------------------------------------------------ inside

    def _through(self, layer: int, held: _Tokens, *, clean: bool) -> tuple[Tensor, Tensor]:
        """The window of one layer, with the first chunk of `held` in it, filled up where it is not whole."""
        chunk = self.cache.geometry.chunk_tokens
        own = held.part(0, chunk).filled_up(chunk)
        queries = own.queries if self.with_queries else None
        return self.cache.window(layer, own.keys, own.values, queries=queries, clean=clean)

    def _finish_pass(self) -> None:
        self._next_layer = None
        self._is_draft, self._is_repeat = False, self._is_draft
        if not self._is_repeat:
            self.seen += self._tokens
            self._waiting += self._tokens
