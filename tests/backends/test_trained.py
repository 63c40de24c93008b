"""The trained world: it remembers from the cache alone, and computes through it what plain attention computes."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backends.plain_cache import PlainCache
from worldkv.backends import WorldCache, roll_out
from worldkv.backends.models.trained import TrainedPainter, check_trained_shape, trained_world, training_record
from worldkv.backends.models.trained.config import GEOMETRY, POSITIONS, TrainedConfig
from worldkv.backends.models.trained.rays import turn, turned_by
from worldkv.backends.models.trained.shipped import shipped_weights
from worldkv.backends.rotary import Rotary
from worldkv.errors import SpecError
from worldkv.experiments.comparison import compare
from worldkv.geometry import PRESETS
from worldkv.pose import Array
from worldkv.scene import scene_of, viewpoints
from worldkv.specs.parse import parse_policy
from worldkv.trajectory import ChunkedTrajectory, cut, load_trajectory
from worldkv.worlds import PaintedWorld, levelled, textured_world

TURNS = "script:R_L_R_L_R_L90_360"
CHUNKS = 30


@functools.cache
def path() -> ChunkedTrajectory:
    trajectory = load_trajectory(TURNS, format=None, frames_per_second=None)
    return cut(levelled(trajectory, GEOMETRY.video_frames_per_chunk), GEOMETRY)


@functools.cache
def world(seed: int = 0) -> PaintedWorld:
    return textured_world(path(), GEOMETRY, seed=seed)


class Nothing(PlainCache):
    """Forgets every chunk at once, but counts it."""

    @property
    def start_frame(self) -> int:
        return self.forgotten * self.geometry.frames_per_chunk

    forgotten = 0

    def commit(self) -> None:
        self.clean = {}
        self.forgotten += 1


class Permuted(PlainCache):
    """Keeps every key and value, but chunks have swapped their values."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        kept = self.kept[layer]
        order = np.random.default_rng(len(kept)).permutation(len(kept))
        self.kept[layer] = [(kept[at][0], kept[other][1]) for at, other in enumerate(order)]
        answer = super().attend(layer, q, k, v, clean, hidden)
        self.kept[layer] = kept
        return answer


class Without(PlainCache):
    """Plain attention that does not see some of the chunks."""

    unseen: frozenset[int] = frozenset()

    @property
    def start_frame(self) -> int:
        return len(self.all[0]) * self.geometry.frames_per_chunk if self.unseen else super().start_frame

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        self.all = self.kept
        self.kept = [[pair for at, pair in enumerate(pairs) if at not in self.unseen] for pairs in self.all]
        answer = super().attend(layer, q, k, v, clean, hidden)
        self.kept = self.all
        return answer


def plainly(given: PaintedWorld, cache: PlainCache, positions: str = "rays", chunks: int = CHUNKS) -> TrainedPainter:
    painter = TrainedPainter(trained_world(positions), given)
    for chunk in range(chunks):
        painter.paint(cache, chunk)
        cache.commit()
    return painter


def through_the_cache(
    given: PaintedWorld,
    spec: str,
    positions: str = "rays",
    *,
    seed: int = 0,
    visits: str = "given",
    chunks: int = CHUNKS,
) -> TrainedPainter:
    policy = parse_policy(spec)
    painter = TrainedPainter(
        trained_world(positions), given, seed=seed, visits=visits, asks_first=policy.asked_at == "first_pass"
    )
    with WorldCache(policy, GEOMETRY, rotary=painter.rotary, scene=scene_of(path())) as cache:
        for _ in roll_out(painter.paint, cache, viewpoints(path().first(chunks))):
            pass
    return painter


def decibels(painter: TrainedPainter, given: PaintedWorld) -> float:
    """Mean over generated chunks against the truth, where it counts."""
    errors = []
    for chunk in np.flatnonzero(~painter.given):
        frames = given.surface.of_chunk(int(chunk))
        counted = given.seen_before.counted[frames]
        errors.append(np.square(painter.pictures[frames] - given.truth[frames])[counted].mean())
    return float(np.mean([-10 * math.log10(float(error)) for error in errors]))


@functools.cache
def whole() -> TrainedPainter:
    return plainly(world(), PlainCache(GEOMETRY))


def test_some_chunks_come_back_and_only_they_are_generated() -> None:
    counted = world().seen_before.counted.reshape(CHUNKS, -1).mean(axis=1)
    known = 1 - world().novel.reshape(CHUNKS, -1).mean(axis=1)
    assert np.array_equal(~whole().given, (counted >= 0.1) & (known >= 0.9))
    assert (~whole().given).sum() >= 5


def test_an_empty_cache_knows_nothing() -> None:
    assert decibels(plainly(world(), Nothing(GEOMETRY)), world()) <= decibels(whole(), world()) - 8


def test_values_that_left_their_keys_are_no_memory() -> None:
    assert decibels(plainly(world(), Permuted(GEOMETRY)), world()) <= decibels(whole(), world()) - 8


@pytest.mark.parametrize("visits", ["given", "free"])
def test_the_truth_of_what_is_generated_is_never_read(visits: str) -> None:
    given = world()
    painter = through_the_cache(given, "worldkv", visits=visits, chunks=26)
    truth = given.truth.copy()
    truth[np.repeat(~painter.given, GEOMETRY.frames_per_chunk)] = np.nan
    poisoned = dataclasses.replace(given, truth=truth, imagined=np.full_like(truth, np.nan))
    assert not np.isnan(painter.pictures).any()
    assert np.array_equal(through_the_cache(poisoned, "worldkv", visits=visits, chunks=26).pictures, painter.pictures)


def test_memory_is_in_the_chunks_that_saw_the_view() -> None:
    """Chunks are taken away one after the other, from those that look most the same way on."""
    given = world()
    revisit = int(np.flatnonzero(~whole().given)[-1])
    apart = headings_apart(revisit)[:revisit]
    nearest = [int(chunk) for chunk in np.argsort(apart, kind="stable")]
    found = {}
    for away in (0, len([a for a in apart if a < 60]), revisit - 1):
        cache = Without(GEOMETRY)
        painter = TrainedPainter(trained_world(), given)
        for chunk in range(revisit + 1):
            cache.unseen = frozenset(nearest[:away]) if chunk == revisit else frozenset()
            painter.paint(cache, chunk)
            cache.commit()
        painter.given[:] = True
        painter.given[revisit] = False
        found[away] = decibels(painter, given)
    everything, unseen, alone = found.values()
    assert unseen <= everything - 8
    assert alone <= everything - 8
    cache = Without(GEOMETRY)
    painter = TrainedPainter(trained_world(), given)
    for chunk in range(revisit + 1):
        keep = set(nearest[:4])
        cache.unseen = frozenset(range(revisit)) - keep if chunk == revisit else frozenset()
        painter.paint(cache, chunk)
        cache.commit()
    painter.given[:] = True
    painter.given[revisit] = False
    assert decibels(painter, given) >= everything - 3, "what looks elsewhere is not what it is remembered from"


def headings_apart(revisit: int) -> Array:
    """Degrees between the middle of every chunk's view and a revisit's."""
    forward = path().camera.frame_rotations[:, 1, :, 2]
    return np.asarray(np.degrees(np.arccos(np.clip(forward @ forward[revisit], -1, 1))))


@pytest.mark.parametrize("positions", POSITIONS)
def test_full_kv_through_the_cache_is_plain_attention(positions: str) -> None:
    plain = whole() if positions == "rays" else plainly(world(), PlainCache(GEOMETRY), positions)
    cached = through_the_cache(world(), "full-kv", positions)
    assert np.abs(plain.pictures - cached.pictures).max() < 1e-3


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_cache_computes_what_training_computed(positions: str) -> None:
    """One masked pass over all chunks at once, as in training, against passes chunk by chunk."""
    model, random = trained_world(positions), torch.Generator().manual_seed(3)
    places = torch.rand(1, 5, 3, 3, generator=random, dtype=torch.float64) * 4
    latents = torch.randn(1, 5, GEOMETRY.chunk_tokens, model.config.latent_channels, generator=random)
    starts = 3 * torch.arange(5)[None]
    sees = torch.ones(1, 4, 4, dtype=torch.bool).tril(-1), torch.ones(1, 1, 4, dtype=torch.bool)
    cache = PlainCache(GEOMETRY)
    with torch.inference_mode():
        at_once = model.denoised(latents[:, :4], latents[:, 4:], torch.full((1, 1), 0.7), places, starts, sees)[:, 0]
        for chunk in range(5):
            turned = turned_by(places[:, chunk], starts[:, chunk], model.config)
            clean = chunk < 4
            answer = model(
                latents[:, chunk],
                0.0 if clean else 0.7,
                turned,
                lambda layer, q, k, v, clean=clean: cache.attend(layer, q, k, v, clean=clean),
            )
            if clean:
                cache.commit()
    assert torch.allclose(answer, at_once, atol=1e-4)


def test_equal_seeds_give_equal_pictures() -> None:
    first, again, other = (through_the_cache(world(), "worldkv", seed=seed, chunks=25) for seed in (1, 1, 2))
    assert np.array_equal(first.pictures, again.pictures)
    assert not np.array_equal(first.pictures, other.pictures)


def test_free_rollouts_are_given_the_first_chunk_alone() -> None:
    assert TrainedPainter(trained_world(), world(), visits="free").given.nonzero()[0].tolist() == [0]
    with pytest.raises(SpecError, match="visits"):
        TrainedPainter(trained_world(), world(), visits="all")


def test_simulator_and_tensors_agree() -> None:
    """The same rows, counted without a model and measured with it."""
    chosen = ["full-kv", "sliding-window:sink_frames=3", "worldkv", "frustum-coverage"]
    options = {"policies": chosen, "geometry": GEOMETRY, "view_distance": 4.0, "match": "none", "baselines": False}
    simulated = compare(path(), **options).to_dict()  # type: ignore[arg-type]
    with_model = compare(path(), world="trained", **options).to_dict()  # type: ignore[arg-type]
    keys = ("spec", "window_tokens_peak", "bytes_host_to_device", "bytes_device_to_host", "revisit_recall")
    for ours, theirs in zip(with_model["rows"], simulated["rows"], strict=True):
        assert [ours[key] for key in keys] == [theirs[key] for key in keys]
        assert ours["psnr_truth"] > 10
    gap = with_model["world"]["memory_gap"]
    assert gap["with_memory"] >= gap["without_memory"] + 8 and gap["revisits"] >= 2
    assert any("Protocol `given`" in note for note in with_model["notes"])


def test_a_policy_that_asks_after_the_first_pass_is_asked() -> None:
    asked = decibels(through_the_cache(world(), "quest-bounds"), world())
    assert asked >= decibels(through_the_cache(world(), "sliding-window:recent_frames=15,sink_frames=3"), world()) + 3


@pytest.mark.parametrize("head", range(GEOMETRY.heads))
def test_keys_are_turned_by_rays(head: int) -> None:
    """Two rays that meet the same way from the same place agree however far both have turned and walked together."""
    places = torch.tensor([[[1.0, 2.0, 0.3]] * 3, [[1.0, 2.0, 0.3 + 2 * math.pi]] * 3], dtype=torch.float64)
    turned = turned_by(places, torch.zeros(2), TrainedConfig())
    x = torch.randn(2, GEOMETRY.chunk_tokens, GEOMETRY.heads, GEOMETRY.head_dim)
    y = turn(x, turned.keys)
    assert torch.allclose(y[0], turn(x[:1], turned.keys[:, 1:])[0], atol=1e-4)
    assert torch.allclose(turn(y, turned.keys, back=True)[..., head, :], x[..., head, :], atol=1e-5)


def test_ordinary_positions_are_those_of_the_cache() -> None:
    turned = turned_by(torch.zeros(1, 3, 3, dtype=torch.float64), torch.tensor([21]), TrainedConfig("rotary"))
    x = torch.randn(1, GEOMETRY.chunk_tokens, GEOMETRY.heads, GEOMETRY.head_dim)
    assert torch.allclose(turn(x, turned.keys), Rotary(GEOMETRY).rotate(x, 21), atol=1e-5)


def test_the_weights_are_whole_small_and_told_about() -> None:
    files = list(shipped_weights().glob("*.safetensors"))
    assert {file.stem for file in files} == set(POSITIONS)
    assert sum(file.stat().st_size for file in files) <= 4_000_000
    for positions in POSITIONS:
        record = training_record(positions)
        assert record["licence"] == "Apache-2.0" and record["machine"] and record["minutes"] > 0
        assert record["checkpoints"][0]["loss"] > record["checkpoints"][-1]["loss"]


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    import shutil
    from pathlib import Path

    folder = Path(str(tmp_path))
    shutil.copytree(shipped_weights(), folder / "weights")
    file = folder / "weights" / "rays.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr("worldkv.backends.models.trained.shipped._FOLDER", folder / "weights")
    with pytest.raises(SpecError, match="damaged"):
        trained_world.__wrapped__("rays")
    assert trained_world.__wrapped__("rotary").config.positions == "rotary"


def test_another_cache_shape_is_refused() -> None:
    with pytest.raises(SpecError, match="--geometry trained"):
        check_trained_shape(PRESETS["rooms"])
    with pytest.raises(SpecError, match="positions"):
        trained_world("none")
