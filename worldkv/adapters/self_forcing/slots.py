"""Objects that stand for the dicts `{k, v, global_end_index, local_end_index}` of the Self-Forcing family."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from worldkv.adapters.self_forcing.steps import Steps, Viewpoints
from worldkv.adapters.self_forcing.watched import PATCH, Watched
from worldkv.backends import WorldCache
from worldkv.backends.uncompiled import uncompiled
from worldkv.errors import PolicyError
from worldkv.policy import needs_of
from worldkv.signals import Signal

_ENDLESS = 1 << 40
"""Tokens a plane says it has room for: never full, so that the model's own rolling window never starts."""
_UNSEEN = {Signal.ATTENTION_MASS, Signal.QUERY_SUMMARY, Signal.HIDDEN_STATE}
"""Signals measured on what attention modules do not write into their cache."""


def slots(cache: WorldCache, viewpoints: Viewpoints | Steps = None, branch: int | None = None) -> list[Slot]:
    """One slot a layer, to be handed to the model in the place of its list of dicts.

    The attention module writes its chunk's keys and values into a slot and reads back everything to attend. A chunk is
    begun when the first layer writes at a new start; that commits the chunk before. The last chunk is committed by
    `Steps.commit`, or by the handle of `install`.

    Args:
        cache: the cache; its geometry is the model's.
        viewpoints: of the chunks by number, a sequence or a function; None for policies that read no poses; the `Steps`
            of another list where the model has several lists over one cache.
        branch: which branch of the cache the list is for, where conditional and unconditional passes have lists of
            their own; None where they are the batch axis.

    Raises:
        PolicyError: the policy reads queries, attention or hidden states.
    """
    check_policy(cache)
    steps = viewpoints if isinstance(viewpoints, Steps) else Steps(cache, viewpoints)
    line = _Line(steps, branch)
    return [Slot(line, layer) for layer in range(cache.geometry.layers)]


def check_policy(cache: WorldCache) -> None:
    """Refuse a policy that reads more than keys, values and poses.

    Raises:
        PolicyError: it does.
    """
    policy = cache.policy
    unseen = needs_of(policy) & _UNSEEN
    if unseen or policy.asked_at == "first_pass" or policy.ragged:
        what = " and ".join(sorted(signal.value for signal in unseen)) or "this step's queries, or heads apart"
        raise PolicyError(f"{type(policy).__name__} reads {what}, which a model does not write into its cache; {PATCH}")


class Slot(dict[str, Any]):
    """What one layer's attention takes for its cache."""

    def __init__(self, line: _Line, layer: int) -> None:
        """The slot of `layer`."""
        index = _Index(line)
        super().__init__(
            k=_Plane(line, layer, "k"), v=_Plane(line, layer, "v"), global_end_index=index, local_end_index=index
        )
        self.steps = line.steps

    def __setitem__(self, name: str, value: Any) -> None:
        """Understand what pipelines assign: the same planes, an index of 0 as a reset, the index they have reached.

        Raises:
            PolicyError: anything else.
        """
        if name in ("global_end_index", "local_end_index"):
            self[name].fill_(value)
        elif value is not self.get(name):
            raise PolicyError(
                f"the model puts a {type(value).__name__} in the place of its cache's {name!r}, which would cut it off "
                f"from the policy; {PATCH}"
            )


class _Line:
    """The slots of one branch: keys and values on their way to the cache, and the window that came back."""

    def __init__(self, steps: Steps, branch: int | None) -> None:
        self.steps, self.branch = steps, branch
        self._written: dict[str, Tensor] = {}
        self.start = self.end = 0
        self._layer: int | None = None
        self._window: dict[str, Tensor] = {}

    @uncompiled
    def write(self, layer: int, name: str, at: Any, value: Any) -> None:
        """The module writes its keys or values at a slice of tokens; once both are there they go to the cache."""
        tokens = _tokens(at)
        if not isinstance(value, Tensor) or tokens is None or tokens.stop is None:
            raise PolicyError(
                f"the model writes a {type(value).__name__} at {at!r} of its cache's {name!r}, not its chunk's tokens "
                f"[B, S, H, D] at [:, start:end]; {PATCH}"
            )
        start, end = tokens.start or 0, tokens.stop
        if end - start != value.shape[1]:
            raise PolicyError(
                f"the model writes {value.shape[1]} tokens at {start} to {end} of its cache's {name!r}; its chunk must "
                f"be written at once, or {PATCH}"
            )
        if not self._written:
            self._window.clear()
            if layer == 0:
                self.steps.open_pass(start, end - start, self.branch, self)
                self.start, self.end = start, end
            elif (start, end) != (self.start, self.end):
                raise PolicyError(
                    f"layer {layer} writes tokens {start} to {end}, layer 0 of the pass wrote {self.start} to "
                    f"{self.end}; all layers of a pass generate the same chunk"
                )
        cache = self.steps.cache
        self._written[name] = value.to(cache.dtype)  # as an assignment to a tensor does
        if len(self._written) == 2:
            keys, values = self._written["k"], self._written["v"]
            self._written.clear()
            keys, values = cache.window(layer, keys, values, branch=self.branch)
            self._layer, self._window = layer, {"k": keys.as_subclass(Watched), "v": values.as_subclass(Watched)}

    @uncompiled
    def read(self, layer: int, name: str, at: Any) -> Tensor:
        """Everything to attend, whatever slice up to its chunk's end the module asks for."""
        tokens = _tokens(at)
        if self._layer != layer or name not in self._window:
            raise PolicyError(
                f"layer {layer} reads {at!r} of its cache's {name!r} before it has written its chunk's keys and values "
                f"there, as a model does that joins them itself; {PATCH}"
            )
        if tokens is None or tokens.stop not in (None, self.end):
            raise PolicyError(
                f"layer {layer} reads {at!r} of its cache's {name!r}, not all up to its chunk's end at token "
                f"{self.end}: it puts its window together by itself; {PATCH}"
            )
        return self._window[name]


def _tokens(at: Any) -> slice | None:
    """The slice of tokens in `[:, start:end]`; None for any other index."""
    if isinstance(at, tuple) and len(at) == 2 and at[0] == slice(None) and isinstance(at[1], slice):
        return at[1] if at[1].step in (None, 1) else None
    return None


class _NotATensor(PolicyError, AttributeError):
    """The model asks a plane for something that only a tensor has."""


class _Plane:
    """A layer's keys or values, as far as an attention module touches them."""

    def __init__(self, line: _Line, layer: int, name: str) -> None:
        self._line, self._layer, self._name = line, layer, name

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(branches, tokens, kv_heads, head_dim)`, with room for any number of tokens."""
        geometry = self._line.steps.cache.geometry
        batch = geometry.branches if self._line.branch is None else 1
        return (batch, _ENDLESS, geometry.kv_heads, geometry.head_dim)

    def size(self, axis: int) -> int:
        return self.shape[axis]

    @property
    def dtype(self) -> torch.dtype:
        return self._line.steps.cache.dtype

    def detach(self) -> _Plane:
        return self

    def __setitem__(self, at: Any, value: Any) -> None:
        self._line.write(self._layer, self._name, at, value)

    def __getitem__(self, at: Any) -> Tensor:
        return self._line.read(self._layer, self._name, at)

    def clone(self) -> NoReturn:
        raise PolicyError(
            f"the model copies its cache's {self._name!r}: run it under torch.no_grad (FastVideo's Matrix-Game-2 "
            f"copies only where gradients are on), or {PATCH}"
        )

    def __getattr__(self, name: str) -> NoReturn:
        raise _NotATensor(f"the model uses .{name} of its cache's {self._name!r}, which is no tensor here; {PATCH}")


class _Index(int):
    """An end index that always reads 0, so that the start of a write is the chunk's own; reading it needs no sync."""

    _line: _Line

    def __new__(cls, line: _Line) -> _Index:
        index = super().__new__(cls, 0)
        index._line = line
        return index

    def item(self) -> int:
        return 0

    def fill_(self, value: Any) -> _Index:
        """0 means that the pipeline starts another rollout; otherwise it is the end that the attention has reached.

        Raises:
            PolicyError: it is another number.
        """
        end = int(value)
        if end == 0:
            self._line.steps.reset()
        elif end != self._line.end:
            raise PolicyError(
                f"the model sets its cache's end index to {end}, its pass ends at token {self._line.end}; set it to 0 "
                "for another rollout, and take WorldCache.rewind to go back"
            )
        return self

    def zero_(self) -> _Index:
        return self.fill_(0)
