"""A rollout in which a caller pins, unpins, forgets and cuts between steps, and a slow account of what must follow."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepPlan
from worldkv.testing.recording_policy import Question

Asked = Literal["pin", "unpin", "forget", "cut"]


class Action(NamedTuple):
    """What a caller asks for between two steps; `value` is a chunk, or the scene of a cut (None: a new one)."""

    kind: Asked
    value: int | None


class PlainWorld:
    """Sets of chunk numbers, and every rule in a line: who is where, of which scene, pinned, attended.

    It is told what the policy answered, and what the bank forgot because it was full; nothing else of the engine.
    """

    def __init__(self) -> None:
        self.home: set[int] = set()
        self.bank: set[int] = set()
        self.pinned: set[int] = set()
        self.scene_of: list[int] = []
        self.scene = 0
        self.resident: tuple[int, ...] = ()

    def begin(self, retrieval: Retrieval | None) -> set[int]:
        if retrieval is not None:
            self.resident = tuple(retrieval.ids)
        return self.home | set(self.resident) | self.pinned

    def commit(self, eviction: Eviction, forgotten: set[int]) -> None:
        self.home.add(len(self.scene_of))
        self.scene_of.append(self.scene)
        banked, gone = set(eviction.bank) - self.pinned, set(eviction.discard) - self.pinned
        self.home -= banked | gone
        self.bank |= banked
        self._lose(forgotten)

    def ask(self, action: Action, forgotten: set[int], eviction: Eviction) -> None:
        """What is asked for is done; of a chunk that is unpinned the policy says whether it leaves the window."""
        chunk = -1 if action.value is None else action.value
        if action.kind == "pin":
            self.pinned.add(chunk)
        elif action.kind == "unpin":
            self.pinned.remove(chunk)
            if chunk in self.home and chunk in (*eviction.bank, *eviction.discard):
                self.home.remove(chunk)
                self.bank |= {chunk} & set(eviction.bank)
        elif action.kind == "forget":
            self.home.discard(chunk)
            self._lose({chunk})
        else:
            newest = max([*self.scene_of, self.scene])
            scene = action.value
            if scene is None:
                scene = newest + 1 if self.scene in self.scene_of else self.scene
            if scene != self.scene:
                self.bank |= self.home - self.pinned
                self.home &= self.pinned
                self.resident, self.scene = (), scene
        self._lose(forgotten)

    def choices(self) -> set[int]:
        """What the policy may retrieve."""
        return {chunk for chunk in self.bank if self.scene_of[chunk] == self.scene}

    def _lose(self, chunks: set[int]) -> None:
        assert not chunks & self.pinned
        self.bank -= chunks
        self.resident = tuple(chunk for chunk in self.resident if chunk not in chunks)


def drawn(draw: random.Random, plain: PlainWorld) -> Action | None:
    """Something that may be asked now; mostly nothing."""
    there = sorted(plain.home | plain.bank)
    kind = draw.choices(("pin", "unpin", "forget", "cut", None), (3, 2, 2, 1, 8))[0]
    if kind == "pin" and there and len(plain.pinned) < 3:
        return Action("pin", draw.choice(there))
    if kind == "unpin" and plain.pinned:
        return Action("unpin", draw.choice(sorted(plain.pinned)))
    if kind == "forget" and set(there) - plain.pinned:
        return Action("forget", draw.choice(sorted(set(there) - plain.pinned)))
    if kind == "cut":
        earlier = sorted(set(plain.scene_of))
        return Action("cut", draw.choice([None, *earlier]))
    return None


def carry_out(engine: CacheEngine, action: Action) -> None:
    if action.kind == "cut":
        engine.cut(action.value)
    else:
        assert action.value is not None
        {"pin": engine.pin, "unpin": engine.unpin, "forget": engine.forget}[action.kind](action.value)


def answers_of(questions: list[Question]) -> tuple[Retrieval | None, Eviction, dict[int, Keep | RaggedKeep]]:
    """The last of each question's answers."""
    retrieval, eviction, keeps = None, Eviction(), {}
    for question in questions:
        if question.kind == "retrieve":
            retrieval = question.answer
        elif question.kind == "evict":
            eviction = question.answer
        elif question.kind == "compress":
            keeps[question.shown[0].id] = question.answer
    return retrieval, eviction, keeps


def check(engine: CacheEngine, plan: StepPlan | None, plain: PlainWorld, attended: set[int] | None = None) -> None:
    """Engine and account agree."""
    state, table = engine.state, engine.table
    tier = table.columns["tier"][: len(table)].tolist()
    assert set(state.window_ids.tolist()) == plain.home == {chunk for chunk, at in enumerate(tier) if at == 0}
    assert {chunk for chunk, at in enumerate(tier) if at not in (0, 3)} == plain.bank
    assert set(state.pinned) == plain.pinned and state.scene == plain.scene
    assert table.columns["scene"][: len(table)].tolist() == plain.scene_of
    counts = state.counts
    assert counts.produced == counts.window + counts.banked + counts.pruned + counts.discarded
    if plan is not None and attended is not None:
        assert set(plan.attended.tolist()) == attended and set(plan.pinned) == plain.pinned
        assert {*plan.attended.tolist()} == {*state.window_ids.tolist(), *state.replicas}
