"""Slots in the place of a pipeline's own caches."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from worldkv.adapters.self_forcing.forms import KEYS, Form, check_modules, form_of, grid_of, is_list_of_caches, model_of
from worldkv.adapters.self_forcing.handle import Handle
from worldkv.adapters.self_forcing.slots import Slot, slots
from worldkv.adapters.self_forcing.steps import Steps, Viewpoints
from worldkv.adapters.self_forcing.watched import PATCH
from worldkv.backends import WorldCache
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy

_INITIALIZERS = ("_initialize_kv_cache", "_initialize_self_kv_cache")
_RIDERS = "_initialize_prope_kv_cache"


def install(
    pipeline: Any,
    policy: CachePolicy,
    viewpoints: Viewpoints = None,
    *,
    geometry: CacheGeometry | None = None,
    make_cache: Callable[..., WorldCache] = WorldCache,
) -> Installed:
    """Put a cache under `policy` in the place of the pipeline's own; nothing in the model changes.

    The pipeline's `_initialize_kv_cache` (LingBot: `_initialize_self_kv_cache`) is replaced. When the pipeline calls
    it, the original runs on the meta device, which allocates nothing, and says how many lists there are, their shapes
    and where they are kept. Lists beyond the first (`kv_cache_pos` and `kv_cache_neg`, or one for each of two experts)
    are branches of one cache; those of `_initialize_prope_kv_cache` (minWM) are its riders. Cross-attention caches, and
    the keyboard and mouse caches of Matrix-Game-2, stay the model's: the latter hold one token a latent frame, of the
    local window only, so that there is nothing to keep, move or choose.

    Args:
        pipeline: the object whose method makes the caches.
        policy: the policy that decides.
        viewpoints: of the chunks by number, a sequence or a function; None for policies that read no poses.
        geometry: token grid and frames a chunk, where the pipeline does not say (`frame_seq_length`,
            `num_frame_per_block`); layers, heads and head_dim are checked against the pipeline's caches.
        make_cache: opens the cache: `partial(WorldCache, scene=..., config=...)` where it needs more than policy,
            geometry, device and dtype.

    Raises:
        SpecError: there is no such method, or the model's attention does not fit slots.
    """
    names = [name for name in _INITIALIZERS if callable(getattr(pipeline, name, None))]
    if not names:
        raise SpecError(
            f"{type(pipeline).__name__} has no method {' or '.join(_INITIALIZERS)}; hand the object that makes the "
            "model's caches, or pass worldkv.adapters.self_forcing.slots to the model yourself"
        )
    model = model_of(pipeline)
    if model is not None:
        check_modules(model)
    return Installed(pipeline, names[0], policy, viewpoints, geometry, make_cache)


class Installed(Handle):
    """A cache in a pipeline's place, until `uninstall` or `close`.

    The cache itself is opened when the pipeline first asks for one, and reset when it asks again.
    """

    def __init__(
        self,
        pipeline: Any,
        initializer: str,
        policy: CachePolicy,
        viewpoints: Viewpoints,
        geometry: CacheGeometry | None,
        make_cache: Callable[..., WorldCache],
    ) -> None:
        """See `install`."""
        self._pipeline, self._policy, self._viewpoints = pipeline, policy, viewpoints
        self._geometry, self._make_cache = geometry, make_cache
        self._steps: Steps | None = None
        self._form: Form | None = None
        self._has_riders = callable(getattr(pipeline, _RIDERS, None))
        self._calls = 2 if getattr(pipeline, "transformer_2", None) is not None else 1
        self._lists = self._rider_lists = 0
        self._kept: dict[str, Any] = {}
        own = dict(vars(pipeline))
        for name in (initializer, *([_RIDERS] if self._has_riders else [])):
            original = getattr(pipeline, name)
            self._keep(name, own)
            setattr(pipeline, name, partial(self._initialize, original, is_rider=name == _RIDERS))
        for name, value in own.items():
            if is_list_of_caches(value):  # of an earlier rollout: the pipeline has to ask for caches again
                self._keep(name, own)
                setattr(pipeline, name, None)

    @property
    def steps(self) -> Steps:
        """The chunks begun and committed.

        Raises:
            SpecError: the pipeline has not asked for its caches yet.
        """
        if self._steps is None:
            raise SpecError(
                f"{type(self._pipeline).__name__} has not asked for its caches yet; the cache is opened when it does, "
                "at the start of its inference"
            )
        return self._steps

    def uninstall(self) -> None:
        """Let the pipeline make its own caches again; this one stays open."""
        for name, value in self._kept.items():
            if value is _ABSENT:
                self._pipeline.__dict__.pop(name, None)
            else:
                self._pipeline.__dict__[name] = value
        self._kept.clear()

    def close(self) -> None:
        """Uninstall, and close the cache; a chunk that is not committed yet is given up."""
        self.uninstall()
        if self._steps is not None:
            self._steps.cache.close()

    # ------------------------------------------------------------------ inside

    def _initialize(self, original: Callable[..., Any], /, *args: Any, is_rider: bool, **kwargs: Any) -> Any:
        """What the pipeline calls for its caches: its own method on the meta device, its lists replaced by slots."""
        call = inspect.signature(original).bind(*args, **kwargs)
        if "device" not in call.arguments:
            raise SpecError(
                f"the pipeline calls {original.__name__} without a device; pass worldkv.adapters.self_forcing.slots to "
                "the model yourself"
            )
        device = torch.device(call.arguments["device"])
        call.arguments["device"] = torch.device("meta")
        before = dict(vars(self._pipeline))
        returned = original(*call.args, **call.kwargs)
        made = {
            name: value
            for name, value in vars(self._pipeline).items()
            if value is not before.get(name) and is_list_of_caches(value)
        }
        lists = {id(one): one for one in (*made.values(), returned) if is_list_of_caches(one)}
        if not lists:
            raise SpecError(f"{original.__name__} makes no list of dicts {sorted(KEYS)}; {PATCH}")
        forms = {number: form_of(one, device) for number, one in lists.items()}
        stand_ins = {number: self._stand_in(form, is_rider, len(lists)) for number, form in forms.items()}
        for name, one in made.items():
            self._keep(name, before)
            setattr(self._pipeline, name, stand_ins[id(one)])
        return stand_ins.get(id(returned), returned)

    def _stand_in(self, form: Form, is_rider: bool, lists: int) -> list[Slot]:
        """Slots for one list of the pipeline; the cache is opened, or reset, for the first list of a rollout."""
        main = lists * self._calls
        riders = main if self._has_riders else 0
        if not is_rider and self._lists in (0, main):
            self._open(form, main, riders)
            self._lists = self._rider_lists = 0
        steps = self.steps
        if form != self._form:
            raise SpecError(f"the pipeline's caches differ: {form} after {self._form}; all lists must be alike")
        branch: int | None = None
        if main + riders > 1:
            branch = main + self._rider_lists if is_rider else self._lists
        if is_rider:
            self._rider_lists += 1
        else:
            self._lists += 1
        return slots(steps.cache, steps, branch)

    def _open(self, form: Form, main: int, riders: int) -> None:
        if main + riders > 1 and form.batch > 1:
            raise SpecError(
                f"the pipeline keeps {main + riders} lists of caches for {form.batch} samples; generate one sample at "
                "a time"
            )
        if self._steps is not None and form == self._form:
            self._steps.reset()
            return
        if self._steps is not None:
            self._steps.cache.close()
        branches = main + riders if main + riders > 1 else form.batch
        geometry = self._geometry_for(form, branches)
        options: dict[str, Any] = {"riders": riders} if riders else {}
        cache = self._make_cache(self._policy, geometry, device=str(form.device), dtype=form.dtype, **options)
        self._steps, self._form = Steps(cache, self._viewpoints), form

    def _geometry_for(self, form: Form, branches: int) -> CacheGeometry:
        given = self._geometry or grid_of(self._pipeline, model_of(self._pipeline), form)
        told = (given.layers, given.kv_heads, given.head_dim)
        if told != (form.layers, form.kv_heads, form.head_dim):
            raise SpecError(
                f"the geometry has layers, kv_heads, head_dim = {told}, the pipeline's caches have "
                f"{(form.layers, form.kv_heads, form.head_dim)}; take the model's geometry"
            )
        return dataclasses.replace(given, branches=branches, itemsize=form.dtype.itemsize)

    def _keep(self, name: str, own: Mapping[str, Any]) -> None:
        """Remember what the pipeline's own attribute was before."""
        self._kept.setdefault(name, own.get(name, _ABSENT))


_ABSENT = object()
