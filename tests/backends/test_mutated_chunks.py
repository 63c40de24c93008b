"""Bytes of a stored chunk's file are changed: it reads as it was stored, or it is lost, in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from tests.trajectory.test_mutated_files import assert_sentence, changed
from worldkv.backends.bank.disk import DiskStore
from worldkv.errors import LostChunkError

EXAMPLES = int(os.environ.get("WORLDKV_FUZZ_EXAMPLES") or 40)


def test_changed_chunks_are_as_they_were_or_lost(tmp_path: Path) -> None:
    store, content = DiskStore(tmp_path), torch.arange(2000).to(torch.uint8)
    stored = store.write(3, content)
    whole = stored.path.read_bytes()
    lost = 0

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(changed(whole))
    def change(now: bytes) -> None:
        nonlocal lost
        stored.path.write_bytes(now)
        room = torch.zeros(2000, dtype=torch.uint8)
        try:
            store.read(stored, room)
            assert torch.equal(room, content)
        except LostChunkError as error:
            lost += 1
            assert_sentence(error)

    change()
    change_to = whole[:9] + b'{"a":' * 40_000 + whole[9:]
    stored.path.write_bytes((200_000).to_bytes(8, "little") + change_to)
    with pytest.raises(LostChunkError, match="altered"):
        store.read(stored, torch.zeros(2000, dtype=torch.uint8))
    assert lost > EXAMPLES // 2
