"""Bytes of weight files are changed: what cannot be read is refused in one short, printable sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.policies import weight_files
from tests.trajectory.test_mutated_files import assert_sentence, changed
from worldkv.errors import SpecError
from worldkv.parts.scorer.anchor_penalty import load_direction
from worldkv.parts.scorer.learned_utility import loaded

EXAMPLES = int(os.environ.get("WORLDKV_FUZZ_EXAMPLES") or 40)


@pytest.mark.parametrize(
    ("write", "read"),
    [(weight_files.utility_weights, loaded), (weight_files.anchor_direction, load_direction)],
    ids=["utility", "direction"],
)
def test_changed_weights_are_read_or_refused(write: Callable[[], str], read: Any, tmp_path: Path) -> None:
    whole, file = Path(write()).read_bytes(), tmp_path / "weights.safetensors"

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(changed(whole))
    def change(content: bytes) -> None:
        file.write_bytes(content)
        read.cache_clear()
        try:
            read(str(file))
        except SpecError as error:
            assert_sentence(error)

    change()
