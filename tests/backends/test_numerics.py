"""Attention through the cache against plain attention over what was decided, concatenated anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.backends.late_ops import LateOps
from tests.backends.naive_cache import NaiveCache, shifted
from tests.backends.retrieval_policies import AfterFirstPass, Prefetching, SameRebased
from tests.backends.rollouts import TOLERANCE, follow, generate, inputs, inputs_of, loop, open_cache
from tests.backends.where import DEVICE
from tests.policies.all_policies import EVERY
from worldkv.answers import Eviction, Keep
from worldkv.backend import Traffic
from worldkv.backends.rotary import Rotary
from worldkv.backends.window.arena import KEYS, ROTATED
from worldkv.config import CacheConfig
from worldkv.errors import PositionError
from worldkv.geometry import CacheGeometry
from worldkv.parts import QuantisedBank, Rebased
from worldkv.policies import FullKV, RandomRetrieval, SlidingWindow, WorldKV
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.testing.recording_policy import Question, recording_policy
from worldkv.tiers import TierLimits
from worldkv.views import ChunkView, WindowView

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
FROM_BANK = 1.6  # chunks that fit on the host; the rest comes back from disk


def check(
    policy: CachePolicy,
    geometry: CacheGeometry,
    dtype: torch.dtype,
    *,
    late: bool,
    spills: bool,
    room: TierLimits | None = None,
) -> Traffic:
    path, naive = loop(geometry), NaiveCache(geometry)
    limits = TierLimits(int(FROM_BANK * geometry.chunk_bytes)) if spills else TierLimits()
    limits = limits if room is None else room
    config = CacheConfig(limits=limits)
    named: dict[int, NDArray[np.int64]] = {}

    def note(question: Question) -> None:
        """What the policy kept of each chunk, at the time it is asked."""
        keeps = question.answer.shrink if question.kind == "evict" else {}
        if question.kind == "compress":
            keeps = {question.shown[0].id: question.answer}
        named.update({chunk: keep.tokens for chunk, keep in keeps.items() if keep.tokens is not None})

    watched = recording_policy(policy, note)
    cut = False
    with open_cache(watched, geometry, path, LateOps() if late else None, config=config, dtype=dtype) as cache:
        for step in range(len(path.views)):
            out, record = generate(cache, path, step)
            scattered = cache.backend.arena.groups[0].layout.scattered()
            cut |= bool(record.shrunk)
            assert cut or not scattered, "only what is cut to the token may have to wait for room to be put together"
            follow(naive, policy, dtype, record, out, named)
            for chunk in record.shrunk:
                naive.keep_named(chunk, named[chunk])
        return cache.backend.traffic()


def keeps_all_bits(policy: CachePolicy) -> bool:
    """Whether its bank stores the cache's own numbers; `test_quantised` has the others."""
    return not any(isinstance(part, QuantisedBank) for part in policy.parts())


@pytest.mark.parametrize("name", [name for name, one in EVERY.items() if not one.ragged and keeps_all_bits(one)])
@pytest.mark.parametrize("late", [False, True], ids=["cpu", "late copies"])
def test_every_policy_attends_what_it_decided(name: str, late: bool) -> None:
    """With late copies a wait that is missing shows as NaN."""
    check(EVERY[name], SMALL, torch.float32, late=late, spills=late)


@pytest.mark.parametrize("late", [False, True], ids=["cpu", "late copies"])
@pytest.mark.parametrize("spare_device", [None, *(("cpu",) if DEVICE == "cpu" else ())])
@pytest.mark.parametrize("name", ["random", "worldkv", "asked late", "prefetching"])
def test_spare_memory_gives_back_what_it_was_given(name: str, spare_device: str | None, late: bool) -> None:
    """Straight from it, over copies as from another device, and what it spilled from the host and from disk."""
    policies = {
        "random": RandomRetrieval(0, 9, 3),
        "worldkv": WorldKV(3, 6, 3, 0.5),
        "asked late": AfterFirstPass(),
        "prefetching": Prefetching(),
    }
    whole = SMALL.chunk_bytes
    room = TierLimits(2 * whole, spare_bytes=int(2.4 * whole), spare_device=spare_device)
    moved = check(policies[name], SMALL, torch.float32, late=late, spills=False, room=room)
    assert min(moved.device_to_spare, moved.spare_to_host) > 0
    assert moved.spare_to_device > 0 or name in ("worldkv", "prefetching"), "which want what has left it by then"
    assert moved.device_to_host == 0, "what fits into spare memory goes there first"


geometries = st.builds(
    lambda layers, kv_heads, group, pairs, rows, columns, frames, branches: CacheGeometry(
        layers, kv_heads * group, kv_heads, 2 * pairs, rows, columns, frames, rope_frames=1 << 16, branches=branches
    ),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
)


@settings(max_examples=12)
@given(geometry=geometries, dtype=st.sampled_from(sorted(TOLERANCE, key=str)), late=st.booleans(), data=st.data())
def test_any_shape_and_dtype(geometry: CacheGeometry, dtype: torch.dtype, late: bool, data: st.DataObject) -> None:
    import dataclasses

    geometry = dataclasses.replace(geometry, itemsize=dtype.itemsize)
    frames = geometry.frames_per_chunk
    policy = data.draw(
        st.sampled_from(
            [
                FullKV(),
                SlidingWindow(2 * frames, frames),
                WorldKV(frames, 3 * frames, 2 * frames, 1.0),
                WorldKV(frames, 3 * frames, frames, 0.5, pooled=True),
                WorldKV(0, 2 * frames, frames, 0.25, positions=Rebased()),
            ]
        )
    )
    check(policy, geometry, dtype, late=late, spills=late)


def test_full_kv_sliding_window_and_everything_retrieved() -> None:
    """What is attended is the whole history, its last chunks, and the whole history again."""
    path = loop(SMALL)
    steps = range(len(path.views))
    everything = WorldKV(3, 3 * len(steps), 6, 1.0)
    whole, last, back = (open_cache(policy, SMALL, path) for policy in (FullKV(), SlidingWindow(6, 0), everything))
    for step in steps:
        (full, record), (_, few), (again, all_back) = (generate(cache, path, step) for cache in (whole, last, back))
        assert record.plan.attended.tolist() == all_back.plan.attended.tolist() == list(range(step))
        assert few.plan.attended.tolist() == list(range(max(0, step - 2), step))
        torch.testing.assert_close(again, full, rtol=0, atol=1e-5 * float(full.abs().max()))
    assert len(back.backend.bank.stored) == len(steps) - 3


# ---------------------------------------------------------------------- positions


def test_rebased_keys_after_fifty_steps_in_bf16_are_those_rotated_from_scratch() -> None:
    geometry = CacheGeometry(2, 1, 1, 16, 2, 2, itemsize=2, rope_frames=1 << 16)
    path = loop(geometry, chunks=66)
    stays = SameRebased()
    with open_cache(stays, geometry, path) as cache:
        for step in range(60):
            generate(cache, path, step)
        cache.begin(path.views[60])
        arena = cache.backend.arena
        cache.attend(0, *inputs_of(cache, 60, 0, 0))
        for chunk, place in {2: 57, 5: 58}.items():  # right before recent chunk 59
            stored, attended = (arena.read(chunk, plane).cpu() for plane in (KEYS, ROTATED))
            scratch = torch.empty_like(stored)
            Rotary(geometry).shift_time(stored, (place - chunk) * 3, scratch)
            assert torch.equal(attended, scratch)
            by_hand = shifted(stored.double(), (place - chunk) * 3)
            assert float((attended.double() - by_hand).abs().max()) <= 2**-8 * float(by_hand.abs().max())
            generated = torch.stack([inputs(geometry, cache.dtype, chunk, 1, layer)[1] for layer in range(2)])
            assert torch.equal(stored, generated[:, 0].transpose(1, 2)), "the stored key itself has drifted"


def test_a_chunk_past_the_rotary_table_is_refused_before_anything_moves() -> None:
    geometry = CacheGeometry(1, 1, 1, 8, 1, 2, itemsize=4, rope_frames=16)
    path = loop(geometry, chunks=8)
    with open_cache(FullKV(), geometry, path) as cache:
        for step in range(5):
            generate(cache, path, step)
        with pytest.raises(PositionError, match="attends keys 17 latent frames away at step 5.* span 16 "):
            cache.begin(path.views[5])
        assert cache.plan is None and len(cache.engine.table) == 5


@dataclass(frozen=True)
class _RebasedAndShrunk(SameRebased):
    """Halves the newest chunk in place, and rebases what it fetches."""

    def evict(self, window: WindowView) -> Eviction:
        newest = int(window.ids[-1])
        half = np.arange(1, 18, 2)
        shrink = {newest: Keep(9, (3.0, 3.0, 3.0), half)}
        return Eviction(bank=tuple(window.ids[:-2].tolist()), shrink=shrink)

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep.counted(chunk.frame_tokens)


def test_a_chunk_shrunk_in_place_attends_its_own_keys_where_others_are_rebased() -> None:
    path = loop(SMALL)
    with open_cache(_RebasedAndShrunk(), SMALL, path) as cache:
        for step in range(12):
            _, record = generate(cache, path, step)
            assert record.shrunk == (step,)
            arena = cache.backend.arena
            if step:
                assert step - 1 in record.plan.attended
                assert torch.equal(arena.read(step - 1, ROTATED), arena.read(step - 1, KEYS)), "as step attended it"


# ---------------------------------------------------------------------- asked late, asked ahead


@pytest.mark.parametrize("policy", [AfterFirstPass(), Prefetching()], ids=["after the first pass", "prefetching"])
@pytest.mark.parametrize("spills", [False, True], ids=["host", "disk"])
def test_asked_late_and_asked_ahead(policy: CachePolicy, spills: bool) -> None:
    check(policy, SMALL, torch.float32, late=True, spills=spills)


def test_what_was_prefetched_lands_without_another_copy() -> None:
    path, landed = loop(SMALL), 0
    with open_cache(Prefetching(), SMALL, path) as cache:
        for step in range(len(path.views)):
            staged = set(cache.engine.state.staged)
            cache.begin(path.views[step])
            arrived = staged & set(cache.engine.state.replicas)
            landed += len(arrived)
            for number in range(2):
                for layer in range(2):
                    cache.attend(layer, *inputs_of(cache, step, number, layer), clean=number == 1)
            cache.commit()
    assert landed > 5


# ---------------------------------------------------------------------- what attention measures


def test_attention_a_token_receives_is_summed_while_it_stays() -> None:
    """Against weights written out; a chunk that comes back starts from nothing."""
    path = loop(SMALL, chunks=10)
    expected: dict[int, torch.Tensor] = {}
    policy = SlidingWindow(9, 3)
    with open_cache(policy, SMALL, path, extra_signals=frozenset({Signal.ATTENTION_MASS})) as cache:
        keys: dict[int, list[torch.Tensor]] = {}
        for step in range(10):
            _, record = generate(cache, path, step)
            keys[step] = [inputs(SMALL, cache.dtype, step, 1, layer)[1][0, :, 0].double() for layer in range(2)]
            attended = [*record.plan.attended.tolist(), step]
            for layer in range(2):
                q = inputs(SMALL, cache.dtype, step, 1, layer)[0][0].double()
                scores = torch.einsum("thd,nd->htn", q, torch.cat([keys[chunk][layer] for chunk in attended])) / 8**0.5
                received = scores.softmax(-1).mean((0, 1)).reshape(len(attended), -1)
                for chunk, share in zip(attended[:-1], received, strict=False):
                    expected.setdefault(chunk, torch.zeros(2, 18, dtype=torch.float64))[layer] += share
            for chunk in cache.backend.arena.chunks():
                mass = cache.backend.arena.read_mass(chunk)
                assert mass is not None
                torch.testing.assert_close(
                    mass[:, 0].cpu().double(), expected.get(chunk, torch.zeros(2, 18).double()), rtol=0, atol=1e-6
                )


def test_attention_received_and_summaries() -> None:
    path, naive = loop(SMALL, chunks=8), NaiveCache(SMALL)
    signals = frozenset({Signal.ATTENTION_MASS, Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY})
    with open_cache(WorldKV(3, 6, 3, 1.0), SMALL, path, extra_signals=signals) as cache:
        for step in range(8):
            out, record = generate(cache, path, step)
            measured = cache.measured
            assert measured is not None
            expected = np.zeros(len(record.plan.attended))
            for layer in range(SMALL.layers):
                q, k, _ = inputs(SMALL, cache.dtype, step, 1, layer)
                held = [naive.chunks[chunk][layer][0] for chunk in record.plan.attended]
                keys = torch.cat([*held, k.transpose(1, 2)], dim=2).double()
                for head in range(SMALL.heads):
                    weights = (q[0, :, head].double() @ keys[0, 0].T / 8**0.5).softmax(-1).mean(0)
                    ends = np.cumsum([part.shape[2] for part in held])
                    expected += [part.sum() for part in np.split(weights.numpy(), ends)[:-1]]
                np.testing.assert_allclose(measured.key_mean[layer, 0], k[0, :, 0].mean(0), atol=1e-6)
                np.testing.assert_array_equal(measured.key_min[layer, 0], k[0, :, 0].amin(0))
                np.testing.assert_array_equal(measured.key_max[layer, 0], k[0, :, 0].amax(0))
                first = inputs(SMALL, cache.dtype, step, 0, layer)[0]
                np.testing.assert_allclose(measured.query_summary[layer, 0], first[0].mean(dim=(0, 1)), atol=1e-6)
            np.testing.assert_allclose(measured.attention_mass, expected / SMALL.layers / SMALL.heads, atol=1e-6)
            follow(naive, cache.policy, cache.dtype, record, out)
