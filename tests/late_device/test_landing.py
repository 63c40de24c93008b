"""What is fetched lands under the computation: a layer is waited for when it is attended, and no sooner."""

from __future__ import annotations

import pytest
import torch

from tests.backends.rollouts import PASSES, generate, inputs_of, loop, open_cache
from tests.backends.test_ragged import GEOMETRY as RAGGED_GEOMETRY
from tests.backends.test_ragged import Ragged
from tests.policies.all_policies import EVERY
from worldkv.backends.cache import WorldCache
from worldkv.backends.torch_backend import TorchBackend
from worldkv.backends.transfer import incoming
from worldkv.backends.transfer.accelerator_ops import AcceleratorOps
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.geometry import CacheGeometry
from worldkv.parts import QuantisedBank, Rebased, WorldCompression
from worldkv.policies import Composed, WorldKV
from worldkv.policy import CachePolicy
from worldkv.specs.parse import parse_geometry

pytestmark = pytest.mark.usefixtures("late_order")
GEOMETRY = parse_geometry("tiny:layers=5,heads=2,kv_heads=1,frame_rows=2,frame_columns=3,head_dim=8")
LATE = torch.device("late", 0)
POLICIES = {
    "worldkv": WorldKV(3, 12, 6, 0.5),
    "whole": WorldKV(3, 12, 6, 1.0),
    "rebased": WorldKV(3, 12, 6, 0.5, positions=Rebased()),
    "quantised": Composed(compression=QuantisedBank(WorldCompression(0.5), "int8"), retrieved_frames=9),
    "mass": EVERY["snapkv"],
}


def outputs(policy: CachePolicy, ops: DeviceOps, geometry: CacheGeometry = GEOMETRY) -> torch.Tensor:
    path = loop(geometry)
    with open_cache(policy, geometry, path, ops) as cache:
        return torch.stack([generate(cache, path, step)[0] for step in range(len(path.views))])


@pytest.mark.parametrize("name", [*POLICIES, "ragged"])
def test_in_any_number_of_pieces_attention_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, geometry, found = POLICIES.get(name, Ragged()), RAGGED_GEOMETRY if name == "ragged" else GEOMETRY, []
    for pieces in (1, 2, 10):
        monkeypatch.setattr(incoming, "MOST_PIECES", pieces)
        found.append(outputs(policy, AcceleratorOps(LATE), geometry))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    if name != "mass":  # which a device measures in another order
        assert torch.equal(found[0], outputs(policy, CpuOps(), geometry))


class WaitsForTheFirstLayer(AcceleratorOps):
    """The device waits for what the first layer needs, and takes the others as they are."""

    is_first = True

    def wait(self, event: Event) -> None:
        if self.is_first:
            super().wait(event)


def test_layers_that_nobody_waits_for_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = TorchBackend.settle

    def noted(backend: TorchBackend, layer: int | None = None) -> None:
        if isinstance(backend.ops, WaitsForTheFirstLayer):
            backend.ops.is_first = layer in (None, 0)
        settle(backend, layer)
        if isinstance(backend.ops, WaitsForTheFirstLayer):
            backend.ops.is_first = True

    monkeypatch.setattr(TorchBackend, "settle", noted)
    for name in ("worldkv", "rebased", "quantised"):
        wanted = outputs(POLICIES[name], AcceleratorOps(LATE))
        assert not wanted.isnan().any()
        assert not torch.equal(outputs(POLICIES[name], WaitsForTheFirstLayer(LATE)), wanted)


def test_layers_that_land_after_they_were_attended_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = outputs(POLICIES["worldkv"], AcceleratorOps(LATE))
    settle = TorchBackend.settle
    monkeypatch.setattr(TorchBackend, "settle", lambda backend, layer=None: settle(backend, layer and layer - 1))
    assert not torch.equal(outputs(POLICIES["worldkv"], AcceleratorOps(LATE)), wanted)


def attend(cache: WorldCache, step: int, number: int, layer: int) -> torch.Tensor:
    return cache.attend(layer, *inputs_of(cache, step, number, layer), clean=number == PASSES - 1)


def test_the_first_layers_attention_waits_for_no_other_layer() -> None:
    path, fetched = loop(GEOMETRY), 0
    with open_cache(POLICIES["worldkv"], GEOMETRY, path) as cache:
        arriving = cache.backend._incoming
        for step in range(len(path.views)):
            plan = cache.begin(path.views[step])
            fetched += bool(plan.fetched_bytes)
            for layer in range(GEOMETRY.layers):
                attend(cache, step, 0, layer).cpu()  # all that it needs has run
                assert cache.backend.is_landing == (bool(plan.fetched_bytes) and layer < GEOMETRY.layers - 1)
                later = [piece for piece in arriving._under_way if piece.layers.start > layer]
                if cache.backend.is_landing:
                    assert later
                assert not any(piece.event is not None and piece.event.query() for piece in later)
            for layer in range(GEOMETRY.layers):
                attend(cache, step, 1, layer)
            cache.commit()
    assert fetched > 3


def test_first_layers_are_sent_first_as_far_as_the_ring_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    path = loop(GEOMETRY)
    with open_cache(POLICIES["whole"], GEOMETRY, path) as cache:
        arriving, ring = cache.backend._incoming, cache.backend.staging.transit
        send, most = incoming.Incoming._send_piece, 0

        def noted(self: incoming.Incoming) -> None:
            sent.append((self._waiting[0].layers.start, self._waiting[0].chunk))
            send(self)

        monkeypatch.setattr(incoming.Incoming, "_send_piece", noted)
        for step in range(len(path.views)):
            sent.clear()
            plan = cache.begin(path.views[step])
            chunks = plan.fetched_bytes // GEOMETRY.chunk_bytes
            most = max(most, chunks)
            assert len(sent) == min(chunks, 1) * GEOMETRY.layers  # the ring holds one chunk
            for number in range(PASSES):
                for layer in range(GEOMETRY.layers):
                    attend(cache, step, number, layer)
            assert len(sent) == chunks * GEOMETRY.layers
            assert [layer for layer, _ in sent] == sorted(layer for layer, _ in sent)
            assert sum(piece.room.numel() for piece in arriving._under_way if piece.room is not None) <= ring.numel()
            cache.commit()
    assert most > 1
