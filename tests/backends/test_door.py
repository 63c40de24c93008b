"""The door of the cache: windows for kernels of one's own, branches one by one, chunks of other lengths, positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.backends.naive_cache import NaiveCache
from tests.backends.rollouts import Path, assert_close, follow, inputs, loop
from worldkv.backends import Rotary, WorldCache
from worldkv.config import CacheConfig
from worldkv.errors import BudgetError, PolicyError, PositionError, SpecError, TrajectoryError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Rebased, Relative, Slots
from worldkv.policies import H2O, FullKV, MeanKeyRetrieval, NoveltyAdmission, SlidingWindow, WorldKV
from worldkv.policy import CachePolicy
from worldkv.scene import scene_of
from worldkv.signals import Signal, Viewpoint

GEOMETRY = CacheGeometry(2, 4, 2, 16, 2, 2, itemsize=4, rope_frames=1 << 16)
GUIDED = dataclasses.replace(GEOMETRY, branches=2)
SMALL_WORLDKV = WorldKV(3, 6, 3, 0.5)
PASSES = 2
Step = tuple[list[Tensor], list[Tensor]]


def path(chunks: int = 12, geometry: CacheGeometry = GEOMETRY) -> Path:
    return loop(geometry, chunks)


def opened(policy: CachePolicy, geometry: CacheGeometry = GEOMETRY, **options: object) -> WorldCache:
    return WorldCache(policy, geometry, scene=scene_of(path().chunked), **options)  # type: ignore[arg-type]


def steps(cache: WorldCache, chunks: int = 12) -> Iterator[tuple[int, int, int, Tensor, Tensor, Tensor]]:
    """Every call of a rollout: chunk, pass, layer, queries, keys, values; the cache is begun and committed."""
    views = path(chunks).views
    for step in range(chunks):
        cache.begin(views[step])
        for number in range(PASSES):
            for layer in range(cache.geometry.layers):
                yield (step, number, layer, *inputs(cache.geometry, cache.dtype, step, number, layer))
        cache.commit()


def by_attend(cache: WorldCache) -> Tensor:
    return torch.stack([cache.attend(n, q, k, v, clean=p == PASSES - 1) for _, p, n, q, k, v in steps(cache)])


def kernel(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """A model's own attention, `[B, S, H, D]`."""
    q, k, v = (x.transpose(1, 2) for x in (queries, keys, values))
    return scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2)


@pytest.mark.parametrize(
    "policy",
    [FullKV(), SMALL_WORLDKV, WorldKV(3, 6, 3, positions=Rebased()), MeanKeyRetrieval(3, 6, 3), H2O(3, 3)],
    ids=str,
)
def test_a_window_and_a_kernel_are_attention(policy: CachePolicy) -> None:
    with opened(policy) as cache:
        expected = by_attend(cache)
    outs = []
    with opened(policy) as cache:
        for _, number, layer, q, k, v in steps(cache):
            keys, values = cache.window(layer, k, v, queries=q, clean=number == PASSES - 1)
            assert torch.equal(keys[:, -k.shape[1] :], k), "the chunk itself stands last"
            outs.append(kernel(q, keys, values))
    torch.testing.assert_close(torch.stack(outs), expected, rtol=0, atol=1e-5)


def test_queries_are_asked_for_by_name() -> None:
    for policy in (MeanKeyRetrieval(3, 6, 3), H2O(3, 3)):
        with (
            opened(policy) as cache,
            pytest.raises(PolicyError, match=type(policy).__name__ + " reads queries or attention mass"),
        ):
            for _, number, layer, _, k, v in steps(cache):
                cache.window(layer, k, v, clean=number == PASSES - 1)


@pytest.mark.parametrize("policy", [FullKV(), SMALL_WORLDKV, MeanKeyRetrieval(3, 6, 3), H2O(3, 3)], ids=str)
@pytest.mark.parametrize("order", ["a pass each", "a layer each", "second first"])
def test_branches_one_by_one_are_the_batch_axis(policy: CachePolicy, order: str) -> None:
    with opened(policy, GUIDED) as cache:
        expected = by_attend(cache)
        decided = cache.engine.table.columns["tokens"][:12].copy()
    outs: dict[tuple[int, int, int, int], Tensor] = {}

    def one(cache: WorldCache, step: int, number: int, layer: int, branch: int) -> None:
        q, k, v = (x[branch : branch + 1] for x in inputs(GUIDED, cache.dtype, step, number, layer))
        clean = number == PASSES - 1
        outs[step, number, layer, branch] = cache.attend(layer, q, k, v, clean, branch=branch)

    branches = (1, 0) if order == "second first" else (0, 1)
    with opened(policy, GUIDED) as cache:
        for step in range(12):
            cache.begin(path().views[step])
            for number in range(PASSES):
                if order == "a layer each":
                    calls = [(layer, branch) for layer in range(2) for branch in branches]
                else:
                    calls = [(layer, branch) for branch in branches for layer in range(2)]
                for layer, branch in calls:
                    one(cache, step, number, layer, branch)
            cache.commit()
        assert np.array_equal(cache.engine.table.columns["tokens"][:12], decided)
    found = torch.stack(
        [
            torch.cat([outs[step, number, layer, branch] for branch in range(2)])
            for step in range(12)
            for number in range(PASSES)
            for layer in range(2)
        ]
    )
    assert torch.equal(found, expected)


def test_branches_that_are_missing_or_out_of_order_are_refused() -> None:
    q, k, v = (x[:1] for x in inputs(GUIDED, torch.float32, 0, 0, 0))
    with opened(FullKV(), GUIDED) as cache:
        cache.begin(path().views[0])
        with pytest.raises(PolicyError, match="branch must be 0 to 1, got 2"):
            cache.attend(0, q, k, v, branch=2)
        for layer in range(2):
            cache.attend(layer, q, k, v, branch=0)
        with pytest.raises(PolicyError, match="commit comes after a pass through all 2 layers; .* through 0"):
            cache.commit()
        with pytest.raises(PolicyError, match="layer 1 of a denoise pass of branch 1 after 0 of 2 layers"):
            cache.attend(1, q, k, v, branch=1)
        with pytest.raises(PolicyError, match=r"= \(2, 12, 4, 16\)"):
            cache.attend(0, q, k, v)


def one_branch(cache: WorldCache, step: int, number: int, layer: int, branch: int) -> tuple[Tensor, Tensor]:
    """One call of one branch; the keys and values that it wrote."""
    q, k, v = (x[branch : branch + 1] for x in inputs(GUIDED, cache.dtype, step, number, layer))
    cache.attend(layer, q, k, v, branch=branch)
    return k, v


def test_a_branch_without_a_second_pass_keeps_its_first_where_the_window_moves() -> None:
    """Guidance in the first denoise pass only, under a policy that is asked behind it."""
    with opened(MeanKeyRetrieval(3, 6, 3), GUIDED) as cache:
        moved = 0
        for step in range(12):
            plan = cache.begin(path().views[step])
            written = {(0, layer): one_branch(cache, step, 0, layer, 0) for layer in range(2)}
            written |= {(1, layer): one_branch(cache, step, 0, layer, 1) for layer in range(2)}
            for number in (1, 2):
                written |= {(0, layer): one_branch(cache, step, number, layer, 0) for layer in range(2)}
            assert cache.plan is not None
            moved += cache.plan.attended_tokens != plan.attended_tokens
            cache.commit()
            arena = cache.backend.arena
            for (branch, layer), (k, v) in written.items():
                for plane, part in enumerate((k, v)):
                    assert torch.equal(arena.read(step, plane, branch)[layer], part[0].transpose(0, 1))
        assert moved, "what is attended changes behind the first pass"


def test_a_policy_is_asked_only_once_every_branch_has_been_through_its_first_pass() -> None:
    with opened(MeanKeyRetrieval(3, 6, 3), GUIDED) as cache:
        cache.begin(path().views[0])
        for layer in range(2):
            one_branch(cache, 0, 0, layer, 1)
        with pytest.raises(PolicyError, match="MeanKeyRetrieval is asked after the first pass of every branch"):
            one_branch(cache, 0, 1, 0, 1)


def test_a_pass_that_stopped_half_way_is_run_again() -> None:
    with opened(FullKV()) as cache:
        cache.begin(path().views[0])
        cache.attend(0, *inputs(GEOMETRY, cache.dtype, 0, 0, 0))
        with pytest.raises(PolicyError, match="stopped after 1 of 2 layers; run the pass again from layer 0"):
            cache.begin(path().views[1])
        for layer in range(2):
            cache.attend(layer, *inputs(GEOMETRY, cache.dtype, 0, 1, layer))
        assert cache.commit().plan.step == 0


def test_a_first_pass_that_is_run_again_is_asked_about_once() -> None:
    """Queries of the half that ran are forgotten, and the pass still counts as the first."""
    with opened(MeanKeyRetrieval(3, 6, 3)) as cache:
        by_attend(cache)
        expected = cache.engine.state.resident
    with opened(MeanKeyRetrieval(3, 6, 3)) as cache:
        for _, number, layer, q, k, v in steps(cache):
            if (number, layer) == (0, 0):
                cache.window(0, v, k, queries=torch.zeros_like(q))  # an attempt that stopped
                with pytest.raises(PolicyError, match="reads queries"):
                    cache.window(0, k, v)
            cache.window(layer, k, v, queries=q)
        assert cache.engine.state.resident == expected


def test_a_measured_pass_that_stopped_is_not_run_again() -> None:
    with opened(H2O(3, 3)) as cache:
        cache.begin(path().views[0])
        for number, layer in ((0, 0), (0, 1), (1, 0)):
            cache.attend(layer, *inputs(GEOMETRY, cache.dtype, 0, number, layer), clean=number == 1)
        with pytest.raises(PolicyError, match="stopped half way and cannot be run again"):
            cache.attend(0, *inputs(GEOMETRY, cache.dtype, 0, 1, 0), clean=True)


def test_the_next_begin_commits() -> None:
    with opened(SMALL_WORLDKV) as cache:
        by_attend(cache)
        expected = cache.engine.table.columns["tier"][:12].copy()
    with opened(SMALL_WORLDKV) as cache:
        for step in range(12):
            cache.begin(path().views[step])
            for layer in range(2):  # no pass is marked as clean
                cache.attend(layer, *inputs(GEOMETRY, cache.dtype, step, 0, layer))
        cache.commit()
        assert np.array_equal(cache.engine.table.columns["tier"][:12], expected)
        cache.begin(path().views[0])
        cache.attend(0, *inputs(GEOMETRY, cache.dtype, 0, 0, 0))
        with pytest.raises(PolicyError, match="step 12 is still open"):
            cache.begin(path().views[0])


# ---------------------------------------------------------------------- chunks of other lengths


def shortened(view: Viewpoint, frames: int) -> Viewpoint:
    assert view.camera is not None
    matrices = np.tile(np.eye(4), (frames, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = view.camera.frame_rotations[:frames], view.camera.frame_positions[:frames]
    return Viewpoint.of(matrices)


@pytest.mark.parametrize(
    "policy",
    [FullKV(), SlidingWindow(6, 3), WorldKV(3, 6, 3, 1.0), WorldKV(3, 6, 3, 1.0, positions=Rebased("rank"))],
    ids=str,
)
def test_a_first_and_a_last_chunk_cut_short(policy: CachePolicy) -> None:
    """Against every key ever kept, concatenated; the naive cache is told what stands where."""
    lengths = [1, 3, 3, 2, 3, 3, 3, 3, 3, 1]
    naive = NaiveCache(GEOMETRY)
    starts = np.cumsum([0, *lengths])
    with opened(policy) as cache:
        for step, frames in enumerate(lengths):
            assert cache.start_frame == starts[step]
            plan = cache.begin(shortened(path().views[step], frames))
            assert (plan.frames, cache.chunk_frames) == (frames, frames)
            tokens, layers = 4 * frames, []
            turns = plan.positions[:-1] - starts[plan.attended] + starts[step] - plan.positions[-1]
            for layer in range(2):
                q, k, v = (x[:, :tokens] for x in inputs(GEOMETRY, cache.dtype, step, 0, layer))
                out = cache.attend(layer, q, k, v)
                shifts = dict(zip(plan.attended.tolist(), turns.tolist(), strict=True))
                assert_close(out, naive.attend(layer, q, k, v, plan.attended.tolist(), shifts), cache.dtype)
                layers.append((k, v))
            cache.commit()
            naive.commit(layers)
            assert plan.attended_tokens == 4 * (frames + sum(lengths[chunk] for chunk in plan.attended))
        counts = cache.engine.state.counts
        assert counts.produced == 4 * sum(lengths) == counts.window + counts.banked + counts.discarded


def test_a_short_chunk_that_is_taken_back_is_whole_again() -> None:
    with opened(FullKV(), config=CacheConfig(rewind_chunks=3)) as cache:
        for step, frames in enumerate((3, 1, 2)):
            cache.begin(shortened(path().views[step], frames))
            for layer in range(2):
                q, k, v = (x[:, : 4 * frames] for x in inputs(GEOMETRY, cache.dtype, step, 0, layer))
                cache.attend(layer, q, k, v)
            cache.commit()
        assert cache.start_frame == 6
        cache.rewind(2)
        assert cache.start_frame == 3
        for step in (1, 2):
            cache.begin(path().views[step])
            for layer in range(2):
                cache.attend(layer, *inputs(GEOMETRY, cache.dtype, step, 0, layer))
            cache.commit()
        assert cache.engine.table.columns["tokens"][:3].tolist() == [12, 12, 12]
        assert cache.engine.state.counts.produced == 36


def test_too_many_frames_are_refused() -> None:
    with opened(FullKV()) as cache:
        with pytest.raises(PolicyError, match="has 1 to 3 latent frames, got 4; several chunks .* list of viewpoints"):
            cache.begin(Viewpoint(frames=4))
        with pytest.raises(PolicyError, match="begin takes a Viewpoint, or a list of them"):
            cache.begin([])
        with pytest.raises(PolicyError, match="begin takes a Viewpoint, .* got None"):
            cache.begin(None)  # type: ignore[arg-type]
        with pytest.raises(PolicyError, match="1 to 3 latent frames, got 1.5"):
            cache.begin(Viewpoint(frames=1.5))  # type: ignore[arg-type]


def test_a_prefill_that_does_not_fit_is_refused_as_a_whole() -> None:
    geometry = dataclasses.replace(GEOMETRY, rope_frames=9)
    with WorldCache(FullKV(), geometry) as cache:
        with pytest.raises(PositionError, match="attends keys 14 latent frames away at step 0"):
            cache.begin([Viewpoint()] * 5)
        plan = cache.begin([Viewpoint()] * 3)
        assert (plan.frames, plan.attended_tokens, cache.chunk_frames) == (9, 36, 9)
    config = CacheConfig(window_budget_bytes=24 * GEOMETRY.token_bytes)
    with WorldCache(FullKV(), GEOMETRY, config=config) as cache, pytest.raises(BudgetError, match="over the budget"):
        cache.begin([Viewpoint()] * 4)


@pytest.mark.parametrize("policy", [FullKV(), SMALL_WORLDKV, MeanKeyRetrieval(3, 6, 3), H2O(3, 3)], ids=str)
@pytest.mark.parametrize("keys", ["rotated", "unrotated"])
def test_a_prefill_leaves_what_single_steps_leave(policy: CachePolicy, keys: str) -> None:
    """One pass over five chunks, the last of them short; then the cache holds what five steps would have left."""
    lengths = (3, 3, 3, 3, 2)
    views = [shortened(view, frames) for view, frames in zip(path().views, lengths, strict=False)]
    rows = [tuple(x[:, : 4 * sum(lengths)] for x in of_pass(layer)) for layer in range(2)]
    with opened(policy, keys=keys) as cache:
        cache.begin(views)
        for layer, (q, k, v) in enumerate(rows):
            out = cache.attend(layer, q, k, v, clean=True)
            if keys == "rotated":
                torch.testing.assert_close(out, kernel(q, k, v), rtol=0, atol=1e-5)
        cache.commit()
        prefilled = held(cache)
        table = {name: column[:5].copy() for name, column in cache.engine.table.columns.items()}
    with opened(policy, keys=keys) as cache:
        start = 0
        for view, frames in zip(views, lengths, strict=True):
            cache.begin(view)
            some = slice(start, start + 4 * frames)
            for layer, (q, k, v) in enumerate(rows):
                cache.attend(layer, q[:, some], k[:, some], v[:, some], clean=True)
            cache.commit()
            start = some.stop
        singly = held(cache)
        for name, column in table.items():
            if name not in ("attention_mass", "last_used", "times_retrieved"):
                np.testing.assert_allclose(column, cache.engine.table.columns[name][:5], atol=1e-5)
    if Signal.ATTENTION_MASS not in policy.needs and not isinstance(policy, H2O):
        assert prefilled.keys() == singly.keys()
        for chunk, tensor in prefilled.items():
            torch.testing.assert_close(tensor, singly[chunk], rtol=0, atol=1e-5)


def of_pass(layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of twenty chunks at once."""
    parts = [inputs(GEOMETRY, torch.float32, 99, number, layer) for number in range(6)]
    q, k, v = (torch.cat(rows, dim=1) for rows in zip(*parts, strict=True))
    return q, k, v


def held(cache: WorldCache) -> dict[int, Tensor]:
    """Stored keys and values of all chunks at home in the window."""
    arena = cache.backend.arena
    return {chunk: torch.stack([arena.read(chunk, plane) for plane in (0, 1)]) for chunk in arena.chunks()}


# ---------------------------------------------------------------------- positions


@pytest.mark.parametrize(
    "policy",
    [
        FullKV(),
        WorldKV(3, 6, 6, 1.0),
        WorldKV(3, 6, 6, 1.0, positions=Rebased("rank")),
        WorldKV(3, 6, 6, 1.0, positions=Relative()),
        WorldKV(3, 6, 6, 1.0, positions=Slots(15)),
        WorldKV(3, 6, 6, 1.0, positions=Slots(15, "age", is_shared=True)),
        SlidingWindow(6, 3, positions=Relative()),
    ],
    ids=str,
)
def test_unrotated_keys_are_rotated_ones(policy: CachePolicy) -> None:
    """Against the naive cache, with keys rotated by the model; and the same policy handed keys before that."""
    naive, rotary, records = NaiveCache(GEOMETRY), Rotary(GEOMETRY), []
    rotated, unrotated = [], []
    with opened(policy) as cache:
        for step in range(12):
            cache.begin(path().views[step])
            outs = []
            for number in range(PASSES):
                for layer in range(2):
                    outs.append(cache.attend(layer, *inputs(GEOMETRY, cache.dtype, step, number, layer)))
            record = cache.commit()
            rotated.append(torch.stack(outs))
            follow(naive, policy, cache.dtype, record, rotated[-1])
            records.append(record)
    with opened(policy, keys="unrotated") as cache:
        for step in range(12):
            cache.begin(path().views[step])
            back = -step * GEOMETRY.frames_per_chunk  # the naive cache's inputs are those at the absolute frames
            outs = []
            for number in range(PASSES):
                for layer in range(2):
                    q, k, v = inputs(GEOMETRY, cache.dtype, step, number, layer)
                    q, k = (unturned(rotary, x, -back) for x in (q, k))
                    outs.append(cache.attend(layer, q, k, v))
            record = cache.commit()
            assert np.array_equal(record.plan.positions, records[step].plan.positions)
            unrotated.append(torch.stack(outs))
    torch.testing.assert_close(torch.stack(unrotated), torch.stack(rotated), rtol=0, atol=1e-4)


def unturned(rotary: Rotary, x: Tensor, start_frame: int) -> Tensor:
    """What `rotate` at `start_frame` makes `x` of: turned back by the complex conjugate."""
    turns = rotary._angles(start_frame, x.shape[1] // 4).turns
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * turns.conj()).flatten(-2)


def test_the_limit_is_the_distance_not_the_index() -> None:
    geometry = dataclasses.replace(GEOMETRY, rope_frames=16)
    for policy in (SlidingWindow(6), SlidingWindow(6, 3, positions=Relative())):
        with WorldCache(policy, geometry) as cache:
            by_attend(cache)
            assert cache.start_frame == 36
    with (
        WorldCache(SlidingWindow(6, 3), geometry) as cache,
        pytest.raises(PositionError, match=r"SlidingWindow attends keys 17 latent frames away .*positions=relative"),
    ):
        by_attend(cache)


def test_riders_follow_and_carry_no_time() -> None:
    """The second branch's keys come without a position in time: attention over them is that of a plain cache."""
    policy = WorldKV(3, 6, 3, 1.0, positions=Rebased())
    kept: list[list[tuple[Tensor, Tensor]]] = []
    with opened(policy, GUIDED, riders=1) as cache:
        for step in range(12):
            plan, layers = cache.begin(path().views[step]), []
            for layer in range(2):
                q, k, v = inputs(GUIDED, cache.dtype, step, 0, layer)
                cache.attend(layer, q[:1], k[:1], v[:1], branch=0)
                out = cache.attend(layer, q[1:], k[1:], v[1:], branch=1)
                earlier = [kept[chunk][layer] for chunk in plan.attended.tolist()]
                ks, vs = zip(*earlier, (k[1:], v[1:]), strict=True)
                torch.testing.assert_close(out, kernel(q[1:], torch.cat(ks, 1), torch.cat(vs, 1)), rtol=0, atol=1e-5)
                layers.append((k[1:], v[1:]))
            cache.commit()
            kept.append(layers)
        assert plan.retrieved, "something has moved in time"
    with pytest.raises(SpecError, match="riders must be 0 to 1, got 2"):
        opened(policy, GUIDED, riders=2)


@pytest.mark.parametrize("branches", ["together", "one by one"])
def test_queries_are_turned_as_attend_turns_them(branches: str) -> None:
    """Unrotated keys, a rider among the branches: the kernel's way and the cache's own."""
    policy = WorldKV(3, 6, 3, 1.0, positions=Relative())
    with (
        opened(policy, GUIDED, keys="unrotated", riders=1) as one,
        opened(policy, GUIDED, keys="unrotated", riders=1) as other,
    ):
        for step in range(9):
            for cache in (one, other):
                cache.begin(path().views[step])
            for layer in range(2):
                q, k, v = inputs(GUIDED, one.dtype, step, 0, layer)
                for branch in (None,) if branches == "together" else (0, 1):
                    some = slice(None) if branch is None else slice(branch, branch + 1)
                    out = one.attend(layer, q[some], k[some], v[some], branch=branch)
                    keys, values = other.window(layer, k[some], v[some], branch=branch)
                    seen = kernel(other.rotate(q[some], branch=branch), keys, values)
                    torch.testing.assert_close(seen, out, rtol=0, atol=1e-5)
            for cache in (one, other):
                cache.commit()
    with opened(policy) as cache:
        cache.begin(path().views[0])
        with pytest.raises(PolicyError, match="keys come rotated to this cache"):
            cache.rotate(torch.zeros(1, 12, 4, 16))


# ---------------------------------------------------------------------- shapes that never change


def test_windows_of_one_length() -> None:
    outs, addresses = [], set()
    with opened(SMALL_WORLDKV) as cache:
        expected = by_attend(cache)
    with opened(SMALL_WORLDKV, pad_to=90) as cache:
        assert cache.valid_tokens is not None
        for _, _, layer, q, k, v in steps(cache):
            keys, values = cache.window(layer, k, v)
            assert keys.shape == (1, 90, 2, 16)
            addresses.add((layer, keys.data_ptr(), values.data_ptr(), cache.valid_tokens.data_ptr()))
            qs, ks, vs = (x.transpose(1, 2) for x in (q, keys, values))
            mask = cache.valid_tokens[None]
            outs.append(scaled_dot_product_attention(qs, ks, vs, attn_mask=mask, enable_gqa=True))
    torch.testing.assert_close(torch.stack(outs).transpose(2, 3), expected, rtol=0, atol=1e-5)
    assert len(addresses) == 2, "one place a layer"
    with opened(FullKV(), pad_to=50) as cache, pytest.raises(PolicyError, match="60 tokens, more than pad_to = 50"):
        by_attend(cache)
    for pad_to in (0, -5, True, 1.5, 11):
        with pytest.raises(SpecError, match="at least the 12 of a chunk"):
            opened(FullKV(), pad_to=pad_to)
    with pytest.raises(SpecError, match="NoveltyAdmission keeps other tokens in every head"):
        opened(NoveltyAdmission(), pad_to=90)


def test_places_that_were_never_written_are_no_nan_in_a_fork_either(monkeypatch: pytest.MonkeyPatch) -> None:
    from worldkv.backends.transfer.cpu_ops import CpuOps

    plain = CpuOps.empty
    monkeypatch.setattr(CpuOps, "empty", lambda *args, **kwargs: plain(*args, **kwargs).fill_(float("nan")))
    with opened(SMALL_WORLDKV, pad_to=90) as cache:
        twin = cache.fork()
        for one in (cache, twin):
            one.begin(path().views[0])
            _, k, v = inputs(GEOMETRY, one.dtype, 0, 0, 0)
            assert not any(part.isnan().any() for part in one.window(0, k, v))
        twin.close()


def test_a_language_model_sees_its_own_chunk_up_to_itself() -> None:
    with opened(FullKV(), is_causal=True) as cache:
        out = by_attend(cache)[3::4]  # the last pass's last layer
    rows = [inputs(GEOMETRY, torch.float32, step, 1, 1) for step in range(12)]
    q, k, v = (torch.cat(parts, 1).transpose(1, 2) for parts in zip(*rows, strict=True))
    whole = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(torch.cat(list(out), 1), whole, rtol=0, atol=1e-5)


# ---------------------------------------------------------------------- viewpoints


def test_viewpoints_of_arrays_tensors_and_lists_are_one() -> None:
    matrices = np.tile(np.eye(4), (3, 1, 1))
    matrices[:, 0, 3] = (0.5, 1.0, 1.5)
    for given in (matrices, matrices.tolist(), matrices[:, :3], torch.tensor(matrices, requires_grad=True)):
        view = Viewpoint.of(given)
        assert view.camera is not None
        assert np.array_equal(view.camera.frame_positions, matrices[:, :3, 3])
    assert Viewpoint.of(torch.tensor(matrices).bfloat16()).frames_of(GEOMETRY) == 3


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m[0].__setitem__((0, 0), np.nan), "NaN"),
        (lambda m: m.__setitem__((slice(None), 0, 0), -1.0), "mirrored"),
        (lambda m: m.__setitem__((slice(None), 0, 0), 2.0), "off orthonormal"),
        (lambda m: m.__setitem__((slice(None), 3, 0), 0.5), "transpose"),
        (lambda m: m.resize((12, 4), refcheck=False), "shape"),
    ],
)
def test_matrices_that_are_no_cameras_are_refused(spoil: object, words: str) -> None:
    matrices = np.tile(np.eye(4), (3, 1, 1))
    spoil(matrices)  # type: ignore[operator]
    with pytest.raises(TrajectoryError, match=words):
        Viewpoint.of(matrices)


class _ReadsHiddenStates(SlidingWindow):
    needs = frozenset({Signal.HIDDEN_STATE})


def test_a_policy_of_hidden_states_is_told_before_the_commit() -> None:
    with opened(_ReadsHiddenStates(3)) as cache, pytest.raises(PolicyError, match="hidden state is measured in the cl"):
        for _, _, layer, q, k, v in steps(cache):
            cache.attend(layer, q, k, v)
