"""The comparison with other caches: every row is there, all give what bare attention gives, and bytes are right."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import beside_peers
from benchmarks.beside_peers import BARE, PEERS, compare, table
from benchmarks.peer_costs import Copied, Costs, costs_apart, count
from benchmarks.peer_windows import RollingDict
from benchmarks.peer_work import WORKS, Job, job, least_like_anchor, turned
from worldkv import parse_geometry
from worldkv.backends import Rotary
from worldkv.parts import WorldCompression
from worldkv.views import ChunkView

TOY = "tiny:frame_rows=2,frame_columns=3"
PASSES, PAIRS = 2, 3
GEOMETRY = parse_geometry(TOY)
CHUNK_BYTES = GEOMETRY.chunk_bytes // GEOMETRY.layers
"""Keys and values of a chunk in one layer."""


def test_every_cache_gives_what_bare_attention_gives() -> None:
    rows = compare(TOY, PASSES, PAIRS, "cpu", counts=False)
    assert [(row.work, row.name) for row in rows] == [
        (work, name) for work, peers in PEERS.items() for name in (*peers, BARE)
    ]
    assert all(row.error < 2e-5 for row in rows)
    missing = {"transformers offloaded layer"}
    if importlib.util.find_spec("flashdreams") is None:
        missing.add("FlashDreams BlockKVCache")
    assert {row.name for row in rows if row.beyond is None} == missing
    shown = table(rows)
    assert all(f"| {row.work} | {row.name} |" in shown for row in rows)
    assert "not run: its offloading calls torch.cuda, whatever the device" in shown


def test_a_cache_that_gives_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(RollingDict):
        def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
            return super().attend(layer, queries, keys, values * (0.999 if clean else 1), clean=clean)

    monkeypatch.setitem(PEERS, "sliding window", {"forgetful": Forgetful})
    with pytest.raises(AssertionError, match="sliding window, step 0: forgetful differs by"):
        compare(TOY, PASSES, PAIRS, "cpu", counts=False)


# ---------------------------------------------------------------------- bytes, by arithmetic


def counted(work: str, name: str) -> Costs:
    return count(work, name, TOY, PASSES, "cpu", None, Copied())


def mib(chunks_a_layer: float) -> float:
    """So many chunks' keys and values in every layer, of whole chunks."""
    return chunks_a_layer * CHUNK_BYTES * GEOMETRY.layers / 2**20


def test_bytes_of_a_window_are_those_of_arithmetic() -> None:
    joined = mib(6 * PASSES)  # six chunks in every pass
    assert counted("sliding window", "plain concatenation").copied_mib == pytest.approx(joined)
    rolled = mib(PASSES + 2 * 5)  # the chunk in every pass; five chunks cloned and copied back, once
    assert counted("sliding window", "rolling dict, as Self-Forcing").copied_mib == pytest.approx(rolled)
    assert counted("sliding window", "transformers sliding layer").copied_mib == pytest.approx(joined)


def test_our_bytes_are_seen_though_numpy_copies_them() -> None:
    ours = costs_apart("sliding window", "worldkv (this project)", TOY, PASSES, "cpu", None)
    assert mib(PASSES) <= ours.copied_mib <= mib(PASSES + 2)  # the chunk in every pass, and it or another to its place
    assert mib(9) <= ours.peak_mib <= mib(18)  # the window, and staging of three chunks


def test_the_bank_of_the_published_flow_costs_what_it_should() -> None:
    on_device = counted("worldkv", "published flow, bank on device").copied_mib
    on_host = counted("worldkv", "published flow, bank on host").copied_mib
    stored = GEOMETRY.tokens_per_frame + 2 * -(-GEOMETRY.tokens_per_frame // 2)
    share = stored / GEOMETRY.chunk_tokens
    assert on_host - on_device == pytest.approx(mib(7 * share))  # six chunks in and one out a step


# ---------------------------------------------------------------------- what is written from descriptions


def test_kept_tokens_are_those_of_world_compression() -> None:
    keys = torch.randn(1, GEOMETRY.chunk_tokens, 2, 16, generator=torch.Generator().manual_seed(1))
    frames = (float(GEOMETRY.tokens_per_frame),) * 3
    of_layer = keys[0].transpose(0, 1)[None].repeat(GEOMETRY.layers, 1, 1, 1)
    for ratio in (0.25, 0.5, 0.7, 1.0):
        view = ChunkView(0, 0, GEOMETRY, frames, of_layer)
        wanted = WorldCompression(ratio, pooled=True).keep(view).tokens
        assert wanted is not None
        assert least_like_anchor(keys, GEOMETRY, ratio).tolist() == wanted[0].tolist()


def test_turned_keys_are_those_of_the_rotary() -> None:
    rotary, keys = Rotary(GEOMETRY), torch.randn(1, GEOMETRY.chunk_tokens, 2, 16)
    out = torch.empty_like(keys)
    for frames in (-40, -3, 5, 300):
        rotary.shift_time(keys.transpose(1, 2), frames, out.transpose(1, 2))
        torch.testing.assert_close(turned(keys, frames), out, rtol=1e-5, atol=1e-5)


def test_decisions_are_made_beforehand() -> None:
    here: Job = job(WORKS[2], TOY, PASSES, "cpu", PAIRS)
    assert len(here.plans) == WORKS[2].warm + PAIRS
    last = here.plans[-1]
    assert len(last.retrieved) == 6 and len(last.resident) == 2
    assert any(last.shifts.values())


# ---------------------------------------------------------------------- the pages


@pytest.mark.parametrize("page", ["README.md", "docs/measurements.md"])
def test_the_pages_name_every_cache(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert "benchmarks.beside_peers" in text
    for name in {name for peers in PEERS.values() for name in peers}:
        assert re.search(rf"\| {re.escape(name)} \|", text) or page == "README.md", name
    assert beside_peers.BARE in text
