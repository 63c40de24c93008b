"""Whole policies as they come, step by step beside their published rules in plain loops."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from worldkv.answers import Keep
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.geometry import CacheGeometry
from worldkv.parts import Absolute, Rebased
from worldkv.parts.index.fov_overlap import points_in_view
from worldkv.policies import (
    ArkVale,
    ContextAsMemory,
    KeyDiffKV,
    MeanKeyRetrieval,
    PoseNms,
    QuestBounds,
    SnapKV,
    WorldKV,
    WorldMem,
    WorldPlay,
)
from worldkv.policy import CachePolicy, Positions
from worldkv.scene import Scene
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.testing.keyed_backend import KeyedBackend, chunk_tensors
from worldkv.testing.recording_policy import Question, recording_policy

LAYERS, HEADS, CHANNELS, TOKENS = 2, 2, 4, 63
GEOMETRY = CacheGeometry(LAYERS, HEADS, HEADS, CHANNELS, 3, 7, frames_per_chunk=3, rope_frames=1 << 16)
EVERY_HEAD = [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
CHUNKS, VIEW, REACH, SEED = 24, (95.0, 50.0), 2.5, 5
WIDE, HIGH = math.radians(95.0), math.radians(50.0)

Fetch = Callable[[int, list[int]], Iterator[int]]
"""From a step and the chunks banked then to all that would come back, best first."""
Store = Callable[[int, int, int], list[int]]
"""From a chunk, a layer and a head to the positions of the tokens stored."""


# ---------------------------------------------------------------------- the path, and what a model would measure


def mean(vectors: list[list[float]]) -> list[float]:
    return [sum(entries) / len(vectors) for entries in zip(*vectors, strict=True)]


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


class Path(NamedTuple):
    """Cameras frame by frame, and their means chunk by chunk.

    Attributes:
        frame_places: positions of each chunk's frames.
        frame_turns: rotations of each chunk's frames.
        places: mean position of each chunk.
        turns: mean rotation of each chunk.
        matrices: element-wise means of the rotation matrices, row after row.
    """

    frame_places: list[list[list[float]]]
    frame_turns: list[Rotation]
    places: list[list[float]]
    turns: list[Rotation]
    matrices: list[list[float]]


@functools.cache
def path() -> Path:
    """Rounds of five places, at each a look 144 degrees on; every frame is shaken."""
    draw = np.random.default_rng(3)
    places, turns = [], []
    for chunk in range(CHUNKS):
        at, shake = math.tau * chunk / 5, 0.15 * draw.normal(size=(3, 3))
        looks = [[144 * chunk + 15 * (frame - 1), 0, 0] for frame in range(3)] + 7 * draw.normal(size=(3, 3))
        places.append([[0.4 * math.cos(at) + x, y, 0.4 * math.sin(at) + z] for x, y, z in shake.tolist()])
        turns.append(Rotation.from_euler("YXZ", looks, degrees=True))
    matrices = [mean(frames.as_matrix().reshape(3, 9).tolist()) for frames in turns]
    return Path(places, turns, [mean(frames) for frames in places], [frames.mean() for frames in turns], matrices)


class Model(NamedTuple):
    """What a model would compute, all made up.

    Attributes:
        keys: of each chunk `(layers, heads, tokens, channels)`.
        attention: that each chunk's tokens received `(layers, heads, tokens)`.
        queries: mean query of each step `(steps, layers, heads, channels)`.
    """

    keys: tuple[NDArray[np.float32], ...]
    attention: tuple[NDArray[np.float32], ...]
    queries: NDArray[np.float32]


@functools.cache
def model() -> Model:
    keys, _, attention = zip(*(chunk_tensors(GEOMETRY, chunk, SEED) for chunk in range(CHUNKS)), strict=True)
    queries = np.random.default_rng(3).standard_normal((CHUNKS, LAYERS, HEADS, CHANNELS), np.float32)
    return Model(keys, attention, queries)


def rollout(policy: CachePolicy) -> tuple[list[StepRecord], dict[int, Keep]]:
    """What happened at each step, and what the policy stored of each chunk."""
    kept: dict[int, Keep] = {}

    def note(question: Question) -> None:
        if question.kind == "compress":
            kept[question.shown[0].id] = question.answer

    backend, scene = KeyedBackend(GEOMETRY, SEED, has_keys=True), Scene(VIEW, REACH, frozenset({Signal.POSE}))
    engine, records = CacheEngine(recording_policy(policy, note), GEOMETRY, backend, scene=scene), []
    for step, (keys, query) in enumerate(zip(model().keys, model().queries, strict=True)):
        poses = np.tile(np.eye(4), (3, 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = path().frame_turns[step].as_matrix(), path().frame_places[step]
        engine.begin(Viewpoint.of(poses))
        engine.refine(query)
        records.append(engine.commit(Measured(keys.mean(axis=2), keys.min(axis=2), keys.max(axis=2), query)))
    return records, kept


def positions_of(keep: Keep) -> list[list[int]]:
    """Of every layer and head the positions kept."""
    tokens = np.arange(keep.count) if keep.tokens is None else keep.tokens
    tokens = tokens[:, None] if tokens.ndim == 2 else tokens
    positions: list[list[int]] = np.broadcast_to(tokens, (LAYERS, HEADS, keep.count)).reshape(4, -1).tolist()
    return positions


# ---------------------------------------------------------------------- which chunks come back


def nearest(step: int, banked: list[int]) -> Iterator[int]:
    """Half the squared distance of the mean places, half the angle of the mean matrices, each over its maximum."""
    squared = {chunk: math.dist(path().places[chunk], path().places[step]) ** 2 for chunk in banked}
    traces = {chunk: dot(path().matrices[chunk], path().matrices[step]) for chunk in banked}
    angles = {chunk: math.acos(max(-1.0, min(1.0, (trace - 1) / 2))) for chunk, trace in traces.items()}
    far, round_about = max(squared.values()), max(angles.values())
    yield from sorted(banked, key=lambda chunk: 0.5 * squared[chunk] / far + 0.5 * angles[chunk] / round_about)


def nearest_but_distinct(step: int, banked: list[int]) -> Iterator[int]:
    """The nearest, but none within 0.2 of one taken: radians, and view distances."""
    taken: list[int] = []
    for chunk in nearest(step, banked):
        away = [math.dist(path().places[chunk], path().places[other]) / REACH for other in taken]
        turned = [(path().turns[chunk].inv() * path().turns[other]).magnitude() for other in taken]
        if all(a + b >= 0.2 for a, b in zip(away, turned, strict=True)):
            taken.append(chunk)
            yield chunk


def seen(step: int, banked: list[int], points: int) -> tuple[int, dict[int, set[int]]]:
    """How many points drawn by seed 0 the step's mean camera has in view, and which of them each chunk's had too."""
    drawn = points_in_view(points, VIEW, 0).places.T
    world, found = path().turns[step].apply(drawn * REACH) + path().places[step], dict[int, set[int]]()
    for chunk in banked:
        found[chunk] = set()
        before = np.array(path().turns[chunk].inv().apply(world - path().places[chunk]))
        for point, (x, y, z) in enumerate(before.tolist()):
            is_inside = z > 0 and abs(math.atan2(x, z)) <= WIDE / 2 and abs(math.atan2(y, z)) <= HIGH / 2
            if is_inside and math.hypot(x, y, z) <= REACH:
                found[chunk].add(point)
    return len(drawn), found


def covering(step: int, banked: list[int]) -> Iterator[int]:
    """The chunk that adds the largest share in view, less 0.2 x age / now; again without its points, while any adds."""
    count, found = seen(step, banked, 10_000)
    left = set(range(count))
    while gains := {chunk: len(left & points) for chunk, points in found.items() if left & points}:
        chunk = max(gains, key=lambda chunk: gains[chunk] / count - 0.2 * (step - chunk) / step)
        yield chunk
        left -= found[chunk]


def overlapping(step: int, banked: list[int]) -> Iterator[int]:
    """By how many of the points in view each chunk had in view too."""
    _, found = seen(step, banked, 20_000)
    yield from sorted(banked, key=lambda chunk: -len(found[chunk]))


def one_a_run(step: int, banked: list[int]) -> Iterator[int]:
    """Of neighbours whose fans cover more than a tenth of the step's fan the best, the best run first."""
    right, _, ahead = path().turns[step].as_matrix().T.tolist()
    rays = [((ray + 0.5) / 24 - 0.5) * WIDE for ray in range(24)]
    depths = [math.sqrt((ring + 0.5) / 16) * REACH for ring in range(16)]
    fan = [(math.sin(ray) * depth, math.cos(ray) * depth) for ray in rays for depth in depths]
    shares, runs = {}, list[list[int]]()
    for chunk in banked:
        away = [a - b for a, b in zip(path().places[chunk], path().places[step], strict=True)]
        looks = path().turns[chunk].apply([0, 0, 1]).tolist()
        heading, covered = math.atan2(dot(looks, right), dot(looks, ahead)), 0
        for x, z in fan:
            x, z = x - dot(away, right), z - dot(away, ahead)
            off = math.remainder(math.atan2(x, z) - heading, math.tau)
            covered += abs(off) <= WIDE / 2 and math.hypot(x, z) <= REACH
        shares[chunk] = covered / len(fan)
        if shares[chunk] > 0.1:
            if not runs or runs[-1][-1] != chunk - 1:
                runs.append([])
            runs[-1].append(chunk)
    yield from sorted([max(run, key=shares.__getitem__) for run in runs], key=lambda chunk: -shares[chunk])


Channels = list[tuple[float, float, float, float]]
"""Of every channel of a head the query's value, and the keys' mean, least and greatest."""


@functools.cache
def channels(chunk: int, layer: int, head: int, step: int) -> Channels:
    query, columns = model().queries[step, layer, head].tolist(), model().keys[chunk][layer, head].T.tolist()
    return [(q, sum(keys) / TOKENS, min(keys), max(keys)) for q, keys in zip(query, columns, strict=True)]


def asked(score: Callable[[Channels], float]) -> Fetch:
    """By `score` with the step's own query, summed over layers and heads."""

    def fetch(step: int, banked: list[int]) -> Iterator[int]:
        scores = {chunk: sum(score(channels(chunk, *place, step)) for place in EVERY_HEAD) for chunk in banked}
        yield from sorted(banked, key=lambda chunk: -scores[chunk])

    return fetch


def product(head: Channels) -> float:
    return sum(q * middle for q, middle, _, _ in head)


def greatest_in_box(head: Channels) -> float:
    return sum(max(q * least, q * greatest) for q, _, least, greatest in head)


def greatest_in_ball(head: Channels) -> float:
    centre = sum(q * (least + greatest) / 2 for q, _, least, greatest in head)
    radius = math.hypot(*((greatest - least) / 2 for _, _, least, greatest in head))
    return centre + math.hypot(*(q for q, *_ in head)) * radius


# ---------------------------------------------------------------------- what is stored


def highest(scores: list[float], count: int) -> list[int]:
    """Positions of the `count` highest, of equals the first, in their order in time."""
    return sorted(sorted(range(len(scores)), key=lambda position: -scores[position])[:count])


def everything(chunk: int, layer: int, head: int) -> list[int]:
    return list(range(TOKENS))


def unlike_the_anchor(chunk: int, layer: int, head: int) -> list[int]:
    """The first frame; of each other a quarter of 21, rounded up, least like the first's mean key over all heads."""
    keys = [key.ravel().tolist() for key in model().keys[chunk][layer].swapaxes(0, 1)]
    unlike = [-dot(key, mean(keys[:21])) / math.hypot(*key) for key in keys]
    first, second = highest(unlike[21:42], 6), highest(unlike[42:], 6)
    return [*range(21), *(21 + position for position in first), *(42 + position for position in second)]


def most_attended(chunk: int, layer: int, head: int) -> list[int]:
    """Half of 63 rounded up by attention received, for each the greatest of itself and three on either side."""
    mass = model().attention[chunk][layer, head].tolist()
    return highest([max(mass[max(0, place - 3) : place + 4]) for place in range(63)], 32)


def unlike_the_rest(chunk: int, layer: int, head: int) -> list[int]:
    """Half of 63 rounded up, those at the widest angle to the mean of the head's keys at unit length."""
    keys = model().keys[chunk][layer, head].tolist()
    units = [[channel / math.hypot(*key) for channel in key] for key in keys]
    return highest([-dot(unit, mean(units)) for unit in units], 32)


# ---------------------------------------------------------------------- the two side by side


@pytest.mark.parametrize(
    ("policy", "frames", "positions", "fetch", "store"),
    [
        pytest.param(WorldKV(), (3, 18, 6), Absolute(), nearest, unlike_the_anchor, id="worldkv"),
        pytest.param(WorldMem(), (3, 18, 6), Absolute(), covering, everything, id="worldmem"),
        pytest.param(WorldPlay(), (3, 12, 12), Rebased(), overlapping, everything, id="worldplay"),
        pytest.param(ContextAsMemory(), (3, 18, 6), Absolute(), one_a_run, everything, id="context-as-memory"),
        pytest.param(PoseNms(), (3, 18, 6), Absolute(), nearest_but_distinct, everything, id="pose-nms"),
        pytest.param(MeanKeyRetrieval(), (3, 18, 6), Absolute(), asked(product), everything, id="mean-key"),
        pytest.param(QuestBounds(), (3, 18, 6), Absolute(), asked(greatest_in_box), everything, id="quest-bounds"),
        pytest.param(ArkVale(), (3, 18, 6), Absolute(), asked(greatest_in_ball), everything, id="arkvale"),
        pytest.param(SnapKV(), (3, 18, 6), Absolute(), nearest, most_attended, id="snapkv"),
        pytest.param(KeyDiffKV(), (3, 18, 6), Absolute(), nearest, unlike_the_rest, id="keydiff"),
    ],
)
def test_a_policy_as_it_comes_does_what_its_rule_says(
    policy: CachePolicy, frames: tuple[int, int, int], positions: Positions, fetch: Fetch, store: Store
) -> None:
    """Frames are those of the sink, of what is fetched at most, and of the recent window."""
    sink, most, recent = (count // 3 for count in frames)
    records, kept = rollout(policy)
    bank: dict[int, list[list[int]]] = {}
    for step, record in enumerate(records):
        wanted = list(islice(fetch(step, sorted(bank)), most)) if bank else []
        assert record.plan.retrieved == tuple(wanted), f"at step {step}"
        window = [chunk for chunk in range(step) if chunk < sink or chunk >= step - recent]
        assert record.plan.attended.tolist() == sorted(window + wanted), f"at step {step}"
        stored = sum(len(bank[chunk][0]) for chunk in wanted)
        assert record.plan.attended_tokens == (len(window) + 1) * TOKENS + stored, f"at step {step}"
        leaving = [chunk for chunk in window if chunk >= sink and chunk == step - recent]
        assert (record.evicted, record.discarded) == (tuple(leaving), ()), f"at step {step}"
        bank |= {chunk: [store(chunk, *place) for place in EVERY_HEAD] for chunk in leaving}
    assert {chunk: positions_of(keep) for chunk, keep in kept.items()} == bank
    assert len(wanted) == most, "as many came back as there was room for"
    assert policy.positions == positions
