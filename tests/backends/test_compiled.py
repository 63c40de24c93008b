"""A compiled model that calls the cache: the same numbers, graphs broken at the calls, nothing compiled anew a step."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from worldkv.backends import Rotary, WorldCache
from worldkv.geometry import CacheGeometry
from worldkv.policies import FullKV, SlidingWindow
from worldkv.policy import CachePolicy
from worldkv.signals import Viewpoint

GEOMETRY = CacheGeometry(2, 2, 2, 16, 2, 2, itemsize=4)
Way = Literal["attend", "window"]
STEPS = 8


class Layer(nn.Module):
    def __init__(self, index: int, way: Way) -> None:
        super().__init__()
        self.index, self.way = index, way
        self.qkv, self.out, self.rotary = nn.Linear(32, 96), nn.Linear(32, 32), Rotary(GEOMETRY)

    def forward(self, x: Tensor, cache: WorldCache) -> Tensor:
        q, k, v = (part.reshape(*x.shape[:2], 2, 16) for part in self.qkv(x).chunk(3, -1))
        q, k = self.rotary.rotate(q, cache.start_frame), self.rotary.rotate(k, cache.start_frame)
        if self.way == "attend":
            attended = cache.attend(self.index, q, k, v)
        else:
            keys, values = cache.window(self.index, k, v)
            attended = scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, keys, values)))  # type: ignore[arg-type]
            attended = attended.transpose(1, 2)
        return x + torch.relu(self.out(attended.flatten(2)))


def rollout(model: nn.Module, policy: CachePolicy, compiled: nn.Module | None = None) -> tuple[Tensor, list[int]]:
    """What the model gives, step by step, and how many graphs were compiled by the end of each step."""
    from torch._dynamo.utils import counters

    draw, outs, graphs = torch.Generator().manual_seed(0), [], []
    with torch.inference_mode(), WorldCache(policy, GEOMETRY) as cache:
        for _ in range(STEPS):
            cache.begin(Viewpoint())
            for _ in range(2):
                x = torch.randn(1, 12, 32, generator=draw)
                for layer in compiled or model:  # type: ignore[attr-defined]
                    x = layer(x, cache)
                outs.append(x)
            cache.commit()
            graphs.append(counters["stats"]["unique_graphs"])
    return torch.stack(outs), graphs


@pytest.mark.parametrize("policy", [FullKV(), SlidingWindow(6)], ids=["growing", "steady"])
@pytest.mark.parametrize("way", ["attend", "window"])
def test_nothing_is_compiled_anew_from_step_to_step(policy: CachePolicy, way: Way) -> None:
    import torch._dynamo
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    model = nn.ModuleList([Layer(index, way) for index in range(2)])
    expected, _ = rollout(model, policy)
    torch._dynamo.reset()
    counters.clear()
    compiled = nn.ModuleList([torch.compile(layer, backend="eager") for layer in model])  # type: ignore[misc]
    found, graphs = rollout(model, policy, compiled)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert graphs[0] > 0
    assert graphs[2] == graphs[-1], "the second step may make a length symbolic, no later one compiles anything"
    torch._dynamo.reset()
