"""The engine: asks the policy, turns its checked answers into moves, and keeps the counters."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Retrieval
from worldkv.backend import CacheBackend, Move, Traffic
from worldkv.chunks import ChunkTable, Tier
from worldkv.config import CacheConfig
from worldkv.engine.banking import as_it_is, bank_chunk, discard_chunk, forget_chunk, shrink_chunk
from worldkv.engine.fit import fitted
from worldkv.engine.holdings import Holdings, RememberedBytes, Saved
from worldkv.engine.pinned import check_there, without_pinned
from worldkv.engine.policy_calls import PolicyCaller
from worldkv.engine.preflight import check_fits, check_policy_frames, check_positions, check_signals
from worldkv.engine.ranks import AgreedCaller, Ranks
from worldkv.engine.reach import check_distance
from worldkv.engine.state import EngineState, StepPlan, StepRecord
from worldkv.engine.window import reconcile_staging, reconcile_window
from worldkv.errors import BudgetError, LostChunkError, OutputError, PolicyError, SignalError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, needs_of
from worldkv.scene import Scene
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch
from worldkv.tiers import Tiers
from worldkv.views import AttendedChunks


class Snapshot(Saved):
    """An engine's whole state; restore it as often as you like, unless the bank's limits made it give way.

    Attributes:
        table: what was known of every chunk.
    """

    def __init__(self, table: ChunkTable, state: EngineState, backend: Any) -> None:
        """A state of `table`, `state` and the backend's own."""
        super().__init__(state, backend)
        self.table = table


class _Checkpoint(Saved):
    """How to undo one step: its state before, the table's length and overwritten values, the backend's state."""

    def __init__(self, state: EngineState, length: int, journal: list[tuple[str, int, Any]], backend: Any) -> None:
        super().__init__(state, backend)
        self.length, self.journal = length, journal


class CacheEngine:
    """Runs one rollout's cache: `begin`, (after the first pass `refine`,) `commit`, once a chunk.

    Not thread-safe; one engine is one rollout.

    Attributes:
        table: what is known of every chunk.
        state: what changes beside it.
    """

    def __init__(
        self,
        policy: CachePolicy,
        geometry: CacheGeometry,
        backend: CacheBackend,
        config: CacheConfig | None = None,
        scene: Scene | None = None,
        stopwatch: Stopwatch = NO_STOPWATCH,
        *,
        position_limit: int | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """An empty cache under `policy`.

        Args:
            policy: decides; its defaults are rounded up to whole chunks of `geometry`, see `worldkv.engine.fit.fitted`.
            geometry: the model's cache shape.
            backend: carries out.
            config: room for the cache; unlimited by default.
            scene: what is true of the whole rollout.
            stopwatch: told how long the policy's compression takes.
            position_limit: latent frames that the model's rotary positions tell apart; a step that attends keys
                farther away is refused. None lets it pass.
            ranks: those that run this rollout together; None where one process does.

        Raises:
            SpecError: the policy's frames are not whole chunks of this geometry, or its positions are no part.
            SignalError: the policy needs a signal that neither the trajectory nor the backend supplies.
            BudgetError: the window budget does not hold even what the policy pins and the current chunk.
        """
        policy = fitted(policy, geometry)
        self.policy, self.geometry, self.backend = policy, geometry, backend
        self.config, self.scene = config or CacheConfig(), scene or Scene()
        self.needs = needs_of(policy)
        self._position_limit = position_limit
        self._stopwatch, self._ranks = stopwatch, ranks
        self._caller = self._make_caller(backend)
        check_policy_frames(policy, geometry)
        check_positions(policy, geometry)
        check_signals(policy, self.needs, self.scene.signals | backend.supplies)
        is_strict = self.config.over_budget == "error"
        check_fits(policy, geometry, self.config.window_budget_bytes if is_strict else None)
        if policy.asked_at not in ("begin", "first_pass"):
            raise SpecError(f"{type(policy).__name__}.asked_at must be begin or first_pass, got {policy.asked_at!r}")
        self._holdings = Holdings(self.config.limits)
        self.reset()

    def reset(self) -> None:
        """Forget the rollout: as new."""
        self.table = ChunkTable(self.geometry, self.needs, key_heads=self._ranks.key_heads if self._ranks else None)
        self.state = EngineState(Tiers(self.config.bank_limits(self.geometry.chunk_bytes)))
        self._holdings.clear()
        self._given_up: str | None = None  # why the oldest checkpoint was
        self.backend.reset()
        self.state.told_traffic = self.backend.traffic()
        self._open: tuple[Viewpoint, StepPlan] | None = None
        self._generate(self.geometry.frames_per_chunk)
        self._is_inconsistent = False  # a commit failed half way
        self._history: collections.deque[_Checkpoint] = collections.deque(maxlen=self.config.rewind_chunks + 1)

    # ------------------------------------------------------------------ the step

    def __repr__(self) -> str:
        tiers = self.state.tiers
        spare = "" if tiers.limits.spare_bytes is None else f"{tiers.spare.held:,} bytes in spare memory, "
        return (
            f"CacheEngine under {self.policy!r}, {self.geometry.name}: {len(self.table):,} chunks, "
            f"{len(self.state.window_ids)} at home in the window, {self.state.bank_count} banked "
            f"({spare}{tiers.host.held:,} bytes on host, {tiers.disk.held:,} on disk)"
        )

    def begin(self, viewpoint: Viewpoint) -> StepPlan:
        """Ask what to retrieve for `viewpoint` and bring the window there.

        A policy asked after the first pass keeps its last retrieval until `refine`.

        Raises:
            PolicyError: a step is open already, or the answer breaks the contract.
            BudgetError: the plan does not fit the window budget (nothing has moved).
            PositionError: it attends keys farther away than `position_limit` (nothing has moved).
            LostChunkError: the plan needs a chunk that cannot be read back, and `config.when_lost` is "error".
            OutputError, TransferError: a banked chunk could not be stored, and neither `config.when_lost` nor
                `limits.when_full` gives it up; nothing has moved, so the same call may be made again.
        """
        self._refuse_inconsistent("begin")
        if self._open is not None:
            raise PolicyError(
                f"step {self._open[1].step} is still open; commit it (or rewind(0), restore or reset) before the next "
                "begin"
            )
        self._give_up_failed_stores(wait=False)
        self._generate(viewpoint.frames_of(self.geometry))
        plan = self._reconcile(viewpoint, None, is_asked=self.policy.asked_at == "begin")
        self.state.tiers.device.take(self._own_bytes)
        self._open = viewpoint, plan
        return plan

    def check_pass(self, frames: int) -> None:
        """Refuse a pass that generates `frames` latent frames, several chunks together, beside what is in the window.

        Raises:
            BudgetError: the window budget does not hold them.
            PositionError: their keys are farther apart than `position_limit`.
        """
        whole, wanted = self._frames, self._wanted(None)
        self._generate(frames)
        try:
            self._is_over_budget(wanted)
            ids = np.sort(np.concatenate([self.state.window_ids, np.array(wanted, np.int64)]))
            self._positions(ids, wanted)
        finally:
            self._generate(whole)

    def refine(self, summary: Any) -> StepPlan:
        """Ask again after the first pass, with the step's own queries, and apply the difference.

        Args:
            summary: mean query of the first pass `(layers, kv_heads, head_dim)`, or None if not measured.

        Raises:
            PolicyError: no step is open or the answer breaks the contract.
            BudgetError: as in `begin`.
        """
        if self._open is None:
            raise PolicyError("refine comes after begin and before commit; no step is open")
        viewpoint, plan = self._open
        if self.policy.asked_at == "first_pass" and self.state.has_choice(self.table):
            self.state.summary = summary
            plan = self._reconcile(viewpoint, plan, is_asked=True)
            self._open = viewpoint, plan
        return plan

    def commit(self, measured: Measured | None = None) -> StepRecord:
        """The clean pass is done: the chunk enters the window, then the policy says which chunks leave.

        Args:
            measured: what the model measured during the step.

        Raises:
            PolicyError: no step is open, or an answer breaks the contract.
            SignalError: attention was not measured for exactly the chunks attended.
            BudgetError: an evicted chunk fits nowhere in the bank; rewind or restore to go on.
            OutputError, TransferError: an earlier chunk could not be stored, as for `begin`; the step is still open.
        """
        self._refuse_inconsistent("commit")
        if self._open is None:
            raise PolicyError("commit comes once after begin; no step is open")
        self._give_up_failed_stores(wait=True)
        viewpoint, plan = self._open
        self._is_inconsistent = True
        geometry, state, own_tokens, own_bytes = self.geometry, self.state, self._own_tokens, self._own_bytes
        chunk = self.table.append(viewpoint, measured, self._frames, state.scene)
        self.backend.commit(chunk, own_bytes)
        state.counts.produced += own_tokens
        state.counts.window += own_tokens
        state.admit(chunk, self.table)
        if measured is not None:
            self._remember(measured, plan)
        eviction = without_pinned(self._caller.eviction(self.table, state), state.pinned)
        kept: tuple[int, ...] = ()
        sizes: tuple[int, ...] = ()
        left: tuple[int, ...] = ()
        left_bytes: tuple[int, ...] = ()
        forgotten: list[int] = []
        moves: Sequence[Move] = ()
        if eviction is not NOTHING_LEAVES:
            kept, sizes, forgotten, moves = self._evict(eviction)
            left = tuple(keep.count for keep in eviction.shrink.values())
            left_bytes = tuple(keep.window_bytes(geometry) for keep in eviction.shrink.values())
        traffic = self.backend.traffic()
        moved = _NO_TRAFFIC if traffic is state.told_traffic else traffic.since(state.told_traffic)
        state.told_traffic = traffic
        self._open, self._is_inconsistent = None, False
        discarded = (*eviction.discard, *forgotten, *state.lost)
        moves = (*state.forgets, *moves)
        late, state.told_late, state.lost, state.forgets = state.told_late, (), (), ()
        return StepRecord(
            plan,
            (*(one[0] for one in late), *eviction.bank),
            (*(one[1] for one in late), *kept),
            discarded,
            tuple(eviction.shrink),
            moved,
            (*(one[2] for one in late), *sizes),
            left,
            left_bytes,
            own_tokens,
            own_bytes,
            moves,
        )

    @property
    def is_open(self) -> bool:
        """Whether a step is open and its commit may still be made."""
        return self._open is not None and not self._is_inconsistent

    # ------------------------------------------------------------------ going back

    def check_between_steps(self, what: str) -> None:
        """Refuse to do `what` while a step is open or failed half way; chunks that cannot be stored are given up first.

        Raises:
            PolicyError: a step is open, or the last one failed half way.
            OutputError, TransferError: as for `begin`.
        """
        self._refuse_inconsistent(what)
        self._refuse_open(what)
        self._give_up_failed_stores(wait=True)

    def snapshot(self) -> Snapshot:
        """The rollout as it stands between two steps.

        Raises:
            PolicyError: a step is open, or the last one failed half way.
        """
        self._refuse_inconsistent("snapshot")
        self._refuse_open("snapshot")
        snapshot = Snapshot(self.table.copy(), self.state.copy(), self.backend.snapshot())
        self._holdings.save(snapshot)
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to `snapshot`; what `rewind` could take back is forgotten.

        Raises:
            PolicyError: the snapshot had to give way to the bank; nothing has changed.
        """
        if snapshot.given_up is not None:
            raise PolicyError(
                f"the snapshot of {len(snapshot.table)} chunks cannot be restored: {snapshot.given_up}; give the bank "
                "more room, or let go of older snapshots first"
            )
        self._history.clear()
        self.table, self.state = snapshot.table.copy(), snapshot.state.copy()
        self._go_back(snapshot)
        self._given_up = None

    def take_in(self, table: ChunkTable, state: EngineState) -> None:
        """Go on from `table` and `state`, where the backend stands already; nothing before can be taken back."""
        self._history.clear()
        self.table, self.state, self._given_up = table, state, None
        self._holdings.restore(Saved(state, None), table)
        self._open, self._is_inconsistent = None, False

    def rewind(self, chunks: int) -> None:
        """Take back the last `chunks` commits, exactly; an open step is abandoned first (`rewind(0)` only that).

        Raises:
            PolicyError: more than `config.rewind_chunks` or than were committed, or none where the last step failed
                half way and was not remembered.
        """
        if self._open is None and chunks == 0:
            self._refuse_inconsistent("rewind(0)")
        steps = chunks + (self._open is not None)
        if self._given_up is not None and 0 <= chunks <= self.config.rewind_chunks and steps > len(self._history):
            raise PolicyError(
                f"cannot rewind {chunks} chunks of {len(self.table)}, at most {self.rewindable_chunks}: "
                f"{self._given_up}; rewind less, or give the bank more room"
            )
        if not 0 <= chunks <= self.config.rewind_chunks or steps > len(self._history):
            raise PolicyError(
                f"cannot rewind {chunks} chunks of {len(self.table)}; at most rewind_chunks = "
                f"{self.config.rewind_chunks} since the last restore are remembered, raise it or take a snapshot"
            )
        if steps:
            self._take_back(steps)

    def forget_past(self) -> None:
        """Let go of what `rewind` could take back, and of the room it takes."""
        self._history.clear()

    @property
    def rewindable_chunks(self) -> int:
        """Chunks that `rewind` can take back now."""
        return max(0, min(self.config.rewind_chunks, len(self._history) - (self._open is not None)))

    def remembered(self) -> RememberedBytes:
        """Bytes of chunks that left the bank and that `rewind` or a snapshot may bring back, beside the ledgers.

        With the bank they stay within `config.limits`: the oldest snapshot or checkpoint gives way.
        """
        return self._holdings.remembered()

    def fork(self) -> CacheEngine:
        """A second rollout that continues from here on its own; the bank is shared.

        Raises:
            PolicyError: a step is open, or the last one failed half way.
        """
        self._refuse_inconsistent("fork")
        self._refuse_open("fork")
        twin = object.__new__(CacheEngine)
        twin.__dict__.update(self.__dict__)
        twin.table, twin.state, twin.backend = self.table.copy(), self.state.copy(), self.backend.fork()
        twin._caller = self._make_caller(twin.backend)
        twin._history, twin._holdings = collections.deque(maxlen=self._history.maxlen), self._holdings.forked()
        twin._given_up = None
        return twin

    def _make_caller(self, backend: CacheBackend) -> PolicyCaller | AgreedCaller:
        caller = PolicyCaller(self.policy, self.geometry, backend, self.config, self.scene, self._stopwatch)
        return caller if self._ranks is None else AgreedCaller(caller, self._ranks)

    def _take_back(self, steps: int) -> None:
        for _ in range(steps):
            checkpoint = self._history.pop()
            self.table.undo(checkpoint.journal, checkpoint.length)
            self.state = checkpoint.state
        self._go_back(checkpoint)

    def _go_back(self, saved: Saved) -> None:
        """The bank, and what else the backend has, is as in `saved`; table and state are so already."""
        self._holdings.restore(saved, self.table)
        self._make_way(saved)
        self.backend.restore(saved.backend)
        self._open, self._is_inconsistent = None, False

    def _make_way(self, kept: Saved | None = None) -> None:
        """Bring bank and earlier states within the limits together; what has no room is given up, the oldest first."""
        while (found := self._holdings.in_the_way(self.state, self.table, kept)) is not None:
            limit, saved, spill = found
            if spill is not None:
                spill.may_leave = self.backend.spill_saved(saved.backend, spill.chunk)
                if spill.may_leave:
                    spill.tier = Tier.HOST if spill.tier is Tier.SPARE else Tier.DISK
                continue
            saved.given_up = f"what the bank has forgotten since then has no room beside it within {limit}"
            self.backend.release(saved.backend)
            saved.stored.clear()
            if self._history and self._history[0] is saved:
                self._given_up = saved.given_up
                self._history.popleft()

    def _refuse_open(self, what: str) -> None:
        if self._open is not None:
            raise PolicyError(f"{what} between steps only; commit step {self._open[1].step} first")

    def _refuse_inconsistent(self, what: str) -> None:
        """Refuse to go on from, or to hand out, a step that failed half way."""
        if self._is_inconsistent:
            step = len(self.table) if self._open is None else self._open[1].step
            is_remembered = self._open is not None and self._history
            way = "call rewind(0), restore or reset first" if is_remembered else "restore a snapshot or reset first"
            raise PolicyError(f"{what} is refused: step {step} failed half way; {way}")

    def _checkpoint(self) -> None:
        state, length = self.state, len(self.table)
        self.state = state.copy()
        checkpoint = _Checkpoint(state, length, self.table.start_journal(), self.backend.snapshot())
        self._holdings.save(checkpoint)
        self._history.append(checkpoint)

    def _generate(self, frames: int) -> None:
        """The chunk being generated has so many latent frames: its tokens, and the bytes of its keys and values."""
        self._frames = frames
        self._own_tokens = frames * self.geometry.tokens_per_frame
        self._own_bytes = self._own_tokens * self.geometry.token_bytes

    # ------------------------------------------------------------------ moving

    def _reconcile(self, viewpoint: Viewpoint, first: StepPlan | None, *, is_asked: bool) -> StepPlan:
        """Ask, where the policy is asked now, and apply the difference; again for every chunk that turns out lost.

        Args:
            viewpoint: the step's view.
            first: the plan of the same step's begin, None at begin.
            is_asked: whether the policy is; if not, what is resident stays.
        """
        is_open = False
        while True:
            retrieval = None
            if is_asked and self.state.has_choice(self.table):
                retrieval = self._caller.retrieval(self.table, self.state, viewpoint)
            wanted = self._wanted(retrieval)
            is_over = self._is_over_budget(wanted)
            ids = self.state.window_ids
            if wanted:
                ids = np.sort(np.concatenate([ids, wanted]))
            positions = self._positions(ids, wanted)
            if first is None and self.config.rewind_chunks and not is_open:
                self._checkpoint()
                is_open = True
            spare = self.state.copy() if self.config.when_lost == "go-on" else None
            try:
                plan = self._apply(retrieval, first, is_over, ids, positions)
                if self.state.forgets:
                    plan = plan._replace(moves=(*self.state.forgets, *plan.moves))
                    self.state.forgets = ()
                return plan
            except Exception as error:
                is_pinned = isinstance(error, LostChunkError) and error.chunk in self.state.pinned
                if spare is None or not isinstance(error, LostChunkError) or is_pinned:
                    if is_open and self._history:
                        self._take_back(1)
                    raise
                self.state, self._is_inconsistent = spare, False
                self.give_up(error.chunk)

    def _give_up_failed_stores(self, *, wait: bool) -> None:
        """Before a step changes anything: give up chunks that could not be stored, where the configuration says so.

        A file that cannot be written is one more way in which the bank is full, so what is forgotten for it where that
        is allowed are the oldest chunks on disk.
        """
        while (failed := self.backend.failed_store(wait=wait)) is not None:
            chunk, error = failed
            if self._ranks is None and isinstance(error, OutputError) and self._forgets_oldest:
                on_disk = np.flatnonzero(self.table.columns["tier"][: len(self.table)] == Tier.DISK).tolist()
                chunk = next((one for one in on_disk if one not in self.state.pinned), chunk)
            elif self.config.when_lost == "error":
                raise error
            if chunk in self.state.pinned:
                raise error
            self.give_up(chunk)

    @property
    def _forgets_oldest(self) -> bool:
        return self.config.limits.when_full == "forget-oldest"

    def give_up(self, chunk: int) -> None:
        """A banked chunk is lost; it is forgotten, and the step's record will tell."""
        state = self.state
        moves = forget_chunk(state, self.table, chunk)
        self._holdings.follow(moves)
        self._make_way()
        self._is_inconsistent = True
        self.backend.apply(moves)
        self._is_inconsistent = False
        state.forgets = (*state.forgets, *moves)
        state.lost = (*state.lost, chunk)

    def _positions(self, ids: Ids, wanted: tuple[int, ...]) -> Ids:
        """Where each attended chunk, and last the chunk being generated, stands.

        Raises:
            PolicyError: the rule answers with another shape.
            PositionError: a key stands farther away than the positions the model has, where that is refused.
        """
        columns, own_start = self.table.columns, self.table.next_frame
        rule = self.policy.positions
        if rule.moves:
            attended = AttendedChunks(
                len(self.table),
                ids,
                columns["start_frame"][ids],
                columns["frames"][ids],
                wanted,
                own_start,
                self._frames,
            )
            places = self._caller.positions(rule, attended)
        else:
            places = np.empty(len(ids) + 1, np.int64)
            places[:-1] = columns["start_frame"][ids]
            places[-1] = own_start
        if self._position_limit is not None:
            check_distance(self.policy, len(self.table), places, self._frames, self._position_limit)
        return places

    def _is_over_budget(self, wanted: tuple[int, ...]) -> bool:
        """Whether the plan goes over the window budget.

        Raises:
            BudgetError: it does, and that is not allowed.
        """
        budget = self.config.window_budget_bytes
        if budget is None:
            return False
        sizes = self.table.columns["window_bytes"]
        window_bytes = self.state.home_bytes + self._own_bytes + sum(sizes.item(chunk) for chunk in wanted)
        if window_bytes > budget and self.config.over_budget == "error":
            raise BudgetError(
                f"{type(self.policy).__name__} wants {window_bytes} bytes in the window at step {len(self.table)}, "
                f"over the budget of {budget}; retrieve less, keep fewer tokens{self._or_unpin} or raise the budget"
            )
        return bool(window_bytes > budget)

    def _apply(
        self, retrieval: Retrieval | None, first: StepPlan | None, over: bool, ids: Ids, positions: Ids
    ) -> StepPlan:
        """Bring window and staging to what `retrieval` asks for; what is resident where it is None."""
        table, geometry, state = self.table, self.geometry, self.state
        wanted = self._wanted(retrieval)
        window_bytes = state.home_bytes + self._own_bytes
        tokens = state.counts.window + self._own_tokens
        for chunk in wanted:
            window_bytes += table.columns["window_bytes"].item(chunk)
            tokens += table.columns["tokens"].item(chunk)
        if over and state.over_budget_at is None:
            state.over_budget_at = len(table) + 1
        newest = len(table) - 1
        arrives = first is None and newest >= 0 and newest not in state.leaving
        change = reconcile_window(state, table, wanted)
        moves = change.moves
        if retrieval is not None and (state.staged or retrieval.next_ids):
            staging = self.config.staging_chunks * geometry.chunk_bytes
            moves = (*moves, *reconcile_staging(state, table, retrieval.next_ids or (), staging))
        if moves:
            self._is_inconsistent = True
            self.backend.apply(moves)
            self._is_inconsistent = False
        if retrieval is not None:
            self._note_use(retrieval)
        if first is None:
            for chunk in wanted[len(state.resident) :]:  # pinned, and fetched for no other reason
                table.write("last_used", chunk, len(table))
        if state.staged:
            window_bytes += sum(state.staged.values())
        _, entered, changed, left, fetched, fetched_disk, fetched_spare = change
        if arrives:
            entered = (newest, *entered)
        if first is not None:
            entered, changed, left = first.entered + entered, first.changed + changed, first.left + left
            fetched, fetched_disk = first.fetched_bytes + fetched, first.fetched_disk_bytes + fetched_disk
            fetched_spare += first.fetched_spare_bytes
            over = over or first.over_budget
        return StepPlan(
            len(table),
            ids,
            tokens,
            window_bytes,
            wanted,
            entered,
            changed,
            left,
            fetched,
            fetched_disk,
            over,
            self._frames,
            positions,
            moves,
            first,
            fetched_spare,
            pinned=state.pinned,
            scene=state.scene,
        )

    def _wanted(self, retrieval: Retrieval | None) -> tuple[int, ...]:
        """Banked chunks that are attended: what the policy retrieves, or has at last, and behind it what is pinned."""
        wanted = self.state.resident if retrieval is None else retrieval.ids
        if not self.state.pinned:
            return wanted
        tier = self.table.columns["tier"]
        pinned = (chunk for chunk in self.state.pinned if tier[chunk] != Tier.DEVICE and chunk not in wanted)
        return (*wanted, *pinned)

    @property
    def _or_unpin(self) -> str:
        return f", unpin some of {len(self.state.pinned)} pinned chunks" if self.state.pinned else ""

    def _note_use(self, retrieval: Retrieval) -> None:
        state, step = self.state, len(self.table)
        used = self.table.columns["times_retrieved"]
        for chunk in retrieval.ids:
            self.table.write("last_used", chunk, step)
            self.table.write("times_retrieved", chunk, used[chunk] + 1)
        state.resident = retrieval.ids
        state.planned = retrieval.next_ids or ()
        if retrieval.refreshed:
            state.last_refresh = step

    # ------------------------------------------------------------------ what a caller asks for

    def pin(self, chunk: int) -> None:
        """From the next step on a chunk is attended at every step, and never discarded, shrunk or forgotten.

        Raises:
            PolicyError: a step is open, or the chunk is gone.
            BudgetError: the window budget does not hold everything pinned beside a chunk being generated.
        """
        self.check_between_steps("pin")
        check_there(self.table, chunk, "pin")
        pinned = tuple(sorted({*self.state.pinned, chunk}))
        budget, sizes = self.config.window_budget_bytes, self.table.columns["window_bytes"]
        needed = sum(sizes.item(one) for one in pinned) + self.geometry.chunk_bytes
        if budget is not None and needed > budget and self.config.over_budget == "error":
            raise BudgetError(
                f"{len(pinned)} pinned chunks and one being generated take {needed} bytes, over the window's budget "
                f"of {budget}; unpin another chunk first, or raise the budget"
            )
        self.state.pinned = pinned

    def unpin(self, chunk: int) -> None:
        """Leave a pinned chunk to the policy again, which is asked at once whether it leaves the window.

        Raises:
            PolicyError: a step is open, or the chunk is not pinned.
            BudgetError: it goes to the bank, which has no room; rewind, restore or reset.
        """
        self.check_between_steps("unpin")
        if chunk not in self.state.pinned:
            raise PolicyError(f"chunk {chunk} is not pinned; pinned are {list(self.state.pinned)}")
        state = self.state
        state.pinned = tuple(one for one in state.pinned if one != chunk)
        if self.table.columns["tier"][chunk] == Tier.DEVICE:
            eviction = self._caller.eviction(self.table, state)
            if chunk in eviction.bank:
                self._bank_late((chunk,))
            elif chunk in eviction.discard:
                self._discard_late(chunk)

    def forget(self, chunk: int) -> None:
        """A chunk is gone for good, wherever it is; the next step's record tells it among the discarded.

        Raises:
            PolicyError: a step is open, or the chunk is pinned or gone already.
        """
        self.check_between_steps("forget")
        check_there(self.table, chunk, "forget")
        if chunk in self.state.pinned:
            raise PolicyError(f"chunk {chunk} is pinned, which says that it is never forgotten; unpin it first")
        if self.table.columns["tier"][chunk] != Tier.DEVICE:
            self.give_up(chunk)
        else:
            self._discard_late(chunk)

    def cut(self, scene: int | None = None) -> int:
        """A scene begins: nothing of the others is attended or may be retrieved, except what is pinned.

        What is at home in the window goes to the bank, as the policy's `compress` says. The bank keeps all scenes.

        Args:
            scene: an earlier scene to go back to, whose chunks the policy may retrieve again; None for a new one.

        Returns:
            The scene's number; the first scene of a rollout is 0.

        Raises:
            PolicyError: a step is open, there is no such scene, or the policy cannot say what to keep of a chunk.
            BudgetError: the bank has no room for the window; rewind, restore or reset.
        """
        self.check_between_steps("cut")
        state, table = self.state, self.table
        scenes = table.columns["scene"][: len(table)]
        newest = max(int(scenes.max(initial=0)), state.scene)
        if scene is not None and not 0 <= scene <= newest:
            raise PolicyError(f"there is no scene {scene}; there are 0 to {newest}, and None begins another")
        if scene is None:
            scene = newest + 1 if state.scene in scenes else state.scene  # one without chunks has only just begun
        if scene == state.scene:
            return scene
        leaving = tuple(chunk for chunk in state.window_ids.tolist() if chunk not in state.pinned)
        self._bank_late(leaving)
        unstaged = reconcile_staging(state, table, (), 0)
        if unstaged:
            self.backend.apply(unstaged)
        state.forgets = (*state.forgets, *unstaged)
        state.resident, state.planned, state.last_refresh, state.summary = (), (), None, None
        state.scene, state.is_cut = scene, True
        return scene

    def _bank_late(self, chunks: tuple[int, ...]) -> None:
        """Chunks leave the window for the bank between two steps; the next plan and record tell."""
        state, self._is_inconsistent = self.state, True
        kept, sizes, forgotten, moves = self._evict(Eviction(chunks), is_late=True)
        state.told_late = (*state.told_late, *zip(chunks, kept, sizes, strict=True))
        state.lost, state.forgets = (*state.lost, *forgotten), (*state.forgets, *moves)
        self._is_inconsistent = False

    def _discard_late(self, chunk: int) -> None:
        """A chunk of the window is gone for good between two steps; the next record tells."""
        state = self.state
        discard_chunk(state, self.table, chunk)
        state.release((chunk,))
        state.shrunk = tuple(other for other in state.shrunk if other != chunk)
        state.lost = (*state.lost, chunk)

    # ------------------------------------------------------------------ eviction

    def _remember(self, measured: Measured, plan: StepPlan) -> None:
        if measured.query_summary is not None:
            self.state.summary = measured.query_summary
        if Signal.ATTENTION_MASS in self.needs and measured.attention_mass is not None:
            received = np.asarray(measured.attention_mass)
            if received.shape != plan.attended.shape:
                raise SignalError(
                    f"attention_mass must be one number for each of the {len(plan.attended)} chunks attended at step "
                    f"{plan.step}, got shape {received.shape}; give them in the order of plan.attended"
                )
            mass = self.table.columns["attention_mass"]
            for row, chunk in enumerate(plan.attended):
                self.table.write("attention_mass", chunk, mass[chunk] + received[row])

    def _evict(
        self, eviction: Eviction, *, is_late: bool = False
    ) -> tuple[tuple[int, ...], tuple[int, ...], list[int], list[Move]]:
        """Carry out an eviction; between two steps (`is_late`) what was shrunk before is banked as it is.

        Returns:
            The tokens and bytes kept of each banked chunk, the ids forgotten for them, and the moves.
        """
        state, table = self.state, self.table
        gone = (*eviction.bank, *eviction.discard)
        moves: list[Move] = []
        kept: list[int] = []
        sizes: list[int] = []
        forgotten: list[int] = []
        for chunk, keep in eviction.shrink.items():
            moves.append(shrink_chunk(state, table, chunk, keep))
        for chunk in eviction.discard:
            discard_chunk(state, table, chunk)
        for chunk in eviction.bank:
            whole = as_it_is(state, table, chunk) if is_late else None
            keep = whole or self._caller.keep(table, state, chunk)
            more, lost = bank_chunk(state, table, chunk, keep)
            moves += more
            forgotten += lost
            kept.append(keep.count)
            sizes.append(keep.bytes(table.geometry))
        before = (chunk for chunk in state.shrunk if chunk not in gone) if is_late else ()
        state.shrunk = (*before, *eviction.shrink)
        if gone:
            state.release(gone)
        if moves:
            self._holdings.follow(moves)
            self._make_way()
            self.backend.apply(moves)
        return tuple(kept), tuple(sizes), forgotten, moves


_NO_TRAFFIC = Traffic()
