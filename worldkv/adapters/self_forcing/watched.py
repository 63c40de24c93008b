"""Attended keys and values that tell when a model does not attend them as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from worldkv.errors import PolicyError

_COPIES = frozenset({"clone", "__deepcopy__"})
_JOINS = frozenset({"cat", "concat", "concatenate", "stack"})
_CUTS = frozenset({"narrow", "split", "tensor_split", "chunk", "index_select", "gather", "take_along_dim"})

PATCH = "run the model by worldkv.adapters.self_forcing.patch, which replaces the attention's forward"


class Watched(Tensor):
    """`[B, S, H, D]` of everything to attend; any other use of it than attending all of it is refused.

    A model that cuts, copies, joins or overwrites what its cache returns has a window rule of its own, which would be
    applied on top of the policy's without a word. Only the first operation is watched: its result is a plain tensor.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Refuse, or do `func` on the plain tensors.

        Raises:
            PolicyError: the model cuts, copies, joins or overwrites what it was given.
        """
        name = getattr(func, "__name__", "")
        with torch._C.DisableTorchFunctionSubclass():
            if name == "__getitem__":
                _check_cut(args[0], args[1])
            elif name in _CUTS:
                raise PolicyError(f"the model cuts the window that the policy chose (by {name}); {PATCH}")
            elif name in _COPIES or name in _JOINS:
                does = "copies" if name in _COPIES else "joins other tokens to"
                raise PolicyError(f"the model {does} the window that the policy chose (by {name}); {PATCH}")
            elif name == "__setitem__" or (name.endswith("_") and not name.startswith("_")):
                raise PolicyError(f"the model overwrites the window that the policy chose (by {name}); {PATCH}")
            return func(*map(_plain, args), **{key: _plain(value) for key, value in (kwargs or {}).items()})


def _plain(value: Any) -> Any:
    """What a kernel gets in the place of a watched window: the same memory as a plain tensor."""
    return value.as_subclass(Tensor) if isinstance(value, Watched) else value


def _check_cut(window: Tensor, at: Any) -> None:
    """Refuse an index that leaves tokens out."""
    tokens = window.shape[1]
    index = at[1] if isinstance(at, tuple) and len(at) > 1 else slice(None)
    left = len(range(*index.indices(tokens))) if isinstance(index, slice) else 1
    if left < tokens:
        raise PolicyError(
            f"the model attends {left} of the {tokens} tokens that the policy chose: it cuts the window by its own "
            f"local_attn_size; raise that to at least the policy's window, sink and chunk included, or {PATCH}"
        )
