"""Tensors that lie elsewhere than the cache are refused by name; on two devices of one kind: tests/late_device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from tests.backends.rollouts import inputs_of, loop, open_cache
from tests.policies.all_policies import EVERY
from worldkv.errors import DeviceError
from worldkv.geometry import CacheGeometry
from worldkv.policies import FullKV
from worldkv.signals import Signal

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)


@dataclass(frozen=True)
class ReadsHidden(FullKV):
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.HIDDEN_STATE})


@pytest.mark.parametrize("wrong", ["queries", "keys", "values"])
def test_a_tensor_on_another_device_is_refused(wrong: str) -> None:
    path = loop(SMALL)
    with open_cache(EVERY["worldkv"], SMALL, path) as cache:
        cache.begin(path.views[0])
        parts = dict(zip(("queries", "keys", "values"), inputs_of(cache, 0), strict=True))
        parts[wrong] = parts[wrong].to("meta")
        with pytest.raises(DeviceError, match=f"^attend's {wrong} are on meta, the cache is on .*; move one of them"):
            cache.attend(0, parts["queries"], parts["keys"], parts["values"])


def test_hidden_states_on_another_device_are_refused() -> None:
    path = loop(SMALL)
    with open_cache(ReadsHidden(), SMALL, path) as cache:
        cache.begin(path.views[0])
        q, k, v = inputs_of(cache, 0)
        with pytest.raises(DeviceError, match="^attend's hidden states are on meta"):
            cache.attend(0, q, k, v, clean=True, hidden=q.flatten(2).to("meta"))
