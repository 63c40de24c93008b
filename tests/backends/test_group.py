"""Ranks that share a rollout: as one process with everything, and never one that waits for another in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.backends.group_rollouts import (
    BY_BRANCH,
    ON_TWO,
    WHOLE,
    Share,
    Step,
    of_heads,
    opened,
    policies,
    prefilled,
    steps_of,
    write_weights,
)
from tests.backends.group_rollouts import generate as generate_part
from tests.backends.group_worker import RANKS, SECONDS
from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.backends.group.coded_answers import decoded, encoded
from worldkv.backends.group.open_group import told
from worldkv.geometry import CacheGeometry
from worldkv.parts.scorer.scored_by import ScoredBy
from worldkv.policies import NoveltyAdmission, WorldKV
from worldkv.signals import Signal

NAMES = tuple(policies())
SIZES = {"heads on 2": 2, "heads on 4": 4, "branches on 2": 2}
RUN = [
    *(("heads on 4", name) for name in NAMES),
    *(("heads on 2", name) for name in ON_TWO),
    *(("branches on 2", name) for name in BY_BRANCH),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What four processes found, once they have ended: in no more than the time that one is waited for, and a half."""
    made = tmp_path_factory.mktemp("group")
    write_weights(made)
    run = subprocess.run(
        [sys.executable, "-m", "tests.backends.group_worker", str(made)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        timeout=3 * SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return made


@pytest.fixture(scope="module")
def wrong(folder: Path) -> list[Mapping[str, Any]]:
    """What each rank was told where something was wrong."""
    return [torch.load(folder / f"wrong-{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize(("kind", "name"), RUN, ids=str)
def test_ranks_together_are_one_process(folder: Path, kind: str, name: str) -> None:
    size, split = SIZES[kind], "branches" if kind.startswith("branches") else "heads"
    ranks = [torch.load(folder / f"{kind}-{rank}.pt")[name] for rank in range(size)]
    whole = steps_of(policies(folder)[name], Share(split=split))  # type: ignore[arg-type]
    for number, step in enumerate(whole):
        parts = [Step(**rank[number]) for rank in ranks]
        out = torch.cat([part.out for part in parts], dim=1 if split == "branches" else 3)
        assert float((out - step.out).abs().max()) <= 1e-5
        for rank, part in enumerate(parts):
            assert part.decided == step.decided
            kept = [(chunk, of_heads(tokens, Share(rank, size, split))) for chunk, tokens in step.keeps]  # type: ignore[arg-type]
            assert part.keeps == kept
            for found, expected in zip(part.seen, step.seen, strict=True):
                assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_what_the_ranks_did_was_worth_deciding(folder: Path) -> None:
    """Every policy's rollout retrieves, or keeps some tokens of a chunk: otherwise all would be equal anyhow."""
    for name, steps in torch.load(folder / "heads on 4-0.pt").items():
        some = [step["decided"] for step in steps]
        chosen = [one for one in some if one["retrieved"] and len(one["attended"]) < one["attended"][-1] + 1]
        partial = [keep for step in steps for keep in step["keeps"] if keep[1] is not None]
        assert chosen or partial, name


def test_a_rank_that_decides_otherwise_is_an_error_on_all(wrong: list[Mapping[str, Any]]) -> None:
    for said in wrong:
        kind, sentence = said["forgets to reduce"]
        assert kind == "GroupError"
        assert "rank 1 differs from rank 0 in compress chunk 0 at step 2: other tokens; " in sentence
        assert "ChunkView.reduce" in sentence
        kind, sentence = said["another view"]
        assert kind == "GroupError"
        assert "rank 1 differs from rank 0 in retrieve at step 7: ids is [2] on rank 1 and [1] on rank 0" in sentence
        kind, sentence = said["table differs"]
        assert (kind, "begin of step 2: other last_used;" in sentence) == ("GroupError", True)


def test_a_rank_that_fails_stops_all(wrong: list[Mapping[str, Any]]) -> None:
    """Where it fails it says what it always says; the others name it, its step and its sentence."""
    for case, culprit, own, words in (
        (
            "fails on one",
            1,
            "PolicyError",
            "rank 1 failed in commit of step 3: PolicyError: FailsOnOne.compress failed",
        ),
        ("lost on one", 3, "LostChunkError", "rank 3 failed in begin of step 5: LostChunkError: chunk 2 is lost"),
        ("commits too early", 1, "PolicyError", "rank 1 failed in commit of step 1: PolicyError: commit comes after"),
    ):
        for rank, said in enumerate(wrong):
            kind, sentence = said[case]
            assert kind == (own if rank == culprit else "GroupError"), case
            assert words.partition(f"{own}: ")[2] in sentence if rank == culprit else words in sentence


def test_calls_out_of_step_are_an_error_on_all(wrong: list[Mapping[str, Any]]) -> None:
    for said in wrong:
        kind, sentence = said["calls differ"]
        assert kind == "GroupError"
        assert (
            "rank 1 is in begin of step 1 where rank 0 is in evict at step 2; all ranks must make the same" in sentence
        )


def test_after_an_error_all_go_back_and_on(wrong: list[Mapping[str, Any]]) -> None:
    """As one process that never failed; forks of a rank's cache meet as the caches do."""
    with opened(WorldKV(sink_frames=0, recent_frames=3), Share()) as cache:
        outs = [generate_part(cache, Share(), step)[0] for step in range(9)]
    for step, out in zip([3, 4, 5, 6, 7, 8, 8], range(7), strict=True):
        found = torch.cat([said["goes on"]["outs"][out] for said in wrong], dim=3)
        assert float((found - outs[step]).abs().max()) <= 1e-5
    assert [said["goes on"]["error"][0] for said in wrong] == ["GroupError", "PolicyError", "GroupError", "GroupError"]


def test_a_prefill_in_windows_is_that_of_one_process(wrong: list[Mapping[str, Any]]) -> None:
    found = torch.cat([said["prefill"] for said in wrong], dim=3)
    assert torch.allclose(found, prefilled(Share()), rtol=0, atol=1e-4)  # sums of up to 90 numbers


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("policy", "GroupError", "keep_ratio=0.5, pooled=False"),
        ("class", "GroupError", "policy is H2O("),
        ("geometry", "GroupError", "geometry is CacheGeometry(layers=3"),
        ("config", "GroupError", "staging_chunks=1"),
        ("split", "GroupError", "split is branches on rank 1 and heads on rank 0"),
        ("reduce", "SpecError", "takes group= or reduce=, got both"),
        ("go-on", "SpecError", "takes when_lost=error, got go-on"),
        ("no split", "SpecError", "split must be heads or branches, got 'tokens'"),
        ("no group", "GroupError", "must be a torch.distributed ProcessGroup that this process is in, got 'gloo'"),
    ],
)
def test_caches_that_do_not_go_together_are_refused(
    wrong: list[Mapping[str, Any]], what: str, kind: str, words: str
) -> None:
    for said in wrong:
        found, sentence = said["refused"][what]
        assert (found, words in sentence) == (kind, True), sentence


def test_sums_are_over_all_ranks_and_leave_the_parts_alone(wrong: list[Mapping[str, Any]]) -> None:
    for rank, said in enumerate(wrong):
        assert said["sums"] == [10.0, 10.0, 4.0, rank + 1.0, rank + 1.0, WHOLE.kv_heads]


def test_a_rank_that_ends_is_not_waited_for(folder: Path) -> None:
    kind, sentence = torch.load(folder / "left-0.pt")
    assert kind == "GroupError" and "rank 0 of 2 cannot reach another rank" in sentence


def test_answers_come_back_from_bytes() -> None:
    rows = np.array([[0, 3], [1, 2]])
    nothing = np.array([], int)
    ragged = RaggedKeep(
        np.array([[2, 0], [0, 1]]), (0.75, 0.0), ((np.array([1, 4]), nothing), (nothing, np.array([7])))
    )
    for answer in (
        Retrieval(),
        Retrieval((3, 1), (2,), refreshed=False),
        Keep(2, (1.5, 0.5)),
        Keep(2, (1.0, 1.0), rows, 40, "int8"),
        ragged,
        RaggedKeep(np.array([[2, 0]]), (0.5, 0.5)),
        Eviction((1, 2), (0,), {5: Keep(2, (1.0, 1.0), rows), np.int64(7): ragged, 9: Keep(2, (2.0, 0.0), rows[0])}),  # type: ignore[dict-item]
    ):
        assert _listed(decoded(encoded(answer))) == _listed(answer)


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {int(key): _listed(part) for key, part in value.items()}
    if isinstance(value, Eviction | tuple):
        return [_listed(part) for part in value]
    if isinstance(value, Keep | RaggedKeep | Retrieval):
        return [type(value).__name__, *(_listed(getattr(value, name)) for name in value.__dataclass_fields__)]
    return value


def test_what_makes_a_cache_is_told_alike_in_every_process() -> None:
    """No addresses, no order of sets: both change from one process to the next."""
    many = frozenset(Signal)
    text = told((ScoredBy(_scores, many), NoveltyAdmission(), object(), CacheGeometry))
    assert " at 0x" not in text and "test_group._scores" in text and "recent_frames=" in text
    assert told(frozenset(sorted(many, key=lambda one: one.value))) == told(many)


def _scores(chunk: Any) -> Any:
    return chunk.keys.sum(3)


def test_a_rank_s_part_of_a_ragged_keep_may_be_empty() -> None:
    """What other ranks keep counts in the ledger: a mean over all heads, of which this rank has none."""
    keep = RaggedKeep(np.zeros((2, 4), np.int64), (0.5, 0.25), mean_count=0.75)
    shape = CacheGeometry(2, 4, 4, 8, 2, 3, frames_per_chunk=2)
    keep.check(12, shape)
    assert keep.count == 1 and keep.bytes(shape) == 6 * 2 * 8 * 2
