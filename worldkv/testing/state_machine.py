"""A hypothesis state machine: one policy, and every call of the engine in any order."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine, Snapshot
from worldkv.engine.state import StepPlan
from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.testing.audit import audit_homes, audit_ledgers
from worldkv.testing.check import CheckFailed
from worldkv.testing.dictionary_cache import BANK, DictionaryCache
from worldkv.testing.keyed_backend import KeyedBackend, keyed_backend
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.recording_policy import Question, recording_policy
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import moves
from worldkv.testing.trial import measured_at
from worldkv.tiers import FILE_BYTES, TierLimits

REWIND_CHUNKS = 4
LONGEST = 60
"""Chunks of a rollout at most; landmarks and view distance are placed once for all."""


Taken = tuple[Snapshot, DictionaryCache, MotionScript]
"""A snapshot, the dictionary and the path that belong to it."""


class CacheMachine(RuleBasedStateMachine):
    """Begins, refines, commits, takes snapshots, restores, forks, rewinds and resets, in any order.

    Evictions, retrievals, discards and spills follow from the policy's answers and the room in the tiers. After every
    rule the engine, its backend and a plain dictionary that was fed the same answers must agree. Make a test of it with
    `TestMine = cache_machine(MyPolicy()).TestCase`.

    Attributes:
        policy: the policy that decides; set by `cache_machine`.
        geometry: the cache's shape.
    """

    policy: ClassVar[CachePolicy]
    geometry: ClassVar[CacheGeometry]
    warm_chunks: ClassVar[int] = 0
    needs_keys: ClassVar[bool] = False
    most: int | None = None

    snapshots: Bundle[Taken] = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Question] = []
        self.script = MotionScript(())
        self.is_open = False

    @initialize(
        host_chunks=st.sampled_from((None, 0, 1.5, 4)),
        disk_chunks=st.sampled_from((None, 0, 3)),
        staging_chunks=st.integers(0, 2),
        has_keys=st.booleans(),
        spare_chunks=st.sampled_from((None, 0, 1.5, 3)),
    )
    def start(
        self,
        host_chunks: float | None,
        disk_chunks: float | None,
        staging_chunks: int,
        has_keys: bool,
        spare_chunks: float | None,
    ) -> None:
        """An empty cache; a bank that is full forgets its oldest chunks."""
        if host_chunks == 0 and disk_chunks == 0:
            disk_chunks = None  # a bank without any room refuses the first chunk
        scenario = Scenario(
            MotionScript((Move(1.0, 15.0),) * LONGEST), self.geometry, has_keys=has_keys or self.needs_keys
        )
        chunk_bytes = self.geometry.chunk_bytes
        host, disk, spare = (
            None if room is None else int(room * chunk_bytes) for room in (host_chunks, disk_chunks, spare_chunks)
        )
        if disk:
            disk += 3 * FILE_BYTES
        if host is not None and disk is not None and max(host, disk) < chunk_bytes:
            disk = chunk_bytes + FILE_BYTES
        config = CacheConfig(
            limits=TierLimits(host, disk, "forget-oldest", spare),
            staging_chunks=staging_chunks,
            rewind_chunks=REWIND_CHUNKS,
        )
        backend = keyed_backend(self.policy, self.geometry, 0, scenario.has_keys)
        recording = recording_policy(self.policy, self.answers.append)
        self.engine = CacheEngine(recording, self.geometry, backend, config, scenario.scene(self.policy))
        if host is not None and disk is not None:  # room is left for what a rewind may bring back, half at most
            left = [(REWIND_CHUNKS + 1) * size for size in (chunk_bytes, chunk_bytes + FILE_BYTES)]
            self.most = host + disk + (spare or 0)
            host = max(host - left[0], host // 2, min(host, chunk_bytes))
            disk = max(disk - left[1], disk // 2, min(disk, chunk_bytes + FILE_BYTES))
        self.fresh = DictionaryCache(self.geometry, host, disk, staging_chunks * chunk_bytes, spare)
        self.dictionary = self.fresh.copy()
        self.history: list[DictionaryCache] = []
        self.kept: list[Taken] = []
        for _ in range(self.warm_chunks):
            self.begin(Move(1.0, 15.0))
            self.commit()

    # ------------------------------------------------------------------ the step

    @precondition(lambda self: not self.is_open and len(self.script) < LONGEST)
    @rule(move=moves())
    def begin(self, move: Move | Back) -> None:
        """A step opens; the attended set is the dictionary's."""
        self.history.append(self.dictionary.copy())
        del self.history[: -REWIND_CHUNKS - 1]
        self.script = MotionScript((*self.script.moves, move))
        self.answers.clear()
        viewpoint = Scenario(self.script, self.geometry).viewpoints()[-1]
        self.plan = self.engine.begin(viewpoint)
        self._follow_retrieval()
        self.is_open = True
        if self.policy.asked_at == "first_pass":
            self.answers.clear()
            measured = measured_at(self.engine, self.plan, 0)
            self.plan = self.engine.refine(None if measured is None else measured.query_summary)
            if self.answers:
                self._follow_retrieval()

    @precondition(lambda self: self.is_open)
    @rule()
    def commit(self) -> None:
        """The chunk enters; the dictionary is told which chunks leave and what is kept of them."""
        self.answers.clear()
        self.engine.commit(measured_at(self.engine, self.plan, 0))
        eviction, keeps = Eviction(), dict[int, Keep | RaggedKeep]()
        for question in self.answers:
            if question.kind == "evict":
                eviction = question.answer
            elif question.kind == "compress":
                keeps[question.shown[0].id] = question.answer
        self.dictionary.commit(eviction, keeps)
        self.is_open = False
        self._trim_history()

    # ------------------------------------------------------------------ going back

    @precondition(lambda self: not self.is_open)
    @rule(target=snapshots)
    def take_snapshot(self) -> Taken:
        """Take a snapshot of the rollout."""
        self.kept.append((self.engine.snapshot(), self.dictionary.copy(), self.script))
        return self.kept[-1]

    @rule(taken=snapshots)
    def restore(self, taken: Taken) -> None:
        """Back to a snapshot, which may be restored again unless it had to give way."""
        snapshot, dictionary, script = taken
        if snapshot.given_up is not None:
            with contextlib.suppress(PolicyError):
                self.engine.restore(snapshot)
                raise CheckFailed(f"a snapshot was restored although {snapshot.given_up}")
            return
        self.engine.restore(snapshot)
        self.script, dictionary = script, dictionary.copy()
        if not any(snapshot is known for known, _, _ in self.kept):  # of another rollout, which counts it for itself
            dictionary.store_anew()
        self.dictionary, self.history, self.is_open = dictionary, [], False

    @rule(taken=consumes(snapshots))
    def restore_for_the_last_time(self, taken: Taken) -> None:
        """Back to a snapshot that is freed afterwards."""
        self.restore(taken)

    @precondition(lambda self: not self.is_open)
    @rule(goes_on_with_fork=st.booleans())
    def fork(self, goes_on_with_fork: bool) -> None:
        """One of the two goes on, the other takes a step of its own and is forgotten."""
        twin = self.engine.fork()
        other = twin
        if goes_on_with_fork:
            self.engine, other = twin, self.engine
            self.history, self.kept = [], []  # snapshots of the other take no room of this one
        if len(self.script) < LONGEST:
            ahead = MotionScript((*self.script.moves, Move(0.5)))
            plan = other.begin(Scenario(ahead, self.geometry).viewpoints()[-1])
            if self.policy.asked_at == "first_pass":
                plan = other.refine(None)
            other.commit(measured_at(other, plan, 0))

    @rule(chunks=st.integers(0, REWIND_CHUNKS))
    def rewind(self, chunks: int) -> None:
        """Take back some chunks, an open step first."""
        steps = chunks + self.is_open
        if steps > len(self.history):
            return
        self.engine.rewind(chunks)
        if steps:
            self.dictionary = self.history[-steps]
            del self.history[-steps:]
            self.script = MotionScript(self.script.moves[: len(self.script) - steps])
        self.is_open = False
        self._trim_history()

    @precondition(lambda self: len(self.script) > 8)
    @rule()
    def reset(self) -> None:
        """As new."""
        self.engine.reset()
        self.dictionary, self.history, self.is_open = self.fresh.copy(), [], False
        self.script = MotionScript(())

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def the_ledgers_add_up(self) -> None:
        """Every chunk has one home, every token and byte is found."""
        if not hasattr(self, "engine"):
            return
        if not self.is_open:
            audit_ledgers(self.engine)
        audit_homes(self.engine)

    @invariant()
    def the_dictionary_agrees(self) -> None:
        """Homes, tokens and bytes over every edge are those of the plain dictionary."""
        if not hasattr(self, "engine"):
            return
        engine, dictionary = self.engine, self.dictionary
        backend = engine.backend
        assert isinstance(backend, KeyedBackend)
        for what, told, expected in (
            ("at home in the window", engine.state.window_ids.tolist(), dictionary.held("window")),
            ("in spare memory", sorted(backend.spare), dictionary.held("spare")),
            ("on the host", sorted(backend.host), dictionary.held("host")),
            ("on disk", sorted(backend.disk), dictionary.held("disk")),
            ("in staging", sorted(backend.staging), sorted(dictionary.staged)),
        ):
            if told != expected:
                raise CheckFailed(f"{what} are chunks {told}; by the policy's answers they should be {expected}")
        counts = engine.state.counts
        tokens = (counts.window, counts.banked, counts.pruned, counts.discarded)
        expected_tokens = (
            dictionary.total("window"),
            dictionary.total(*BANK),
            dictionary.pruned,
            dictionary.discarded,
        )
        if tokens != expected_tokens:
            raise CheckFailed(f"tokens in window, bank, pruned, discarded are {tokens}, not {expected_tokens}")
        moved = tuple(engine.backend.traffic())
        if moved != tuple(dictionary.moved.values()):
            raise CheckFailed(
                f"bytes out, in, to disk, from disk, to spare memory, back from it and on to the host are {moved}, "
                f"not {tuple(dictionary.moved.values())}"
            )

    @invariant()
    def what_can_be_brought_back_is_counted(self) -> None:
        """The engine counts what earlier states hold beside the bank, each once; together they have room."""
        if not hasattr(self, "engine"):
            return
        held, live = dict[object, int](), self.dictionary.stored()
        snapshots = [dictionary for snapshot, dictionary, _ in self.kept if snapshot.given_up is None]
        for dictionary in (*self.history, *snapshots):
            held |= dictionary.stored()
        beside = sum(size for content, size in held.items() if content not in live)
        told = self.engine.remembered()
        if told.spare + told.host + told.disk - FILE_BYTES * told.files != beside:
            raise CheckFailed(f"earlier states hold {beside} bytes beside the bank, the engine says {told}")
        if self.most is not None and beside + sum(live.values()) > self.most:
            raise CheckFailed(f"bank and earlier states hold {beside + sum(live.values())} bytes of {self.most}")

    def _trim_history(self) -> None:
        """Steps that had to give way cannot be taken back; what is left is the engine's to say."""
        left = len(self.engine._history)
        self.history = self.history[len(self.history) - left :]

    def _follow_retrieval(self) -> None:
        answer: Retrieval | None = None
        for question in self.answers:
            if question.kind == "retrieve":
                answer = question.answer
        attended = self.dictionary.begin(answer)
        plan: StepPlan = self.plan
        if set(plan.attended.tolist()) != attended:
            raise CheckFailed(f"step {plan.step} attends {plan.attended.tolist()}, not {sorted(attended)}")


def cache_machine(
    policy: CachePolicy | PolicyUnderTest, geometry: CacheGeometry | None = None, *, warm_chunks: int | None = None
) -> type[CacheMachine]:
    """The state machine for one policy; its `TestCase` is what pytest collects.

    Args:
        policy: a policy, or the policy under test made of it.
        geometry: the cache's shape; the first of the kit's that the policy accepts by default.
        warm_chunks: chunks generated before hypothesis takes over; as many as fill the window by default.
    """
    under_test = policy if isinstance(policy, PolicyUnderTest) else PolicyUnderTest(policy)
    shape = geometry or under_test.geometries[0]
    own: dict[str, Any] = {
        "policy": under_test.fitted(shape),
        "geometry": shape,
        "warm_chunks": min(LONGEST - 20, under_test.fill_chunks) if warm_chunks is None else warm_chunks,
        "needs_keys": under_test.is_data_dependent,
        "__module__": __name__,
    }
    return type(f"{type(under_test.policy).__name__}Machine", (CacheMachine,), own)
