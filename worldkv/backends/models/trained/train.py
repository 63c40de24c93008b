"""`python -m worldkv.backends.models.trained.train`: train the models anew and write their weights."""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from worldkv.backends.models.trained.config import POSITIONS, TrainedConfig
from worldkv.backends.models.trained.shipped import ship, shipped_weights
from worldkv.backends.models.trained.training import Recipe, Record, train

STATES = Path("build/train-world")
"""Where trainings are saved, to be taken up again."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the command line says: each model on a core of its own, then write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", nargs="+", choices=POSITIONS, default=POSITIONS, help="which models")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="of training, over all sittings")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--every", type=float, default=Recipe.every, help="seconds between checkpoints")
    parser.add_argument("--states", type=Path, default=STATES, help="checkpoints, taken up from if they are there")
    parser.add_argument("--weights", type=Path, help="where weights go; by default into the package")
    given = parser.parse_args(arguments)
    recipe = Recipe(minutes=given.minutes, seed=given.seed, every=given.every)
    weights = given.weights or shipped_weights()
    given.states.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(len(given.positions), mp_context=get_context("spawn")) as cores:
        running = [cores.submit(train_one, name, recipe, given.states, weights) for name in given.positions]
        for one in running:
            one.result()


def train_one(positions: str, recipe: Recipe, states: Path, weights: Path) -> None:
    """Train one model on one core and write its weights and record."""
    torch.set_num_threads(1)

    def report(entry: Record) -> None:
        done = min(100, 100 * entry["seconds"] / 60 / recipe.minutes)
        seen = ", ".join(
            f"{name.replace('_', ' ')} memory {value:.1f} dB" for name, value in entry.items() if "_" in name
        )
        print(f"{positions}: {done:.0f} %, step {entry['step']:.0f}, loss {entry['loss']:.3f}; {seen}", flush=True)

    training = train(TrainedConfig(positions), recipe, states / f"{positions}.pt", report)
    record = {
        "positions": positions,
        "licence": "Apache-2.0",
        "recipe": dataclasses.asdict(recipe),
        "steps": training.step,
        "minutes": round(training.seconds / 60, 1),
        "machine": f"one of {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "checkpoints": training.record,
    }
    ship(training.average, record, weights)


if __name__ == "__main__":
    main()
