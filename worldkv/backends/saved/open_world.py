"""Open a saved world: check that it is whole and of what was given, then make the cache and fill it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from worldkv.backend import Traffic
from worldkv.backends.bank.disk import DiskChunk
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.spill_folders import Folders
from worldkv.backends.saved.cache_facts import (
    cache_facts,
    check_alike,
    config_of_facts,
    geometry_facts,
    scene_of_facts,
)
from worldkv.backends.saved.open_cache import OpenCache
from worldkv.backends.saved.placement import place_again
from worldkv.backends.saved.values import DTYPES, decode
from worldkv.backends.saved.world_folder import Lease, SavedFile, WorldFolder
from worldkv.backends.window.run_layout import Extent, RunLayout
from worldkv.chunks import ChunkTable, Tier
from worldkv.config import CacheConfig
from worldkv.engine.saved_state import read_state, read_table
from worldkv.errors import SavedWorldError, WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.scene import Scene
from worldkv.signals import Measured, Signal
from worldkv.tiers import banked_rows

if TYPE_CHECKING:
    from worldkv.engine.state import EngineState

C = TypeVar("C", bound=OpenCache)

_WRONG = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError, RecursionError)
"""What a document that was made up raises where it is read."""


def open_world(
    make: Callable[..., C],
    folder: str | os.PathLike[str],
    policy: CachePolicy,
    geometry: CacheGeometry,
    *,
    device: str,
    scene: Scene | None,
    config: CacheConfig | None,
    spill_folder: Folders,
    share_bank: bool,
    **made_with: Any,
) -> C:
    """See `WorldCache.open`; `made_with` are further arguments of the cache."""
    place = WorldFolder(folder)
    lease = Lease(place.path)
    world, where = place.read(), str(place.path)
    with _told_as_damage(place):
        facts = world["facts"]
        saved_config = config_of_facts(facts["config"])
        form = _form(facts["form"])
        dtype = DTYPES[facts["dtype"]]
        if scene is None:
            scene = scene_of_facts(facts["scene"], where)
        signals = frozenset(Signal[name] for name in facts["signals"])
        capacity = None
        if not world["window"]["grows"] and (config or saved_config) == saved_config:
            capacity = _whole(world["window"]["capacity"])
    given = made_with.pop("dtype") or dtype
    if given is not dtype:
        raise SavedWorldError(
            f"{where} was saved under another dtype of keys and values: it is {facts['dtype']} there and "
            f"{str(given).removeprefix('torch.')} here; open it with the dtype that it was saved under"
        )
    shape = {"geometry": geometry_facts(geometry)}
    check_alike({**shape, "geometry": facts.get("geometry")}, shape, where)
    cache = make(
        policy,
        geometry,
        device=device,
        dtype=dtype,
        scene=scene,
        config=config or saved_config,
        capacity_tokens=capacity,
        folder=spill_folder,
        extra_signals=signals,
        **form,
        **made_with,
    )
    try:
        check_alike(facts, cache_facts(cache), where)
        with _told_as_damage(place):
            _fill(cache, world, place, saved_config, lease if share_bank else None)
    except BaseException:
        cache.close()
        raise
    return cache


def _fill(
    cache: OpenCache, world: Mapping[str, Any], place: WorldFolder, before: CacheConfig, lease: Lease | None
) -> None:
    """Bring an empty cache to where the saved one stood."""
    tensors = _tensors(place, SavedFile.of(world["tensors"]))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if tensor.dtype is not torch.bfloat16}
    engine, backend, table = cache.engine, cache.backend, cache.engine.table
    read_table(table, arrays, _whole(world["chunks"]))
    state = read_state(world["state"], arrays, table, before.bank_limits(table.geometry.chunk_bytes))
    staged = [_whole(chunk) for chunk in world["staged"]]
    if set(staged) != set(state.staged):
        raise ValueError("chunks wait prefetched that the engine does not know")
    place_again(state, table, before, engine.config)
    _fill_window(cache, world["window"], place, state)
    _fill_bank(cache, world["bank"], place, table, lease)
    hidden = {_whole(chunk): tensors[f"hidden.{chunk}"].to(backend.ops.device) for chunk in world["hidden"]}
    backend.take_in(
        [chunk for chunk in staged if chunk in state.staged], Traffic(*map(_whole, world["traffic"])), hidden
    )
    engine.take_in(table, state)
    measured = world["measured"]
    cache.measured = None if measured is None else Measured(**decode(measured, tensors))
    cache.extra = decode(world["extra"], tensors)


def _fill_window(cache: OpenCache, window: Mapping[str, Any], place: WorldFolder, state: EngineState) -> None:
    arena = cache.backend.arena
    layouts = [RunLayout() for _ in arena.groups]
    chunks = [(_whole(entry["chunk"]), entry["places"], SavedFile.of(entry["file"])) for entry in window["chunks"]]
    for chunk, places, _ in chunks:
        for layout, pieces in zip(layouts, places, strict=True):
            layout.extents[chunk] = [Extent(_whole(start), _whole(tokens)) for start, tokens in pieces]
            layout.length += layout.tokens(chunk)
    for layout in layouts:
        _check_tiled(layout)
    expected = {*state.window_ids.tolist(), *state.replicas, *state.leaving}
    if {chunk for chunk, _, _ in chunks} != expected or len(chunks) != len(expected):
        raise ValueError("the window holds other chunks than the engine knows")
    turned = {_whole(chunk): int(frames) for chunk, frames in window["turned"]}
    if not turned.keys() <= expected or (turned and not arena.form.is_rebased):
        raise ValueError("keys are turned that are not there")
    arena.take_in(layouts, _whole(window["capacity"]), turned)
    for chunk, _, file in chunks:
        shapes = arena.shapes_of(chunk)
        sizes = [int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes]
        if file.num_bytes != sum(sizes):
            raise ValueError("a chunk of the window has another size than its tokens")
        content = np.empty(file.num_bytes, np.uint8)
        place.read_chunk(file, chunk, content)
        parts = torch.split(torch.from_numpy(content), sizes)
        typed = (part.clone().view(dtype) for part, (_, dtype) in zip(parts, shapes, strict=True))
        arena.put(chunk, typed)


def _fill_bank(
    cache: OpenCache, entries: list[Any], place: WorldFolder, table: ChunkTable, lease: Lease | None
) -> None:
    bank, form = cache.backend.bank, cache.backend.form
    tier = table.columns["tier"]
    for entry in entries:
        chunk, file = _whole(entry["chunk"]), SavedFile.of(entry["file"])
        if tier[chunk] == Tier.NONE:
            continue  # the bank of now is smaller, and has forgotten it
        counts = tuple(_whole(count) for count in entry["counts"])
        packing = None
        if entry["packed"] is not None:
            tokens, stored_as = entry["packed"]
            packing = Packing(form, _whole(tokens), stored_as)
        elements = _whole(entry["elements"])
        expected = cache.backend.arena.stored_elements(counts) if packing is None else packing.elements
        if (
            elements != expected
            or file.num_bytes != elements * form.dtype.itemsize
            or len(counts) != len(cache.backend.arena.groups)
        ):
            raise ValueError("a banked chunk has another size than its tokens")
        home = Tier(int(tier[chunk]))
        is_shared = lease is not None and home is not Tier.SPARE  # what is to lie on a device is brought there
        place.check(file)
        host, lies = None, DiskChunk(chunk, place.path / file.name, file.num_bytes, file.crc32, lease)
        if not is_shared:
            host = bank.pool.take(elements, host_writes=True)
            place.read_chunk(file, chunk, host.tensor.view(torch.uint8).numpy())
            if home is Tier.DISK:  # read all the same: what is damaged is told now, not at some later step
                host, lies = None, bank.brought_in(chunk, lies.path, file.num_bytes, file.crc32)
        bank.take_in(
            chunk,
            counts,
            packing,
            elements,
            str(entry["token"]),
            file=lies,
            host=host,
            home=home,
            is_shared=is_shared,
        )
    if set(bank.stored) != set(banked_rows(table).tolist()):
        raise ValueError("the bank holds other chunks than the engine knows")


def _check_tiled(layout: RunLayout) -> None:
    """Refuse places that do not fill the run, each once."""
    behind = 0
    for piece in sorted(piece for pieces in layout.extents.values() for piece in pieces):
        if piece.start != behind or not piece.tokens:
            raise ValueError("places of the window are taken twice, or by nobody")
        behind = piece.end


def _tensors(place: WorldFolder, file: SavedFile) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = place.read_bytes(file)
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise place.damaged(file.name, str(error)[:200]) from None
    return tensors


def _form(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How the model hands over its keys, as arguments of the cache."""
    pad_to = facts["pad_to"]
    return {
        "keys": str(facts["keys"]),
        "is_causal": facts["is_causal"] is True,
        "is_tagged": facts["is_tagged"] is True,
        "riders": _whole(facts["riders"]),
        "pad_to": None if pad_to is None else _whole(pad_to),
    }


def _whole(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 62:
        raise ValueError(f"{number!r} is no count")
    return number


@contextlib.contextmanager
def _told_as_damage(place: WorldFolder) -> Iterator[None]:
    """What reading nonsense raises, as one sentence."""
    try:
        yield
    except WorldKVError:
        raise
    except _WRONG as error:
        raise place.damaged("world.json", f"{type(error).__name__}: {str(error)[:200]}") from None
