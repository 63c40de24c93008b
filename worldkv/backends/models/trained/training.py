"""Train a world model: flow matching on clips drawn afresh, resumable, on one core."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.models.trained.clips import EXACT, FRAMES, NEAR, Clip, draw_clip
from worldkv.backends.models.trained.config import TrainedConfig
from worldkv.backends.models.trained.model import TrainedWorld, next_latents
from worldkv.backends.models.trained.muon import Muon
from worldkv.errors import SpecError

Record = dict[str, float]

_LOOK = 4  # checkpoints from one look at held-out clips to the next


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        minutes: wall-clock time of the whole training, over all sittings; the learning rate falls to it.
        seed: of weights, clips and noise.
        batch: clips a step.
        fresh_every: steps between two new clips.
        fitted_clips: clips that the codec is fitted to.
        targets: chunks to denoise in a clip.
        contexts: numbers of context chunks, of which each step draws one.
        first_clips: new clips at the start of a sitting.
        pool: clips kept to draw from.
        rate: of `Muon`; `adam_rate` of AdamW, for all that is no matrix of a layer.
        warm_up: steps over which rates rise.
        context_noise: most noise on context that is noisy, in deviations; half of all steps have some.
        every: seconds between checkpoints; held-out clips are looked at with every fourth.
    """

    minutes: float = 60.0
    seed: int = 0
    batch: int = 4
    fresh_every: int = 2
    fitted_clips: int = 60
    targets: int = 8
    contexts: tuple[int, ...] = (3, 5, 5, 9)
    first_clips: int = 24
    pool: int = 500
    rate: float = 0.02
    adam_rate: float = 2e-3
    warm_up: int = 20
    context_noise: float = 0.25
    every: float = 150.0


class Training:
    """A training under way: what `train` saves and takes up again.

    Attributes:
        model: the weights being trained.
        average: their running average, which is what is shipped.
        record: one entry a checkpoint.
        step: steps so far.
        seconds: of wall-clock time so far.
    """

    def __init__(self, config: TrainedConfig, recipe: Recipe) -> None:
        """A training at its first step; torch's global generator is seeded."""
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self._random = np.random.default_rng([recipe.seed, 1])
        self.model = TrainedWorld(config)
        self.model.codec.fit(
            torch.cat([draw_clip(self._random, 6, 4).pictures.flatten(0, 1) for _ in range(recipe.fitted_clips)])
        )
        self.average = copy.deepcopy(self.model)
        matrices = [p for name, p in self.model.named_parameters() if _is_matrix(name, p)]
        chosen = {id(p) for p in matrices}
        self._rest = [p for p in self.model.parameters() if id(p) not in chosen]
        self._muon = Muon(matrices)
        self._adam = torch.optim.AdamW(self._rest, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
        self._pool: list[tuple[Tensor, Clip]] = []
        self.record: list[Record] = []
        self.step, self.seconds = 0, 0.0

    def one_step(self) -> float:
        """Take one step; the loss."""
        recipe, random = self.recipe, self._random
        chunks = int(random.choice(recipe.contexts))
        latents, places, start_frames = self._batch(chunks)
        context, targets = latents[:, :chunks], latents[:, chunks:]
        if random.random() < 0.5:
            context = (
                context + torch.randn_like(context) * torch.rand(len(context), chunks, 1, 1) * recipe.context_noise
            )
        sees = _masks(random, recipe.batch, chunks, recipe.targets)
        level = torch.rand(recipe.batch, recipe.targets) ** 0.6
        level = torch.where(torch.rand_like(level) < 0.2, 1.0, level)
        share = level[..., None, None]
        noisy = (1 - share) * targets + share * torch.randn_like(targets)
        clean = self.model.denoised(context, noisy, level, places, start_frames, sees)
        error = ((clean - targets) ** 2).mean(dim=(2, 3))
        loss = (error / (level**2 + 0.15)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._rest, 1.0)
        rate = self._rate()
        self._muon.step(recipe.rate * rate)
        for group in self._adam.param_groups:
            group["lr"] = recipe.adam_rate * rate
        self._adam.step()
        self.model.zero_grad()
        self.step += 1
        keep = min(0.995, self.step / (self.step + 9))
        with torch.no_grad():
            for averaged, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                averaged.lerp_(now, 1 - keep)
        return float(loss.detach())

    def _rate(self) -> float:
        """Share of the full learning rate: a rise, a plateau until 40 % of the time, a straight fall."""
        done = self.seconds / 60 / self.recipe.minutes
        return min(1.0, (self.step + 1) / self.recipe.warm_up) * (1.0 if done < 0.4 else max(0.02, (1 - done) / 0.6))

    def _batch(self, chunks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents `(batch, chunks + targets, tokens, channels)`, places and start frames of a batch."""
        recipe, random, most = self.recipe, self._random, max(self.recipe.contexts)
        wanted = int(self.step % recipe.fresh_every == 0) if self._pool else recipe.first_clips
        for _ in range(wanted):
            clip = draw_clip(random, most, recipe.targets)
            tokens = self.model.codec.encode(clip.pictures.flatten(0, 1))
            self._pool.append((tokens.reshape(len(clip.kind), -1, tokens.shape[-1]), clip))
        del self._pool[: -recipe.pool]
        picked = [self._pool[-1]] + [self._pool[int(random.integers(len(self._pool)))] for _ in range(recipe.batch - 1)]
        latents, places, starts = [], [], []
        for tokens, clip in picked:
            looked_at = np.unique(clip.source[most:][clip.source[most:] >= 0])
            random.shuffle(looked_at)
            others = np.setdiff1d(np.arange(most), looked_at)
            random.shuffle(others)
            kept = np.sort(np.concatenate([looked_at, others])[:chunks])
            rows = torch.from_numpy(np.concatenate([kept, np.arange(most, most + recipe.targets)]).astype(np.int64))
            latents.append(tokens[rows])
            places.append(clip.places[rows])
            starts.append(draw_start_frames(random, chunks, recipe.targets))
        return torch.stack(latents), torch.stack(places), torch.stack(starts)

    def state(self) -> dict[str, Any]:
        """All that a later sitting needs, but for the pool of clips, which fills anew."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "momentum": self._muon.momentum,
            "adam": self._adam.state_dict(),
            "random": self._random.bit_generator.state,
            "torch_random": torch.get_rng_state(),
            "record": self.record,
            "step": self.step,
            "seconds": self.seconds,
            "seed": self.recipe.seed,
        }

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            SpecError: it is of another seed.
        """
        if state.get("seed", self.recipe.seed) != self.recipe.seed:
            raise SpecError(f"the saved training has seed {state['seed']}, asked is {self.recipe.seed}; move it away")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for momentum, saved in zip(self._muon.momentum, state["momentum"], strict=True):
            momentum.copy_(saved)
        self._adam.load_state_dict(state["adam"])
        self._random.bit_generator.state = state["random"]
        torch.set_rng_state(state["torch_random"])
        self.record, self.step, self.seconds = state["record"], state["step"], state["seconds"]


def train(config: TrainedConfig, recipe: Recipe, state_file: Path, report: Callable[[Record], None]) -> Training:
    """Train until `recipe.minutes` are spent, in this sitting and earlier ones.

    Args:
        config: the model's shape.
        recipe: how it is trained.
        state_file: where the training is saved every so often, and taken up from if it is there.
        report: is told each checkpoint's entry of the record.
    """
    training = Training(config, recipe)
    if state_file.exists():
        training.take_up(torch.load(state_file, weights_only=True))
    held_out = [draw_clip(np.random.default_rng([recipe.seed, 2, clip]), 6, 6) for clip in range(6)]
    losses: list[float] = []
    saved = 0
    last = checkpoint = time.monotonic()
    while training.seconds < recipe.minutes * 60:
        losses.append(training.one_step())
        now = time.monotonic()
        training.seconds += now - last
        last = now
        is_over = training.seconds >= recipe.minutes * 60
        if now - checkpoint >= recipe.every or is_over:
            entry = {
                "step": training.step,
                "seconds": round(training.seconds),
                "loss": round(float(np.mean(losses)), 4),
            }
            saved += 1
            if is_over or saved % _LOOK == 0:
                entry |= held_out_psnr(training.average, held_out)
            training.record.append(entry)
            losses.clear()
            _save(training.state(), state_file)
            report(entry)
            checkpoint = last = time.monotonic()  # looking does not count as training
    return training


@torch.inference_mode()
def held_out_psnr(model: TrainedWorld, clips: list[Clip], steps: int = 4) -> Record:
    """Mean dB of exact and near returns on held-out clips, with all context and without the chunks near the view."""
    generator, found = torch.Generator().manual_seed(0), dict[str, list[float]]()
    for clip in clips:
        targets = int((np.arange(len(clip.kind)) >= 6).sum())
        chunks = len(clip.kind) - targets
        tokens = model.codec.encode(clip.pictures.flatten(0, 1))
        tokens = tokens.reshape(1, len(clip.kind), -1, tokens.shape[-1])
        starts = 3 * torch.arange(len(clip.kind))[None]
        before = torch.ones(1, chunks, chunks, dtype=torch.bool).tril(-1)
        truth = _pictures(model, tokens[0, chunks:])
        for name, sees in (("with", np.ones((targets, chunks), bool)), ("without", ~_near(clip, chunks))):
            latents = torch.randn(1, targets, *tokens.shape[2:], generator=generator)
            for done in range(steps):
                level = 1 - done / steps
                clean = model.denoised(
                    tokens[:, :chunks],
                    latents,
                    torch.full((1, targets), level),
                    clip.places[None],
                    starts,
                    (before, torch.from_numpy(sees)[None]),
                )
                latents = next_latents(latents, clean, level, level - 1 / steps)
            made = _pictures(model, latents[0])
            error = ((made - truth) ** 2).mean(dim=(1, 2, 3, 4))
            for kind, each in zip(clip.kind[chunks:].tolist(), (-10 * error.log10()).tolist(), strict=True):
                if kind in (EXACT, NEAR):
                    found.setdefault(f"{'exact' if kind == EXACT else 'near'}_{name}", []).append(each)
    return {name: round(float(np.mean(each)), 2) for name, each in sorted(found.items())}


def _pictures(model: TrainedWorld, latents: Tensor) -> Tensor:
    """Chunks `(chunks, tokens, channels)` as pictures `(chunks, frames, rows, columns, 3)`."""
    frames = latents.reshape(len(latents) * FRAMES, -1, latents.shape[-1])
    decoded = model.codec.decode(frames).clamp(0, 1)
    return decoded.view(len(latents), FRAMES, *decoded.shape[1:])


def _near(clip: Clip, chunks: int) -> NDArray[np.bool_]:
    """Which context chunks look about where a target does `(targets, chunks)`: within 75 degrees and 4 m."""
    middle = clip.places[:, FRAMES // 2].numpy()
    apart = middle[chunks:, None] - middle[None, :chunks]
    turned = np.abs((apart[..., 2] + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray((np.hypot(apart[..., 0], apart[..., 1]) < 4) & (turned < np.deg2rad(75)))


def draw_start_frames(random: np.random.Generator, chunks: int, targets: int) -> Tensor:
    """Latent frames at which chunks start `(chunks + targets,)`: context in order of time, targets after all of it."""
    span = int(math.exp(random.uniform(math.log(chunks), math.log(150))))
    context = np.sort(random.choice(max(span, chunks), chunks, replace=False))
    first = int(random.integers(150))
    after = max(span, chunks) + random.integers(0, 3, targets)
    return torch.from_numpy(FRAMES * (first + np.concatenate([context, after])).astype(np.int64))


def _masks(random: np.random.Generator, batch: int, chunks: int, targets: int) -> tuple[Tensor, Tensor]:
    """Which chunk may attend to which, some of it struck out at random."""
    earlier = np.tril(np.ones((chunks, chunks), bool), -1)
    among = earlier & (random.random((batch, chunks, chunks)) > random.choice((0.0, 0.3, 0.7), (batch, 1, 1)))
    dropped = random.choice((0.0, 0.0, 0.0, 0.5, 1.0), (batch, targets, 1))
    return torch.from_numpy(among), torch.from_numpy(random.random((batch, targets, chunks)) >= dropped)


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether `Muon` takes it: the projections of the layers."""
    return parameter.ndim == 2 and name.startswith("layers") and "modulation" not in name and "quiet" not in name


def _save(state: dict[str, Any], file: Path) -> None:
    part = file.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, file)
