"""Which attention kernels are asked for, in which order, and that the caller's own choice stands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldkv.backends import attention, attention_kernels
from worldkv.backends.attention import attend

FLASH, EFFICIENT, CUDNN, MATH = attention_kernels.ORDER


def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[SDPBackend]]:
    """The order in force at each call of attention, once the CPU counts as a device with a choice."""
    found: list[list[SDPBackend]] = []

    def noted(*arguments: Any, **options: Any) -> Tensor:
        order = torch._C._get_sdp_priority_order()
        switched_on = [kernel for kernel in attention_kernels.ORDER if attention_kernels._is_on(kernel)]
        found.append([kernel for kernel in map(SDPBackend, order) if kernel in switched_on])
        return torch.nn.functional.scaled_dot_product_attention(*arguments, **options)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", noted)
    return found


def test_cudnn_is_asked_late_where_there_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys = torch.ones(1, 2, 3, 8), torch.ones(1, 2, 5, 8)
    found, before = asked(monkeypatch), torch._C._get_sdp_priority_order()
    plain = attend(queries, keys, keys)
    assert found == [[kernel for kernel in map(SDPBackend, before) if kernel in attention_kernels.ORDER]]
    monkeypatch.setattr(attention_kernels, "CHOOSING", frozenset({"cpu"}))
    assert torch.equal(attend(queries, keys, keys), plain)
    assert found[1] == [FLASH, EFFICIENT, CUDNN, MATH]
    assert torch._C._get_sdp_priority_order() == before
    with sdpa_kernel([MATH, EFFICIENT]):
        attend(queries, keys, keys)
    assert found[2] == [EFFICIENT, MATH]
