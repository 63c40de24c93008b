"""Command lines that repeat each stage of `worldkv promote` by itself."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldkv.experiments.promotion_stages import PromoteRequest
    from worldkv.geometry import CacheGeometry

RECORDING = "recording.safetensors"
"""File in the commands for a recording of what only a model can tell."""


def commands(
    request: PromoteRequest, geometry: CacheGeometry, specs: list[str], *, is_replayed: bool
) -> dict[str, str]:
    """A command line for each stage; a policy that the simulator replays is recorded first.

    Args:
        request: the options of the promotion.
        geometry: its geometry, for sizes that the spec gives in chunks.
        specs: the policies compared, at the sizes they ran at.
        is_replayed: whether the simulator needs a recording.
    """
    from worldkv.specs.parse import in_frames

    shape, seed = _options(geometry=request.geometry), _options(seed=request.seed)
    seen = _options(view_distance=request.view_distance)
    part = [*_options(chunks=request.chunks, fps=request.fps, format=request.format), *seen]
    device, passes, machine = (_options(**{name: getattr(request, name)}) for name in ("device", "passes", "machine"))
    own = [request.trajectory, "--policy", request.spec, *shape, *device, *part, *seed]
    numbers = [] if request.dtype == "auto" else _options(dtype=request.dtype)
    run = ["run", *own, *passes, *numbers, *machine]
    source, read = (RECORDING, seen) if is_replayed else (request.trajectory, part)
    policies = [word for spec in specs for word in ("--policy", spec)]
    simulate = _line("compare", source, *policies, *shape, *read, *seed, *machine, "--no-floor")
    if is_replayed:
        simulate = f"{_line(*run, '--record', RECORDING)}; {simulate}"
    checked = in_frames(request.spec, geometry)
    return {
        "check": _line("check", checked, *_options(examples=request.examples), *seed),
        "simulate": simulate,
        "parity": _line("parity", *own, *(passes if is_replayed else [])),
        "run": _line(*run),
    }


def _options(**values: object) -> list[str]:
    """`--name value` for every value that is given."""
    named = ((f"--{name.replace('_', '-')}", str(value)) for name, value in values.items() if value is not None)
    return [word for pair in named for word in pair]


def _line(*words: str) -> str:
    return shlex.join(("worldkv", *words))
