"""Save a cache to a folder: window, bank, table, engine state, what was measured, and the model's own state beside."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from worldkv.backends.saved.cache_facts import cache_facts
from worldkv.backends.saved.open_cache import OpenCache
from worldkv.backends.saved.values import encode
from worldkv.backends.saved.world_folder import SavedFile, SaveInProgress, WorldFolder
from worldkv.engine.saved_state import Arrays, state_document, table_arrays
from worldkv.errors import LostChunkError, PolicyError, SpecError

if TYPE_CHECKING:
    from worldkv.backends.bank.bank import Bank
    from worldkv.backends.window.arena import Arena


def save_world(cache: OpenCache, folder: str | os.PathLike[str], extra: Mapping[str, Any] | None) -> None:
    """See `WorldCache.save`."""
    engine, backend = cache.engine, cache.backend
    if cache.is_in_group:
        raise PolicyError("a cache that shares its rollout with other ranks is not saved; save one that runs alone")
    engine.check_between_steps("save")
    facts = cache_facts(cache)
    tensors: dict[str, Tensor] = {}
    told = encode(dict(extra or {}), tensors, "extra")
    measured = None if cache.measured is None else encode(_fields_of(cache.measured), tensors, "measured")
    backend.settle()
    with WorldFolder(folder).writing() as save:
        bank = _save_bank(cache, save)  # may give up chunks that are lost: so it comes first
        arrays: Arrays = {}
        state = state_document(engine.state, arrays)
        arrays |= table_arrays(engine.table)
        tensors |= {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}
        hidden = backend.hidden.table()
        tensors |= {f"hidden.{chunk}": of_chunk.cpu().contiguous() for chunk, of_chunk in hidden.items()}
        window = _save_window(backend.arena, save)
        file = save.write_bytes(f"state-{save.token}", _safetensors(tensors))
        world = {
            "chunks": len(engine.table),
            "facts": facts,
            "state": state,
            "window": window,
            "bank": bank,
            "hidden": sorted(hidden),
            "staged": list(backend.staged),
            "traffic": list(backend.traffic()),
            "measured": measured,
            "extra": told,
            "tensors": list(file),
        }
        save.finish(world, {file.name, *(entry["file"][0] for entry in (*bank, *window["chunks"]))})


def _save_window(arena: Arena, save: SaveInProgress) -> dict[str, Any]:
    """Every chunk of the window in a file, and where in the run it stands: the order of keys is part of the bits."""
    chunks = []
    for chunk in arena.chunks():
        parts = [part.flatten().view(torch.uint8).cpu() for part in arena.whole(chunk)]
        content = np.ascontiguousarray(torch.cat(parts).numpy()) if parts else np.empty(0, np.uint8)
        file = save.write_chunk(f"window-{chunk:06}-{save.token}", chunk, content)
        places = [[list(piece) for piece in group.layout.extents[chunk]] for group in arena.groups]
        chunks.append({"chunk": chunk, "places": places, "file": list(file)})
    return {
        "capacity": arena.capacity,
        "grows": arena.can_grow,
        "turned": [[chunk, frames] for chunk, frames in arena.turned.items()],
        "chunks": chunks,
    }


def _save_bank(cache: OpenCache, save: SaveInProgress) -> list[dict[str, Any]]:
    """Every banked chunk in a file of its own; those that the older world has already are not written again."""
    bank, entries = cache.backend.bank, []
    older = _files_by_token(save)
    for chunk in list(bank.stored):
        try:
            entries.append(_saved_chunk(bank, chunk, older, save))
        except LostChunkError:
            if cache.engine.config.when_lost == "error":
                raise
            cache.engine.give_up(chunk)
    return entries


def _saved_chunk(bank: Bank, chunk: int, older: dict[str, SavedFile], save: SaveInProgress) -> dict[str, Any]:
    stored, stem = bank.stored[chunk], f"bank-{chunk:06}"
    file = older.get(stored.token)
    if file is None:
        stem, lies = f"{stem}-{stored.token}-{save.token}", bank.in_file(chunk)
        if lies is not None:
            file = save.link(stem, lies.path, lies.num_bytes, lies.crc32)
        if file is None:
            file = save.write_chunk(stem, chunk, bank.as_stored(chunk).numpy())
    packing = stored.packing
    return {
        "chunk": chunk,
        "counts": list(stored.counts),
        "elements": stored.elements,
        "packed": None if packing is None else [packing.tokens, packing.stored_as],
        "token": stored.token,
        "file": list(file),
    }


def _files_by_token(save: SaveInProgress) -> dict[str, SavedFile]:
    """The bank's files of the world that counts now, by what they hold, as far as they are there."""
    try:
        entries = [] if save.before is None else save.before["bank"]
        found = {str(entry["token"]): SavedFile.of(entry["file"]) for entry in entries}
    except (ValueError, KeyError, TypeError):
        return {}
    return {token: file for token, file in found.items() if save.has(file)}


def _fields_of(measured: Any) -> dict[str, Any]:
    values = {field.name: getattr(measured, field.name) for field in dataclasses.fields(measured)}
    return {name: value for name, value in values.items() if value is not None}


def _safetensors(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    try:
        content: bytes = save(tensors)
    except (ValueError, KeyError, RuntimeError) as error:
        raise SpecError(f"the tensors beside the cache cannot be saved: {error}") from None
    return content
