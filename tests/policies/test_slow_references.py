"""Policies against their rules told a second time in plain loops, token by token and id by id, in order."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.paths import bits
from worldkv.answers import Eviction, RaggedKeep
from worldkv.chunks import ChunkTable
from worldkv.engine.banking import forget_chunk
from worldkv.engine.engine import CacheEngine
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.metrics.landmarks import Landmarks
from worldkv.parts import AttentionNeed, LandmarkNeed
from worldkv.policies import Belady, DropOldest, NoveltyAdmission, Oracle, RandomRetrieval, RelicSubsample
from worldkv.policy import CachePolicy
from worldkv.scene import Scene
from worldkv.signals import Signal, Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.testing.keyed_backend import chunk_tensors
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.recording_policy import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial
from worldkv.views import BankView, ChunkRows, Query

TINY = PRESETS["tiny"]
SMALL = CacheGeometry(2, 4, 2, 4, 2, 3, frames_per_chunk=3, rope_frames=1 << 16)
WHOLE = SMALL.chunk_tokens
Token = tuple[int, int]
"""A chunk, and a position in it from when it was whole."""


def keyed(policy: CachePolicy, geometry: CacheGeometry, chunks: int) -> Trial:
    return Trial(policy, Scenario(MotionScript((Move(1.0, 10.0),) * chunks), geometry, has_keys=True))


def expect_held(engine: CacheEngine, expected: list[Token]) -> None:
    """The window is home to these tokens, known by their keys, in this order, and the books say so frame by frame."""
    geometry, found = engine.geometry, list[Token]()
    for chunk in engine.state.window_ids.tolist():
        tensors, whole = engine.backend.tensors(chunk), chunk_tensors(geometry, chunk, 0)[0]
        assert tensors is not None
        place_of = {whole[:, :, place].tobytes(): place for place in range(geometry.chunk_tokens)}
        found += [(chunk, place_of[tensors.keys[:, :, n].tobytes()]) for n in range(tensors.keys.shape[2])]
        counts = [0.0] * geometry.frames_per_chunk
        for place in (place for other, place in expected if other == chunk):
            counts[place // geometry.tokens_per_frame] += 1
        assert engine.table.columns["frame_tokens"][chunk].tolist() == counts
    assert found == expected
    assert engine.state.bank_count == 0


@given(budget=st.integers(WHOLE, 5 * WHOLE))
def test_drop_oldest_is_a_list_of_tokens_that_is_popped_from_the_front(budget: int) -> None:
    one, tokens = keyed(DropOldest(budget), SMALL, 9), list[Token]()
    for chunk in range(9):
        record = one.run(1).records[-1]
        assert record.plan.attended_tokens == len(tokens) + WHOLE <= budget
        tokens += [(chunk, place) for place in range(WHOLE)]
        while len(tokens) + WHOLE > budget:
            tokens.pop(0)
        expect_held(one.engine, tokens)


SCHEDULE = (1, 4, 2, 4, 4, 4, 2, 4, 4, 2, 4, 4, 4, 2, 4, 4, 2, 4)
"""As published (arXiv 2512.04040), typed a second time."""


@pytest.mark.parametrize(("rows", "columns", "frames", "recent"), [(4, 4, 3, 2), (2, 3, 3, 0), (3, 3, 4, 1)])
def test_relic_keeps_these_tokens_over_two_schedules(rows: int, columns: int, frames: int, recent: int) -> None:
    geometry = CacheGeometry(2, 2, 2, 4, rows, columns, frames_per_chunk=frames, rope_frames=1 << 16)
    chunks, per_frame = 36 // frames + recent, rows * columns
    one = keyed(RelicSubsample(recent * frames), geometry, chunks)
    for produced in range(1, chunks + 1):
        expected = list[Token]()
        for chunk, frame in itertools.product(range(produced), range(frames)):
            is_old = chunk < produced - recent
            stride = SCHEDULE[(chunk * frames + frame) % 18] if is_old else 1
            expected += [(chunk, frame * per_frame + place) for place in range(per_frame) if place % stride == 0]
        expect_held(one.run(1).engine, expected)


def novelty(keys: Sequence[Sequence[float]]) -> list[float]:
    """(1 - cosine with the mean of all keys at unit length) / 2 of every key of one head."""
    unit = [[value / math.sqrt(sum(v * v for v in key)) for value in key] for key in keys]
    mean = [sum(key[channel] for key in unit) / len(unit) for channel in range(len(unit[0]))]
    length = math.sqrt(sum(value * value for value in mean))
    return [(1 - sum(a * b for a, b in zip(key, mean, strict=True)) / length) / 2 for key in unit]


@pytest.mark.parametrize(("recent", "least"), [(2, 0.5), (0, 0.4), (1, 0.6), (1, 0.86), (0, 0.95)])
def test_novelty_admission_keeps_the_tokens_unlike_their_chunk(recent: int, least: float) -> None:
    questions, sizes = list[Question](), set[int]()
    scenario = Scenario(MotionScript((Move(1.0),) * 12), SMALL, has_keys=True)
    Trial(NoveltyAdmission(3 * recent, least), scenario, questions.append).run()
    assert [question.name for question in questions] == [f"evict at step {step}" for step in range(1, 13)]
    assert all(question.answer == Eviction() for question in questions[:recent]), "all are recent still"
    for judged, answer in enumerate(question.answer for question in questions[recent:]):
        admitted = []
        for layer, head in itertools.product(range(2), range(2)):
            utilities = novelty(chunk_tensors(SMALL, judged, 0)[0][layer, head].astype(float).tolist())
            assert min(abs(utility - least) for utility in utilities) > 1e-6, "no rounding decides"
            admitted.append([place for place in range(WHOLE) if utilities[place] >= least])
        sizes |= {len(places) for places in admitted}
        if not any(admitted):
            assert answer == Eviction(discard=(judged,))
            continue
        assert (answer.bank, answer.discard, list(answer.shrink)) == ((), (), [judged])
        keep = answer.shrink[judged]
        assert isinstance(keep, RaggedKeep) and keep.tokens is not None
        assert [places.tolist() for layer_places in keep.tokens for places in layer_places] == admitted
    assert len(sizes) > 2 or least > 0.9, "heads differ"


SPOTS = (0, 1, 2, 3, 4, 5, 6, 7, 62, 63, 64, 65, 66, 127, 128, 149)
"""Landmarks there are, in three words of bits."""


@dataclass(frozen=True)
class World:
    """What each chunk saw, what counts at each step, and what each chunk receives at each step, all made up."""

    seen: list[set[int]]
    counted: list[set[int]]
    mass: list[list[int]]

    def scene(self) -> Scene:
        both = ([[spot in spots for spot in range(150)] for spots in sets] for sets in (self.seen, self.counted))
        seen, counted = (bits(np.array(flags)) for flags in both)
        nowhere, ones = np.zeros((150, 3)), np.ones(len(seen), np.int64)
        landmarks = Landmarks(nowhere, nowhere, seen[:, None], seen, counted, ones, ones)
        signals = frozenset({Signal.LANDMARKS, Signal.ATTENTION_AHEAD})
        return Scene(signals=signals, landmarks=landmarks, attention_ahead=np.array(self.mass, np.float32))

    def landmark_share(self, step: int, chunk: int) -> float:
        counted = self.counted[step]
        return len(self.seen[chunk] & counted) / len(counted) if counted else 0.0

    def attention_share(self, step: int, chunk: int) -> float:
        everything = sum(self.mass[step][:step])
        return self.mass[step][chunk] / everything if everything else 0.0


def drawn(seed: int, steps: int = 24) -> World:
    """Little is needed of each chunk, often equally much; at some steps nothing is needed of any."""
    draw = random.Random(seed)
    seen = [{spot for spot in SPOTS if draw.random() < 0.15} for _ in range(steps)]
    counted, mass = list[set[int]](), list[list[int]]()
    for step in range(steps):
        idle = draw.random() < 0.15
        counted.append(set() if idle else {spot for spot in SPOTS if draw.random() < 0.5})
        received = [draw.choice((0, 0, 0, 0, 0, 0, 1, 2, 4)) for _ in range(0 if idle else step)]
        mass.append(received + [0] * (steps - len(received)))
    return World(seen, counted, mass)


def asked(world: World, step: int, banked: list[int], resident: tuple[int, ...] = ()) -> tuple[Query, BankView]:
    """A query and a bank of exactly these chunks."""
    scene = world.scene()
    assert scene.landmarks is not None and scene.attention_ahead is not None
    table = ChunkTable(TINY, scene.signals)
    for _ in range(step):
        table.append(Viewpoint(), None)
    counted, ahead = scene.landmarks.counted[step:], scene.attention_ahead[step:]
    window = ChunkRows(table, slice(0, 0), scene.signals)
    query = Query(step, TINY, window, resident, (), None, None, (90.0, 60.0), 1.0)
    query = dataclasses.replace(query, landmarks=counted[0], landmarks_ahead=counted, attention_ahead=ahead)
    return query, BankView(table, np.array(banked, np.int64), scene.signals, scene.landmarks)


def walk(policy: CachePolicy, world: World, seed: int) -> Iterator[tuple[int, list[int], list[int], list[int]]]:
    """Every step: its number, the ids banked, those attended at the last step and still banked, those retrieved.

    The engine runs it. Now and then the bank loses a chunk, the first one early, but never the newest.
    """
    draw, engine = random.Random(seed), CacheEngine(policy, TINY, SimBackend(), scene=world.scene())
    banked, resident = list[int](), list[int]()
    for step in range(len(world.seen)):
        lost = 0 if step == 4 else draw.choice(banked) if draw.random() < 0.25 and banked else None
        if lost in banked[:-1]:
            engine.backend.apply(forget_chunk(engine.state, engine.table, lost))
            banked, resident = ([chunk for chunk in ids if chunk != lost] for ids in (banked, resident))
        retrieved = list(engine.begin(Viewpoint()).retrieved)
        yield step, banked, resident, retrieved
        engine.commit()
        resident, banked = retrieved, [*banked, step]


def by_sets(world: World, wanted: set[int], banked: list[int], resident: Sequence[int], places: int) -> list[int]:
    """One by one the chunk that adds most, the older of equals; then the resident in their order, then the newest."""
    chosen, left = list[int](), set(wanted)
    while len(chosen) < places:
        gains = [len(world.seen[chunk] & left) for chunk in banked]
        if not any(gains):
            break
        chosen.append(banked[gains.index(max(gains))])
        left -= world.seen[chosen[-1]]
    for chunk in (*resident, *reversed(banked)):
        if len(chosen) < places and chunk not in chosen:
            chosen.append(chunk)
    return chosen


@given(
    chunks=st.dictionaries(st.integers(0, 20), st.sets(st.sampled_from(SPOTS)), min_size=1, max_size=10),
    wanted=st.sets(st.sampled_from(SPOTS)),
    named=st.lists(st.integers(0, 20), unique=True),
    places=st.integers(0, 12),
)
def test_oracle_covers_by_sets_then_keeps_then_takes_the_newest(
    chunks: dict[int, set[int]], wanted: set[int], named: list[int], places: int
) -> None:
    """Banks have gaps, are smaller than the room and larger; what is resident comes in any order."""
    banked, resident = sorted(chunks), tuple(chunk for chunk in named if chunk in chunks)
    world = World([chunks.get(chunk, set(SPOTS)) for chunk in range(22)], [set()] * 21 + [wanted], [[0] * 22] * 22)
    found = Oracle(3 * places).retrieve(*asked(world, 21, banked, resident))
    assert list(found.ids) == by_sets(world, wanted, banked, resident, places)


@pytest.mark.parametrize("seed", range(8))
def test_oracle_over_a_rollout(seed: int) -> None:
    world = drawn(seed)
    for step, banked, resident, retrieved in walk(Oracle(15), world, seed):
        assert retrieved == by_sets(world, world.counted[step], banked, resident, 5)


@pytest.mark.parametrize("seed", range(20))
def test_shares_of_need_step_by_step(seed: int) -> None:
    world, draw = drawn(seed), random.Random(seed)
    banked, rows = sorted(draw.sample(range(1, 15), 6)), draw.sample(range(6), 4)
    query, bank = asked(world, 15, banked)
    for start, stop in ((0, 1), (1, 5), (0, 9), (4, 40), (30, 40)):
        steps = [step for step in range(15 + start, 15 + stop) if step < 24]
        for need, share in ((AttentionNeed(), world.attention_share), (LandmarkNeed(), world.landmark_share)):
            expected = [[share(step, banked[row]) for row in rows] for step in steps]
            found = need.shares(query, bank, np.array(rows), slice(start, stop))
            assert found.shape == (len(steps), 4) and found.tolist() == expected


@pytest.mark.parametrize("horizon", [0, 1, 5, 40])
@pytest.mark.parametrize("kind", [AttentionNeed, LandmarkNeed])
def test_belady_over_a_rollout(kind: type[AttentionNeed | LandmarkNeed], horizon: int) -> None:
    """Chunks needed, most needed first; then of those still in the window the soonest needed, of these the newer."""
    places, least, reached = 3, 0.125, collections.Counter[str]()
    for seed in range(10):
        world = drawn(seed)
        share = world.attention_share if kind is AttentionNeed else world.landmark_share
        for step, banked, resident, retrieved in walk(Belady(3 * places, least, horizon, kind()), world, seed):
            shares = {chunk: share(step, chunk) for chunk in banked}
            needed = sorted((-shares[chunk], chunk) for chunk in banked if shares[chunk] >= least)
            expected, spare = [chunk for _, chunk in needed][:places], list[tuple[int, int]]()
            for chunk in {*resident, *banked[-1:]} - set(expected):
                to_come = [later for later in range(step + 1, 24) if share(later, chunk) >= least]
                next_need = min((later for later in to_come if later <= step + horizon), default=99)
                spare.append((next_need, -chunk))
                reached["needed, but behind the horizon"] += bool(to_come) and next_need == 99
            expected += [-chunk for _, chunk in sorted(spare)][: places - len(expected)]
            assert retrieved == expected
            reached["more needed than places"] += len(needed) > places
            reached["someone leaves"] += 0 < len(needed) <= places and len(spare) > places - len(needed)
            reached["exactly the least"] += least in shares.values()
            reached["some, but less than the least"] += any(0 < one < least for one in shares.values())
            reached["nobody is needed"] += not needed and len(banked) > places
    always = {"more needed than places", "someone leaves", "exactly the least", "some, but less than the least"}
    wanted = {*always, "nobody is needed", *(["needed, but behind the horizon"] if horizon < 20 else [])}
    assert all(reached[what] >= 5 for what in wanted), reached


def test_random_draws_every_set_equally_often() -> None:
    """Over 2,000 steps every set of 3 of 8 chunks comes up as often as chance has it, within six deviations."""
    query, bank = asked(drawn(0), 20, [1, 2, 5, 6, 7, 11, 13, 19])
    steps = [dataclasses.replace(query, step=step) for step in range(2000)]
    by_seed = [[RandomRetrieval(0, 9, 0, seed).retrieve(one, bank).ids for one in steps] for seed in range(3)]
    for draws in by_seed:
        assert all(len(set(ids)) == 3 for ids in draws)
        counts = collections.Counter(tuple(sorted(ids)) for ids in draws)
        assert set(counts) == set(itertools.combinations(bank.ids.tolist(), 3))
        for chance, each in ((1 / 56, counts), (3 / 8, collections.Counter(itertools.chain(*draws)))):
            deviation = math.sqrt(2000 * chance * (1 - chance))
            assert all(abs(count - 2000 * chance) < 6 * deviation for count in each.values()), each
    for one, two in itertools.combinations(by_seed, 2):  # seeds agree by chance only, a step later too
        for early, late in ((one, two), (one[1:], two), (one, two[1:])):
            assert sum(set(ids) == set(others) for ids, others in zip(early, late, strict=False)) < 2000 / 56 + 36
    (other, same), policy = asked(drawn(1), 20, bank.ids.tolist(), resident=(2, 7)), RandomRetrieval(0, 9, 0, 1)
    repeated = [policy.retrieve(dataclasses.replace(other, step=step), same).ids for step in range(9)]
    assert repeated == by_seed[1][:9], "seed and step alone decide"
    assert sorted(RandomRetrieval(0, 30, 0).retrieve(query, bank).ids) == bank.ids.tolist(), "all there are"
