"""Rotary positions against complex numbers multiplied one by one, and what rotations promise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.backends.rotary_by_hand import rotated_by_hand
from worldkv.backends.rotary import Rotary
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry

Shape = tuple[int, int, int, int]


def geometry(head_dim: int = 16, rows: int = 2, columns: int = 3, rope_frames: int = 1024) -> CacheGeometry:
    return CacheGeometry(1, 2, 2, head_dim, rows, columns, rope_frames=rope_frames)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def heads_of(x: Tensor) -> Tensor:
    """`[B, S, H, D]` as keys lie in the window, `(batch, heads, tokens, head_dim)`, strided."""
    return x.transpose(1, 2)


@given(
    head_dim=st.integers(1, 16).map(lambda pairs: 2 * pairs),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    frames=st.integers(1, 3),
    start=st.integers(0, 60_000),
    theta=st.sampled_from([10_000.0, 256.0]),
)
def test_rotate_is_a_complex_product(
    head_dim: int, rows: int, columns: int, frames: int, start: int, theta: float
) -> None:
    rotary = Rotary(geometry(head_dim, rows, columns, 1 << 16), theta=theta)
    x = normal(1, frames * rows * columns, 2, head_dim)
    expected = rotated_by_hand(x, rows, columns, start, theta)
    torch.testing.assert_close(rotary.rotate(x, start).double(), expected, rtol=0, atol=2e-6)


def test_the_split_is_the_wan_family_s() -> None:
    rotary = Rotary(geometry(head_dim=128))
    assert (rotary.time_pairs, rotary.space_pairs) == (22, 21)
    rotary = Rotary(geometry(head_dim=4))
    assert (rotary.time_pairs, rotary.space_pairs) == (2, 0)


def test_one_key_by_hand() -> None:
    rotary = Rotary(geometry(head_dim=6, rows=2, columns=3))  # one pair an axis, each with frequency 1
    x = torch.tensor([1.0, 0.0]).repeat(1, 12, 1, 3)
    last = rotary.rotate(x, start_frame=5)[0, 11, 0]  # frame 6, row 1, column 2
    expected = [math.cos(6), math.sin(6), math.cos(1), math.sin(1), math.cos(2), math.sin(2)]
    assert last.tolist() == pytest.approx(expected, abs=1e-6)


@given(first=st.integers(0, 500), gap=st.integers(0, 20), moved=st.integers(1, 500))
def test_scores_depend_on_the_difference_of_frames_only(first: int, gap: int, moved: int) -> None:
    rotary = Rotary(geometry())
    q, k = normal(1, 6, 2, 16, seed=1), normal(1, 6, 2, 16, seed=2)

    def scores(start: int) -> Tensor:
        return heads_of(rotary.rotate(q, start + gap)) @ heads_of(rotary.rotate(k, start)).transpose(2, 3)

    torch.testing.assert_close(scores(first), scores(first + moved), rtol=0, atol=1e-5)


def test_scores_do_depend_on_the_difference() -> None:
    rotary = Rotary(geometry())
    q, k = normal(1, 6, 2, 16, seed=1), normal(1, 6, 2, 16, seed=2)
    near, far = ((heads_of(rotary.rotate(q, at)) * heads_of(rotary.rotate(k, 0))).sum(-1) for at in (1, 7))
    assert (near - far).abs().max() > 0.1


def test_rotation_keeps_lengths_and_leaves_the_input_alone() -> None:
    x = normal(2, 12, 2, 16)
    before = x.clone()
    turned = Rotary(geometry()).rotate(x, 100)
    assert torch.equal(x, before)
    assert turned.is_contiguous()
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 5e-6), (torch.bfloat16, 0.05), (torch.float16, 5e-3)])
@given(start=st.integers(0, 900), to=st.integers(0, 900))
def test_a_shift_leads_where_a_rotation_leads(dtype: torch.dtype, atol: float, start: int, to: int) -> None:
    rotary = Rotary(geometry())
    x = normal(2, 12, 2, 16, dtype=dtype)
    stored = heads_of(rotary.rotate(x, start))
    shifted = torch.full_like(stored, torch.nan)
    rotary.shift_time(stored, to - start, shifted)
    torch.testing.assert_close(shifted, heads_of(rotary.rotate(x, to)), rtol=0, atol=atol)


def test_a_shift_by_nothing_is_the_key_bit_for_bit() -> None:
    stored = normal(2, 3, 12, 16, dtype=torch.bfloat16)
    out = torch.empty_like(stored)
    Rotary(geometry()).shift_time(stored, 0, out)
    assert torch.equal(out, stored)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once_at_the_end(dtype: torch.dtype) -> None:
    rotary, x = Rotary(geometry()), normal(1, 12, 2, 16, dtype=dtype)
    assert torch.equal(rotary.rotate(x, 300), rotary.rotate(x.float(), 300).to(dtype))
    stored = heads_of(x)
    rough, exact = torch.empty_like(stored), torch.empty_like(stored, dtype=torch.float32)
    rotary.shift_time(stored, 17, rough)
    rotary.shift_time(stored.float(), 17, exact)
    assert torch.equal(rough, exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fifty_shifts_from_the_stored_key_are_one_shift(dtype: torch.dtype) -> None:
    rotary = Rotary(geometry())
    stored = heads_of(rotary.rotate(normal(1, 12, 2, 16, dtype=dtype), 40))
    window, once = torch.empty_like(stored), torch.empty_like(stored)
    for delta in range(1, 51):
        rotary.shift_time(stored, delta, window)
    rotary.shift_time(stored, 50, once)
    assert torch.equal(window, once)


def test_a_shifted_shift_drifts_in_bf16() -> None:
    """Why shifts start from the stored key: the test above is not idle."""
    rotary = Rotary(geometry())
    stored = heads_of(rotary.rotate(normal(1, 12, 2, 16, dtype=torch.bfloat16), 40))
    window, once = stored.clone(), torch.empty_like(stored)
    for _ in range(50):
        rotary.shift_time(window, 1, window)
    rotary.shift_time(stored, 50, once)
    assert (window - once).float().norm() > 0.01 * once.float().norm()


@given(start=st.integers(0, 30), tokens=st.integers(1, 9), delta=st.integers(-40, 40))
def test_bits_do_not_depend_on_where_a_key_lies(start: int, tokens: int, delta: int) -> None:
    rotary = Rotary(geometry())
    buffer = normal(2, 3, 40, 24)  # eight channels more than the head's own
    whole = torch.empty_like(buffer)
    rotary.shift_time(buffer, delta, whole)
    window = torch.full_like(buffer, 7.0)
    rotary.shift_time(buffer[:, :, start : start + tokens], delta, window[:, :, start : start + tokens])
    assert torch.equal(window[:, :, start : start + tokens], whole[:, :, start : start + tokens])
    assert (window[:, :, :start] == 7).all()
    assert (window[:, :, start + tokens :] == 7).all()
    timed = 2 * rotary.time_pairs
    assert torch.equal(whole[..., timed:], buffer[..., timed:])


def test_many_keys_are_shifted_in_slices_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rotary = Rotary(geometry())
    stored = normal(3, 2, 2, 12, 16)
    at_once, in_slices = torch.empty_like(stored), torch.empty_like(stored)
    rotary.shift_time(stored, -9, at_once)
    monkeypatch.setattr("worldkv.backends.rotary._AT_ONCE", 100)
    rotary.shift_time(stored, -9, in_slices)
    assert torch.equal(at_once, in_slices)


def test_layers_of_a_chunk_share_their_angles(monkeypatch: pytest.MonkeyPatch) -> None:
    rotary = Rotary(geometry())
    x = normal(1, 6, 2, 16)
    first, second = rotary.rotate(x, 3), rotary.rotate(x, 4)
    computed: list[Tensor] = []
    outer = torch.outer

    def counting(a: Tensor, b: Tensor) -> Tensor:
        computed.append(a)
        return outer(a, b)

    monkeypatch.setattr(torch, "outer", counting)
    assert torch.equal(rotary.rotate(x, 4), second)
    assert not computed
    assert torch.equal(rotary.rotate(x, 3), first)
    assert len(computed) == 1


def test_a_long_table_costs_nothing() -> None:
    rotary = Rotary(CacheGeometry(1, 1, 1, 128, 2, 3, rope_frames=1_000_000))
    last = rotary.rotate(normal(1, 6, 1, 128), 999_999)
    assert last.shape == (1, 6, 1, 128)
    held = [value for value in vars(rotary).values() if isinstance(value, Tensor)]
    assert held
    assert sum(value.numel() for value in held) < 10_000


def test_positions_have_no_end() -> None:
    far, near = (Rotary(geometry(rope_frames=frames)) for frames in (10, 1 << 16))
    x = normal(1, 18, 2, 16)
    assert torch.equal(far.rotate(x, 5000), near.rotate(x, 5000))


@pytest.mark.parametrize("shape", [(1, 7, 2, 16), (1, 6, 2, 18)])
def test_tokens_that_are_not_whole_frames_are_refused(shape: Shape) -> None:
    with pytest.raises(SpecError, match="whole frames of 6 tokens and heads of 16 channels"):
        Rotary(geometry()).rotate(normal(*shape), 0)


def test_a_base_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="theta must be above 0"):
        Rotary(geometry(), theta=0.0)
