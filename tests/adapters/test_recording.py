"""Models of other libraries are recorded under their adapters, and the simulator replays them record by record."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.adapters.tiny_language_models import opened, text, tiny
from tests.adapters.tiny_wan import cache_for, prompts, roll_out_cached, tiny_wan
from tests.backends.replayed import same, simulated
from worldkv import parse_policy, record
from worldkv.adapters.diffusers import apply_worldkv
from worldkv.adapters.transformers import forward_in_chunks
from worldkv.engine.state import StepRecord

WAN = ["full-kv", "worldkv:retrieved_frames=6,recent_frames=3", "h2o:recent_frames=3,heavy_frames=6"]
LANGUAGE = [
    "sliding-window:recent_frames=2,sink_frames=1",
    "h2o:recent_frames=2,heavy_frames=2",
    "quest-bounds:sink_frames=1,recent_frames=2,retrieved_frames=2",
]


@pytest.mark.parametrize("spec", WAN)
def test_a_diffusers_model(spec: str, tmp_path: Path) -> None:
    """A first chunk of one latent, an image, and a last one cut short."""
    model, file, steps = tiny_wan(), tmp_path / "wan.safetensors", list[StepRecord]()
    with torch.inference_mode(), cache_for(model, spec) as cache, apply_worldkv(model, cache) as attached:
        cache.on_commit = lambda step, view, measured: steps.append(step)
        with record(cache, file):
            roll_out_cached(attached, (1, *(3,) * 8, 2), prompts())
        geometry = cache.geometry
    assert len(steps) == 10
    assert same(steps, simulated(parse_policy(spec, geometry), file, geometry))


@pytest.mark.parametrize("spec", LANGUAGE)
def test_a_language_model(spec: str, tmp_path: Path) -> None:
    model, file, steps = tiny(), tmp_path / "llm.safetensors", list[StepRecord]()
    with torch.inference_mode(), opened(model, spec) as cache:
        cache.world.on_commit = lambda step, view, measured: steps.append(step)
        with record(cache.world, file):
            for _ in forward_in_chunks(model, text(), cache):
                pass
            cache.finish()
        geometry = cache.world.geometry
    assert len(steps) == 9, "the last six tokens fill no chunk"
    assert same(steps, simulated(parse_policy(spec, geometry), file, geometry))
