"""Views: slices of the table where chunks are one run, read-only everywhere, closed to what was not declared."""

from __future__ import annotations

import numpy as np
import pytest

from tests.parts.bank import bank_of
from worldkv.chunks import ChunkTable
from worldkv.errors import PolicyError, SignalError
from worldkv.geometry import PRESETS
from worldkv.pose import ChunkPose
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.views import BankView, ChunkRows

TINY = PRESETS["tiny"]


def test_a_run_of_chunks_is_a_slice_and_holes_are_a_copy() -> None:
    table = ChunkTable(TINY, frozenset({Signal.POSE}), 8)
    run = BankView(table, slice(1, 5), table.signals)
    assert np.shares_memory(run.poses.positions, table.columns["pose.positions"])
    assert np.shares_memory(run.tokens, table.columns["tokens"])
    holes = BankView(table, np.array([1, 3]), table.signals)
    assert holes.ids.tolist() == [1, 3]
    assert not np.shares_memory(holes.tokens, table.columns["tokens"])


@pytest.mark.parametrize("rows", [slice(2, 7), np.array([1, 3, 4, 8])], ids=["run", "holes"])
@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_the_oldest_are_the_first_rows_of_every_column(rows: slice | np.ndarray, count: int) -> None:
    table = ChunkTable(TINY, frozenset({Signal.POSE}), 8)
    for chunk in range(9):
        table.append(Viewpoint(ChunkPose.of(np.tile(np.eye(4), (3, 1, 1)) + 0.01 * chunk * np.eye(4, k=3))), None)
    bank = BankView(table, rows, table.signals)
    older = bank.oldest(count)
    assert isinstance(older, BankView) and len(older) == min(count, len(bank))
    assert (older.step, older.geometry) == (9, TINY)
    for shown, all_of_it in (
        (older.ids, bank.ids),
        (older.ages, bank.ages),
        (older.poses.positions, bank.poses.positions),
    ):
        assert shown.tolist() == all_of_it[:count].tolist()
    assert len(bank.ids) == len(bank.tokens), "the view it was taken from is as it was"
    assert np.shares_memory(older.tokens, table.columns["tokens"]) == (isinstance(rows, slice) and count > 0)
    with pytest.raises(SignalError):
        _ = older.action_poses


def test_nothing_handed_out_can_be_written() -> None:
    _, bank = bank_of(np.zeros((4, 3, 3)), np.tile(np.eye(3), (4, 3, 1, 1)))
    for values in (bank.ids, bank.tokens, bank.frame_tokens, bank.last_used, bank.poses.positions):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


@pytest.mark.parametrize(
    "name", ["poses", "action_poses", "attention_mass", "key_mean", "key_min", "key_max", "landmarks"]
)
def test_undeclared_signals_are_refused_by_name(name: str) -> None:
    view = ChunkRows(ChunkTable(TINY, frozenset()), slice(0, 0), frozenset())
    with pytest.raises(SignalError, match="without declaring it; add Signal"):
        getattr(view, name)


def test_a_table_grows_and_keeps_its_rows() -> None:
    table = ChunkTable(TINY, frozenset({Signal.KEY_SUMMARY, Signal.ATTENTION_MASS}), 2)
    shape = (TINY.layers, TINY.kv_heads, TINY.head_dim)
    for row in range(9):
        measured = Measured(*(np.full(shape, row + part) for part in (0.0, 0.25, 0.5)))
        assert table.append(Viewpoint(), measured) == row
        table.write("attention_mass", row, row / 2)
    rows = ChunkRows(table, slice(0, 9), table.signals)
    assert rows.key_mean[:, 0, 0, 0].tolist() == list(range(9))
    assert rows.key_max[4].max() == 4.5
    assert rows.attention_mass.tolist() == [row / 2 for row in range(9)]
    assert rows.ages.tolist() == list(range(9, 0, -1))
    assert rows.tokens.tolist() == [TINY.chunk_tokens] * 9
    with pytest.raises(PolicyError, match="committed without its key_mean"):
        table.append(Viewpoint(), None)
