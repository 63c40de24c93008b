"""diffusers' `WanTransformer3DModel` under a WorldCache, its source unedited.

Read against diffusers 0.42.1. The model has no cache of its own, and its rotary positions start at frame 0 in every
call. So each block's `attn1` gets an attention processor that asks the cache for its keys and values, and what
`transformer.rope` returns is moved to the chunk's absolute frames. Cross attention, modulation and kernel stay the
model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from worldkv.backends.uncompiled import uncompiled
from worldkv.errors import PolicyError, PositionError, SpecError, WorldKVError
from worldkv.geometry import CacheGeometry

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache

BRANCHES: Mapping[str, int] = {"cond": 0, "uncond": 1}
"""What diffusers' pipelines call the two calls of guidance (`transformer.cache_context`), and their branches."""
_HOOK = "worldkv"


def geometry_of(
    transformer: Any,
    latent_height: int,
    latent_width: int,
    *,
    frames_per_chunk: int = 3,
    branches: int = 1,
    temporal_stride: int = 4,
) -> CacheGeometry:
    """The cache's shape for a transformer and a size of latents.

    Args:
        transformer: a `WanTransformer3DModel`, or another whose config has the same names.
        latent_height: rows of the latents, before they are cut into patches.
        latent_width: columns of the latents.
        frames_per_chunk: latent frames generated together.
        branches: 2 where guidance runs a conditional and an unconditional branch.
        temporal_stride: video frames that become one latent frame.

    Raises:
        SpecError: the latents are no whole patches.
    """
    config = transformer.config
    _, rows, columns = config.patch_size
    if latent_height % rows or latent_width % columns:
        raise SpecError(
            f"latents of {latent_height} x {latent_width} are not whole patches of {rows} x {columns}, and the model "
            "would cut them; take multiples"
        )
    return CacheGeometry(
        layers=config.num_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_attention_heads,
        head_dim=config.attention_head_dim,
        frame_rows=latent_height // rows,
        frame_columns=latent_width // columns,
        frames_per_chunk=frames_per_chunk,
        itemsize=transformer.dtype.itemsize,
        temporal_stride=temporal_stride,
        rope_frames=config.rope_max_seq_len,
        branches=branches,
        name=type(transformer).__name__,
    )


def apply_worldkv(transformer: Any, cache: WorldCache, *, branches: Mapping[str, int] = BRANCHES) -> Attachment:
    """Put the transformer's self attention under `cache`, until `remove` of what is returned.

    Guidance may run on the batch axis, or as two calls on one cache, each within `transformer.cache_context(name)` as
    diffusers' own pipelines make them. A second expert (`transformer_2` of Wan 2.2) takes further branches of the same
    cache, `branches={"cond": 2, "uncond": 3}`; every branch runs one pass before each commit.

    Args:
        transformer: a `WanTransformer3DModel`.
        cache: of the model's geometry (`geometry_of`).
        branches: which branch of the cache a call within `cache_context(name)` is.

    Raises:
        WorldKVError: diffusers is not installed.
        SpecError: another model class, a geometry that is not the model's, a model that is split over devices, under
            a cache of diffusers, or under a WorldCache already.
    """
    try:
        from diffusers import WanTransformer3DModel
    except ImportError as missing:
        raise WorldKVError(
            "the adapter of diffusers needs diffusers, which is not installed; pip install 'worldkv[diffusers]'"
        ) from missing
    if not isinstance(transformer, WanTransformer3DModel):
        raise SpecError(
            f"apply_worldkv takes a WanTransformer3DModel, got {type(transformer).__name__}, whose attention and "
            "positions may differ; call cache.window in its attention yourself"
        )
    check_geometry(transformer, cache.geometry)
    _check_alone(transformer)
    attachment = Attachment(transformer, cache, branches)
    attachment.attach()
    return attachment


class Attachment:
    """A transformer under a cache; as a context manager it removes itself.

    Attributes:
        transformer: the model.
        cache: the rollout's cache; set another of the same geometry for the next rollout.
        branches: branch by name of the call.
        branch: branch of the call under way; None where the batch axis carries all of them.
        is_clean: whether calls are marked as the clean pass.
    """

    def __init__(self, transformer: Any, cache: WorldCache, branches: Mapping[str, int]) -> None:
        """Not in force yet; call `apply_worldkv`."""
        self.transformer, self.cache, self.branches = transformer, cache, branches
        self.branch: int | None = None
        self.is_clean = False
        self._undo: list[Callable[[], object]] = []
        self._named: Any = None
        self._last: tuple[int, Any, Any] | None = None

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
        hook = _context_hook()
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

    def remove(self) -> None:
        """Give the model its own processors and positions back; the second time nothing happens."""
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    # ------------------------------------------------------------------ inside

    @uncompiled
    def _open_call(self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each call of the transformer: whose branch it is, and what would be silently wrong."""
        _check_alone(transformer)
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
        name = _name_of(self._named)
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
        last, self._last = self._last, (self.cache.start_frame, timestep, text)
        if last is None or last[0] != self.cache.start_frame:
            return
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


class WanSelfAttention:
    """The attention processor of one block's `attn1`: the cache's keys and values, the model's own kernel.

    Attributes:
        attachment: whose cache, and which call is under way.
        layer: number of the block.
    """

    _parallel_config = None

    def __init__(self, attachment: Attachment, layer: int, backend: Any) -> None:
        """`backend` is the kernel that was set for the block; `transformer.set_attention_backend` changes it."""
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        self.attachment, self.layer, self._attention_backend = attachment, layer, backend
        self._dispatch = dispatch_attention_fn

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """Attention of the chunk over the window and itself; shapes as in diffusers' own processor.

        Raises:
            PolicyError: an attention mask came along, and as for `WorldCache.window`.
        """
        if attention_mask is not None:
            raise PolicyError("an attention mask cannot be laid over a window that changes; leave it out")
        cache, attachment = self.attachment.cache, self.attachment
        if getattr(attn, "fused_projections", False):
            queries, keys, values = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            queries, keys, values = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        heads = (attn.heads, -1)
        queries, keys = attn.norm_q(queries).unflatten(2, heads), attn.norm_k(keys).unflatten(2, heads)
        values = values.unflatten(2, heads)
        if rotary_emb is not None and cache.keys == "rotated":
            queries, keys = rotate(queries, *rotary_emb), rotate(keys, *rotary_emb)
        clean, branch = attachment.is_clean, attachment.branch
        hidden = hidden_states if clean else None
        if cache.policy.ragged:
            attended = cache.attend(self.layer, queries, keys, values, clean, hidden, branch=branch)
        else:
            keys, values = cache.window(
                self.layer, keys, values, branch=branch, queries=queries, clean=clean, hidden=hidden
            )
            if cache.keys == "unrotated":
                queries = cache.rotate(queries)
            mask = None if cache.valid_tokens is None else cache.valid_tokens[None, None, None]
            attended = self._dispatch(queries, keys, values, attn_mask=mask, backend=self._attention_backend)
        attended = attended.flatten(2, 3).type_as(queries)
        return attn.to_out[1](attn.to_out[0](attended))


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Adjacent channel pairs of `x` `(batch, tokens, heads, head_dim)` turned by the model's table.

    Args:
        x: queries or keys.
        cosine: `(1, tokens, 1, head_dim)`, every value twice.
        sine: likewise.
    """
    turned = x.new_empty(x.shape)
    first, second, cosine, sine = x[..., 0::2], x[..., 1::2], cosine[..., 0::2], sine[..., 0::2]
    turned[..., 0::2] = first * cosine - second * sine
    turned[..., 1::2] = first * sine + second * cosine
    return turned


def check_geometry(transformer: Any, geometry: CacheGeometry) -> None:
    """Refuse a cache that is not the model's.

    Raises:
        SpecError: a number differs.
    """
    config = transformer.config
    for name, own, given in (
        ("layers", config.num_layers, geometry.layers),
        ("heads", config.num_attention_heads, geometry.heads),
        ("kv_heads", config.num_attention_heads, geometry.kv_heads),
        ("head_dim", config.attention_head_dim, geometry.head_dim),
    ):
        if own != given:
            raise SpecError(f"the model has {own} {name}, the cache's geometry {given}; make it by geometry_of")
    if geometry.rope_frames > config.rope_max_seq_len:
        raise SpecError(
            f"the model's rotary table has {config.rope_max_seq_len} frames, the cache's geometry says "
            f"{geometry.rope_frames}; make it by geometry_of"
        )


def _check_alone(transformer: Any) -> None:
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


def _context_hook() -> Any:
    """A hook that does nothing but hear the name of `transformer.cache_context`."""
    from diffusers.hooks import ModelHook
    from diffusers.hooks.hooks import BaseState, StateManager

    class ContextHook(ModelHook):  # type: ignore[misc]
        _is_stateful = True  # only these are told

        def __init__(self) -> None:
            super().__init__()
            self.calls = StateManager(BaseState)

        def reset_state(self, module: Any) -> Any:
            return module

    return ContextHook()


def _name_of(calls: Any) -> str | None:
    """Name of the call under way; None outside of `cache_context`."""
    try:
        name: str = calls.context.name
    except ValueError:  # that is how diffusers says that there is none
        return None
    return name


def _equal(one: Any, other: Any) -> bool:
    import torch

    same = one.shape == other.shape and one.device == other.device and one.dtype == other.dtype
    return same and (one.data_ptr() == other.data_ptr() or torch.equal(one, other))
