"""A Wan transformer under a cache: hooks that place each call, and refuse what would be wrong without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from worldkv.adapters.diffusers.cache_context import context_hook, name_of
from worldkv.adapters.diffusers.removable import Removable
from worldkv.adapters.diffusers.self_attention import CallUnderWay, WanSelfAttention
from worldkv.backends.uncompiled import uncompiled
from worldkv.errors import PolicyError, PositionError, SpecError

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache
    from worldkv.engine.state import StepPlan

_HOOK = "worldkv"


class Attachment(CallUnderWay, Removable):
    """A transformer under a cache; as a context manager it removes itself.

    Attributes:
        transformer: the model.
        cache: the rollout's cache; set another of the same geometry for the next rollout.
        branches: branch by name of the call.
    """

    def __init__(self, transformer: Any, cache: WorldCache, branches: Mapping[str, int]) -> None:
        """Not in force yet; call `apply_worldkv`."""
        CallUnderWay.__init__(self, cache)
        Removable.__init__(self)
        self.transformer, self.branches = transformer, branches
        self._named: Any = None
        self._last: tuple[StepPlan | None, Any, Any] | None = None

    @contextmanager
    def clean_pass(self) -> Iterator[None]:
        """Marks the calls within as the clean pass, for policies that read attention mass or hidden states."""
        self.is_clean = True
        try:
            yield
        finally:
            self.is_clean = False

    def attach(self) -> None:
        """Set processors and hooks.

        Raises:
            SpecError: there are some already.
        """
        from diffusers.hooks import HookRegistry

        registry = HookRegistry.check_if_exists_or_initialize(self.transformer)
        if registry.get_hook(_HOOK) is not None:
            raise SpecError("the transformer is under a cache already; remove() that first, or set its `cache`")
        hook = context_hook()
        self._named = hook.calls
        registry.register_hook(hook, _HOOK)
        self._undo.append(lambda: registry.remove_hook(_HOOK, recurse=False))
        for handle in (
            self.transformer.register_forward_pre_hook(self._open_call, with_kwargs=True),
            self.transformer.rope.register_forward_hook(self._to_absolute_frames),
        ):
            self._undo.append(handle.remove)
        for layer, block in enumerate(self.transformer.blocks):
            own = block.attn1.processor
            self._undo.append(partial(block.attn1.set_processor, own))
            block.attn1.set_processor(WanSelfAttention(self, layer, own._attention_backend))

    # ------------------------------------------------------------------ inside

    @uncompiled
    def _open_call(self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each call of the transformer: whose branch it is, and what would be silently wrong."""
        check_alone(transformer)
        given = dict(zip(("hidden_states", "timestep", "encoder_hidden_states"), args, strict=False)) | kwargs
        latents, geometry = given["hidden_states"], self.cache.geometry
        _, rows, columns = transformer.config.patch_size
        grid = (latents.shape[3] // rows, latents.shape[4] // columns)
        if grid != (geometry.frame_rows, geometry.frame_columns):
            raise PolicyError(
                f"the latents are frames of {grid[0]} x {grid[1]} tokens, the cache's are {geometry.frame_rows} x "
                f"{geometry.frame_columns}; make the geometry by geometry_of(transformer, {latents.shape[3]}, "
                f"{latents.shape[4]})"
            )
        name = name_of(self._named)
        self.branch = self._branch_of(name, latents.shape[0])
        if name is None and geometry.branches == 1:
            self._refuse_second_prompt(given["timestep"], given["encoder_hidden_states"])

    def _branch_of(self, name: str | None, batch: int) -> int | None:
        branches = self.cache.geometry.branches
        if batch == branches > 1:
            return None
        if batch != 1:
            raise PolicyError(
                f"a call of batch {batch} fits no cache of branches={branches}; one cache is one rollout, whose batch "
                "axis is its guidance branches"
            )
        if name is None:
            if branches == 1:
                return None
            raise PolicyError(
                f"a call of batch 1 does not say which of the {branches} branches it is; make it within "
                f"transformer.cache_context(name), name one of {', '.join(self.branches)}"
            )
        branch = self.branches.get(name)
        if branch is None or branch >= branches:
            raise PolicyError(
                f"the call {name!r} is no branch of this cache, which has branches={branches} and the names "
                f"{dict(self.branches)}; make the geometry with more branches, or say branches={{{name!r}: ...}}"
            )
        return branch if branches > 1 else None

    def _refuse_second_prompt(self, timestep: Any, text: Any) -> None:
        """Two unnamed calls with two prompts at one noise level are guidance, and would overwrite each other."""
        last, self._last = self._last, (self.cache.plan, timestep, text)
        if last is None or last[0] is not self.cache.plan:
            return  # the first call of a step
        if not _equal(last[2], text) and _equal(last[1], timestep):
            raise PolicyError(
                "two calls at one timestep got two prompts, and the second would overwrite the first one's keys; make "
                'the geometry with branches=2 and the calls within transformer.cache_context("cond") and ("uncond")'
            )

    @uncompiled
    def _to_absolute_frames(self, rope: Any, args: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> Any:
        """The rotary table that `rope` returned for frames 0, 1, ..., with the chunk's own frames in its time part."""
        if self.cache.keys == "unrotated":
            return output  # nobody turns anything by it
        frames, start = args[0].shape[2] // rope.patch_size[0], self.cache.start_frame
        if start + frames > len(rope.freqs_cos):
            raise PositionError(
                f"latent frames {start} to {start + frames - 1} are past the model's rotary table, which has 0 to "
                f'{len(rope.freqs_cos) - 1}; end the rollout earlier, or take keys="unrotated" under a policy with '
                "positions=relative"
            )
        moved = []
        for whole, table in zip(output, (rope.freqs_cos, rope.freqs_sin), strict=True):
            time = table[start : start + frames, : rope.t_dim].repeat_interleave(whole.shape[1] // frames, 0)
            moved.append(whole.clone())
            moved[-1][0, :, 0, : rope.t_dim] = time
        return tuple(moved)


def check_alone(transformer: Any) -> None:
    """Refuse what splits or skips the attention that the cache stands for.

    Raises:
        SpecError: context or tensor parallelism, or a cache of diffusers, is on.
    """
    configs = [transformer._parallel_config] + [block.attn1.processor._parallel_config for block in transformer.blocks]
    if any(config is not None for config in configs):
        raise SpecError(
            "the model is split over devices by diffusers (enable_parallelism), which would split the window's keys "
            "once more; run it without, one cache a rank"
        )
    if transformer.is_cache_enabled:
        raise SpecError(
            f"{type(transformer._cache_config).__name__} skips blocks or attention, and what is skipped would be "
            "missing in the window; call transformer.disable_cache() first"
        )


def _equal(one: Any, other: Any) -> bool:
    import torch

    same = one.shape == other.shape and one.device == other.device and one.dtype == other.dtype
    return same and (one.data_ptr() == other.data_ptr() or torch.equal(one, other))
