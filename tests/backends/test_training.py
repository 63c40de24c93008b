"""Training the world model: it learns, is taken up again, and writes what the package can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from worldkv.backends.models.trained.clips import ANEW, EXACT, FRAMES, draw_clip
from worldkv.backends.models.trained.config import TrainedConfig
from worldkv.backends.models.trained.muon import orthogonalised
from worldkv.backends.models.trained.train import main
from worldkv.backends.models.trained.training import Recipe, Training, draw_start_frames
from worldkv.errors import SpecError

SMALL = Recipe(batch=2, targets=2, contexts=(2,), fitted_clips=6, first_clips=4)


def test_the_loss_falls() -> None:
    training = Training(TrainedConfig(), SMALL)
    losses = [training.one_step() for _ in range(24)]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_a_training_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    training = Training(TrainedConfig("rotary"), SMALL)
    training.one_step()
    torch.save(training.state(), tmp_path / "state.pt")
    again = Training(TrainedConfig("rotary"), SMALL)
    again.take_up(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.step == 1
    for one, other in ((training.model, again.model), (training.average, again.average)):
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert again.one_step() == pytest.approx(again.one_step(), rel=1.0)
    with pytest.raises(SpecError, match="seed"):
        Training(TrainedConfig("rotary"), Recipe(seed=1, fitted_clips=6)).take_up(training.state())


def test_the_command_writes_weights_that_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--positions", "rays", "--minutes", "0.001", "--states", str(tmp_path), "--weights", str(tmp_path / "out")])
    assert (tmp_path / "rays.pt").exists()
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["SHA256SUMS", "rays.json", "rays.safetensors"]


def test_clips_look_back() -> None:
    clip = draw_clip(np.random.default_rng(4), 6, 6)
    assert clip.pictures.shape == (12, FRAMES, 32, 48, 3)
    assert 0 <= clip.pictures.min() and clip.pictures.max() <= 1
    again = np.flatnonzero(clip.kind == EXACT)
    assert len(again)
    for chunk in again:
        first = clip.pictures[clip.source[chunk]]
        assert torch.equal(clip.pictures[chunk], first) or torch.equal(clip.pictures[chunk], first.flip(0))
    assert (clip.source[clip.kind == ANEW] == -1).all() and (clip.source[6:] < 6).all()


def test_buildings_are_drawn_afresh() -> None:
    random = np.random.default_rng(0)
    assert not torch.equal(draw_clip(random, 1, 0).pictures, draw_clip(random, 1, 0).pictures)


def test_targets_come_after_their_context() -> None:
    starts = draw_start_frames(np.random.default_rng(1), 5, 4)
    assert (starts[:5].diff() > 0).all() and (starts[5:] > starts[4]).all() and (starts % FRAMES == 0).all()


def test_singular_values_become_one() -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(8, 20, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.5 and values.max() < 1.3
