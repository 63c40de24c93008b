"""What a pipeline tells of its caches: their form, its model, its token grid."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import nn

from worldkv.adapters.self_forcing.watched import PATCH
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry

_MODELS = ("generator.model", "generator", "model", "transformer")
KEYS = frozenset({"k", "v", "global_end_index", "local_end_index"})
"""What a cache of the family has, and nothing else."""
_FOREIGN = {"updating_cache": "generates several chunks at a time", "use_relative_rope": "writes its cache later"}


class Form(NamedTuple):
    """What the pipeline's lists of caches are like."""

    batch: int
    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device


def is_list_of_caches(value: Any) -> bool:
    """Whether a pipeline's attribute, or what its method returns, is one list of self-attention caches."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "global_end_index" in one for one in value)
    )


def form_of(caches: list[dict[str, Any]], device: torch.device) -> Form:
    """The shape of a list of dicts on the meta device; refused where it has more to it than slots stand for."""
    more = set(caches[0]) - KEYS
    shape = tuple(getattr(caches[0]["k"], "shape", ()))
    if more or len(shape) != 4:
        raise SpecError(
            f"the pipeline's caches have {', '.join(sorted(more)) or 'keys of another form'}, which slots do not stand "
            f"for; {PATCH}"
        )
    return Form(shape[0], len(caches), shape[2], shape[3], caches[0]["k"].dtype, device)


def model_of(pipeline: Any) -> nn.Module | None:
    """The transformer of a pipeline, where it has one under a known name."""
    for path in _MODELS:
        found = pipeline
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, nn.Module):
            return found
    return None


def check_modules(model: nn.Module) -> None:
    """Refuse attention modules that do not use their cache as slots expect.

    Raises:
        SpecError: naming the module's class.
    """
    for module in model.modules():
        if getattr(module, "rope_cache_policy", "absolute") != "absolute":
            raise SpecError(
                f"{type(module).__name__} caches keys before their rotary positions "
                f"(rope_cache_policy={module.rope_cache_policy!r}); set it to 'absolute', or {PATCH}"
            )
        known = inspect.signature(module.forward).parameters
        for parameter, does in _FOREIGN.items():
            if "kv_cache" in known and parameter in known and hasattr(module, "num_heads"):
                raise SpecError(f"{type(module).__name__} {does} ({parameter}); {PATCH}")


def grid_of(pipeline: Any, model: nn.Module | None, form: Form) -> CacheGeometry:
    """The geometry as far as a pipeline tells it: tokens a frame, frames a chunk, length of the rotary table."""
    tokens = getattr(pipeline, "frame_seq_length", None)
    owners = (pipeline, model)
    names = ("num_frame_per_block", "num_frames_per_block")
    frames = next((getattr(owner, name) for owner in owners for name in names if hasattr(owner, name)), None)
    grids = {
        (preset.frame_rows, preset.frame_columns) for preset in PRESETS.values() if preset.tokens_per_frame == tokens
    }
    if not isinstance(frames, int) or len(grids) != 1:
        raise SpecError(
            f"{type(pipeline).__name__} does not say its token grid and frames a chunk (frame_seq_length={tokens}, "
            f"num_frame_per_block={frames}); hand install(..., geometry=...)"
        )
    ((rows, columns),) = grids
    table = getattr(model, "freqs", None)
    length = len(table) if isinstance(table, torch.Tensor) else 1024
    return CacheGeometry(
        form.layers, form.kv_heads, form.kv_heads, form.head_dim, rows, columns, frames, rope_frames=length
    )
