"""The cache as a model calls it: begin a chunk, attend once a layer and pass, commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import torch
from torch import Tensor

from worldkv.backends.attention import attend_window
from worldkv.backends.bank.spill_folders import Folders
from worldkv.backends.call_checks import check_hidden, check_tensors, check_views
from worldkv.backends.group.open_group import open_group
from worldkv.backends.group.rank_group import Split
from worldkv.backends.key_turns import KeyTurns
from worldkv.backends.measuring import SignalMeter
from worldkv.backends.padding import check_pad_to, mark_valid
from worldkv.backends.passes import Passes
from worldkv.backends.prefill import commit_prefill
from worldkv.backends.rotary import Rotary, turn_keys
from worldkv.backends.tags import MOST_TAGGED, TAG_CHANNELS, with_tags
from worldkv.backends.told_when_full import told_when_full
from worldkv.backends.torch_backend import TorchBackend
from worldkv.backends.transfer.open_device import device_ops
from worldkv.backends.uncompiled import uncompiled
from worldkv.backends.window.arena import ArenaForm
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine, Snapshot
from worldkv.engine.fit import fitted
from worldkv.engine.ranks import state_facts
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.errors import PolicyError, SpecError, check_choice
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, needs_of
from worldkv.scene import Scene
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

OnCommit = Callable[[StepRecord, Viewpoint, Measured | None], None]
"""Called after every committed chunk with what happened, where its camera stood and what was measured of it."""

OnAttend = Callable[[int, Tensor, Tensor], None]
"""Called with the layer and the very keys and values that are attended, `(branches, kv_heads, tokens, channels)`;
of a ragged cache head by head, of branches that come one by one each on its own."""

KeysAs = Literal["rotated", "unrotated"]
"""How a model hands over keys: turned to their positions in time and space, or as they are before that."""

_DTYPES = {2: torch.bfloat16, 4: torch.float32}


class WorldCache:
    """One rollout's cache on real tensors, under any policy.

    A model calls `begin` before a chunk's first pass, `attend` (or `window` and its own kernel) once a layer in every
    pass, and `commit` after the last one; `start_frame` is the latent frame at which the chunk's rotary positions
    start. Each of them raises a DeviceError for tensors of another device, and where memory runs out.

    Attributes:
        engine: the engine that asks the policy and keeps the counts.
        backend: where the tensors are.
        geometry: the cache's shape.
        keys: how the model hands over keys.
        stopwatch: where the time of a step goes: policy, compression, transfer, attention.
        on_attend: called with everything that is attended; None by default.
        on_commit: called after every committed chunk, those of a prefill one by one; None by default.
        measured: what the model measured of the last committed chunk; None where nothing was asked for.
        chunk_frames: latent frames of the open step, all chunks of a prefill together; of a whole chunk between steps.
        extra: the model's own state that came with a saved world, see `save`; empty in a new cache.
        valid_tokens: with `pad_to`, which tokens that `window` returns are attended `(pad_to,)`, on the device and
            always at the same address; None without.
    """

    def __init__(
        self,
        policy: CachePolicy,
        geometry: CacheGeometry,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        scene: Scene | None = None,
        config: CacheConfig | None = None,
        capacity_tokens: int | None = None,
        rotary: Rotary | None = None,
        folder: Folders = None,
        reduce: Callable[[Any], Any] | None = None,
        stopwatch: Stopwatch = NO_STOPWATCH,
        extra_signals: frozenset[Signal] = frozenset(),
        is_tagged: bool = False,
        make_backend: Callable[..., TorchBackend] = TorchBackend,
        keys: KeysAs = "rotated",
        is_causal: bool = False,
        riders: int = 0,
        pad_to: int | None = None,
        group: ProcessGroup | None = None,
        split: Split = "heads",
    ) -> None:
        """An empty cache.

        Args:
            policy: the policy that decides.
            geometry: the model's cache shape; `branches` is the batch axis.
            device: "cpu", or an accelerator of torch: "cuda", "xpu", with ":N" for the N-th.
            dtype: of cached keys and values; by default bfloat16 or float32, by the geometry's `itemsize`.
            scene: what is true of the whole rollout.
            config: room for the cache; unlimited by default.
            capacity_tokens: tokens the window holds, the chunk being generated included, allocated at once; by default
                the config's window budget, and without one the window grows as needed.
            rotary: the model's rotary positions, for policies that move keys in time and for unrotated keys; the Wan
                family's by default.
            folder: where spilled chunks go; of several the next is used where one is full or fails. By default a
                temporary folder.
            reduce: sums an array over ranks that hold different heads, for compressions; `group` does it by itself.
            stopwatch: told how long everything takes.
            extra_signals: measured beside those the policy needs (to record them).
            is_tagged: whether every cached token carries its identity in debug channels.
            make_backend: the backend's class.
            keys: "rotated" where the model turns keys and queries to `start_frame` before it hands them over;
                "unrotated" where it hands them over before that, and the cache turns them by `rotary`.
            is_causal: whether a token sees its own chunk only up to itself, as in a language model.
            riders: the last so many of the geometry's branches are further keys and values of the same tokens, which
                follow the same decisions and carry no position in time (PRoPE).
            pad_to: tokens that `window` always returns, for graphs of fixed shapes; see `valid_tokens`.
            group: the torch.distributed ranks that share this rollout, `geometry` being this rank's part of it.
            split: what they share: "heads", in the order of ranks, or guidance "branches", rank 0 the first.

        Raises:
            DeviceError: the device is not there.
            SpecError: dtype and geometry disagree, and as for `CacheEngine`.
            GroupError: ranks were given different policies, geometries or configurations.
        """
        policy = fitted(policy, geometry)
        self._ranks = open_group(
            group,
            split,
            device,
            policy,
            geometry,
            config,
            reduce,
            dtype=dtype,
            extra_signals=extra_signals,
            keys=keys,
            is_causal=is_causal,
            riders=riders,
        )
        heads = None
        if self._ranks is not None:
            reduce, heads = self._ranks.reduce, self._ranks.heads
        if is_tagged and max(geometry.layers, geometry.kv_heads) > MOST_TAGGED:
            raise SpecError(
                f"a tagged cache tells {MOST_TAGGED} layers and kv_heads apart, got {geometry.layers} and "
                f"{geometry.kv_heads}; take a smaller geometry, the decisions are the same"
            )
        if not 0 <= riders < geometry.branches:
            raise SpecError(
                f"riders must be 0 to {geometry.branches - 1}, got {riders}; count them among the geometry's branches"
            )
        check_choice("keys", keys, get_args(KeysAs))
        if pad_to is not None:
            check_pad_to(pad_to, policy, geometry)
        needs = needs_of(policy) | extra_signals
        self.policy, self.geometry, self.stopwatch = policy, geometry, stopwatch
        self.keys: KeysAs = keys
        self.on_attend: OnAttend | None = None
        self.on_commit: OnCommit | None = None
        self.dtype = dtype or default_dtype(geometry)
        if self.dtype.itemsize != geometry.itemsize:
            raise SpecError(
                f"{self.dtype} takes {self.dtype.itemsize} bytes, the geometry's itemsize is {geometry.itemsize}; "
                f"take a geometry with itemsize={self.dtype.itemsize}"
            )
        self._is_tagged, self._is_causal, is_unrotated = is_tagged, is_causal, keys == "unrotated"
        self._meter = self._make_meter(needs)
        form = ArenaForm(
            geometry,
            self.dtype,
            geometry.head_dim + (TAG_CHANNELS if is_tagged else 0),
            policy.positions.moves or is_unrotated,
            policy.ragged,
            Signal.ATTENTION_MASS in self._meter.signals,
            riders,
            pad_to is not None,
        )
        config = config or CacheConfig()
        is_fixed = config.window_budget_bytes is not None and config.over_budget == "error" and not policy.ragged
        if capacity_tokens is None and config.window_budget_bytes is not None and is_fixed:
            capacity_tokens = config.window_budget_bytes // geometry.token_bytes
        if pad_to is not None:
            capacity_tokens = max(capacity_tokens or 0, pad_to)
        self.backend = make_backend(
            form,
            device_ops(device),
            capacity_tokens=capacity_tokens,
            staging_chunks=config.staging_chunks,
            host_bytes=config.limits.host_bytes,
            spare_bytes=config.limits.spare_bytes,
            spare_device=config.limits.spare_device,
            has_bank=policy.has_bank,
            folder=folder,
            reduce=reduce,
            heads=heads,
            stopwatch=stopwatch,
        )
        self.engine = CacheEngine(
            policy,
            geometry,
            self.backend,
            config,
            scene,
            stopwatch,
            position_limit=geometry.rope_frames,
            ranks=self._ranks,
        )
        self._turns = KeyTurns(
            geometry, rotary or Rotary(geometry, self.backend.ops.device), riders, is_unrotated=is_unrotated
        )
        self._passes = Passes(geometry.layers, geometry.branches)
        self.valid_tokens: Tensor | None = None
        if pad_to is not None:
            self.valid_tokens = torch.zeros(pad_to, dtype=torch.bool, device=self.backend.ops.device)
        self._plan: StepPlan | None = None
        self._views: tuple[Viewpoint, ...] = ()
        self.measured: Measured | None = None
        self.extra: dict[str, Any] = {}
        self._is_closed = False
        self._abandon_step()

    # ------------------------------------------------------------------ the step

    @property
    @uncompiled
    def start_frame(self) -> int:
        """Latent frame at which the chunk being generated, or the next one, starts."""
        return self.engine.table.next_frame

    @property
    def plan(self) -> StepPlan | None:
        """The open step's plan, as of its last refinement; None between steps."""
        return self._plan

    @property
    def passes_begun(self) -> int:
        """Passes that the first branch has begun in the open step, or in the last one where none is open."""
        return self._passes.begun(0)

    @uncompiled
    @told_when_full
    def begin(self, viewpoint: Viewpoint | Sequence[Viewpoint]) -> StepPlan:
        """Bring the window to what the policy wants for `viewpoint`; an open step that is complete is committed first.

        Args:
            viewpoint: where the camera stands; of a prefill, which generates several chunks in one pass, that of each.
                The window is then brought to what the first of them wants, and they are committed one by one.

        Raises:
            PositionError: the step attends keys farther away than the geometry's `rope_frames`.
            PolicyError, BudgetError, LostChunkError: see `CacheEngine.begin`.
            GroupError: another rank of the group failed or decides otherwise.
        """
        if self._plan is not None:
            if not self._passes.is_complete:
                raise PolicyError(
                    f"step {self._plan.step} is still open, and its last pass stopped after "
                    f"{self._passes.least_done} of {self.geometry.layers} layers; run the pass again from layer 0, or "
                    "rewind(0), restore or reset"
                )
            self.commit()
        with self._together("begin"):
            if self._is_closed:
                raise PolicyError("the cache is closed; make a new one")
            views = (viewpoint,) if isinstance(viewpoint, Viewpoint) else viewpoint
            check_views(views, self.geometry, self._takes_one_chunk)
            frames = sum(view.frames_of(self.geometry) for view in views)
            if len(views) > 1:
                self.engine.check_pass(frames)
            with self.stopwatch.span("policy"):
                plan = self.engine.begin(views[0])
        self._abandon_step()
        if len(views) > 1:
            more = (frames - plan.frames) * self.geometry.tokens_per_frame  # of the chunks behind the first
            plan = plan._replace(frames=frames, attended_tokens=plan.attended_tokens + more)
        self._plan, self._views, self.chunk_frames = plan, tuple(views), frames
        return plan

    @uncompiled
    @told_when_full
    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        clean: bool = False,
        hidden: Tensor | None = None,
        *,
        branch: int | None = None,
    ) -> Tensor:
        """Attend over the window and the chunk itself, whose keys and values replace those of the last pass.

        Args:
            layer: which layer; 0 starts a pass.
            queries: `(branches, tokens, heads, head_dim)`, rotated to their absolute positions.
            keys: `(branches, tokens, kv_heads, head_dim)`, likewise.
            values: likewise, not rotated.
            clean: whether this is the clean pass; only needed where the policy reads attention mass or hidden states.
            hidden: what the keys were projected from `(branches, tokens, channels)`; read in the clean pass, where the
                policy judges tokens by hidden states.
            branch: the one branch that the tensors are of, with a batch axis of 1; None where they are of all branches.

        Returns:
            `(branches, tokens, heads, head_dim)`.

        Raises:
            PolicyError: no step is open, layers are out of order, or shapes are not the geometry's.
        """
        with without_gradients():
            queries = self._write(layer, queries, keys, values, branch, clean, hidden)
            with self.stopwatch.span("attention"):
                arena = self.backend.arena
                attended = attend_window(arena, layer, queries, branch, self.on_attend, is_causal=self._is_causal)
            self._measure(layer, queries, branch, clean)
            return attended.transpose(1, 2)

    @uncompiled
    @told_when_full
    def window(
        self,
        layer: int,
        keys: Tensor,
        values: Tensor,
        *,
        branch: int | None = None,
        queries: Tensor | None = None,
        clean: bool = False,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Everything of `attend` but the kernel: what to attend, for models that bring their own attention.

        Args:
            layer: which layer; 0 starts a pass.
            keys: as for `attend`.
            values: likewise.
            branch: likewise.
            queries: likewise; only needed where the policy reads queries or attention mass.
            clean: likewise.
            hidden: likewise.

        Returns:
            Keys and values `(branches, attended, kv_heads, head_dim)`, views of the window that hold until the next
            call: earlier chunks in an order of the cache's own, which attention does not ask for, and last the chunk
            itself. With `pad_to` so many tokens, of which `valid_tokens` are to be attended.

        Raises:
            PolicyError: as for `attend`; the policy reads queries that are not given, or keeps other tokens in every
                head.
        """
        arena, channels = self.backend.arena, self.geometry.head_dim
        name = type(self.policy).__name__
        if arena.form.is_ragged:
            raise PolicyError(
                f"{name} keeps other tokens in every head, which one tensor of keys cannot hold; call attend"
            )
        with without_gradients():
            if queries is None and self._meter.wants_queries(clean, self._passes.number(layer), branch):
                raise PolicyError(f"{name} reads queries or attention mass; hand window(..., queries=...) the queries")
            seen = self._write(layer, queries, keys, values, branch, clean, hidden)
            windowed = arena.attended(layer, self._own_tokens, branch)
            if self.on_attend is not None:
                self.on_attend(layer, *windowed)
            if queries is not None:
                self._measure(layer, seen, branch, clean)
            else:
                self._passes.finish_layer(branch)
            if self.valid_tokens is not None:
                windowed = arena.attended(layer, len(self.valid_tokens) - arena.length(), branch)
            windowed_keys, windowed_values = (part[..., :channels].transpose(1, 2) for part in windowed)
            return windowed_keys, windowed_values

    @uncompiled
    def measure(self, signals: frozenset[Signal]) -> None:
        """Measure these signals too, from the next step on; those that attention supplies.

        Raises:
            PolicyError: a step is open.
        """
        if self._plan is not None:
            raise PolicyError("measure comes between steps; commit the open one first")
        self._meter = self._make_meter(self._meter.signals | signals)

    def rotate(self, queries: Tensor, *, branch: int | None = None) -> Tensor:
        """Unrotated queries turned to where the chunk being generated stands, for `window`'s keys.

        Call it after `window`: a policy that is asked after the first pass may move the chunk there.

        Args:
            queries: `(branches, tokens, heads, head_dim)`; those of riders are left as they are.
            branch: the one branch that they are of; None for all.

        Raises:
            PolicyError: no step is open, or the model turns its queries and keys by itself.
        """
        if self._plan is None:
            raise PolicyError("rotate comes between begin and commit; no step is open")
        if not self._turns.is_unrotated:
            raise PolicyError(
                "keys come rotated to this cache, and queries by the model's own code with them; make the cache with "
                'keys="unrotated" to hand both over before that'
            )
        return self._turns.at(queries, int(self._plan.positions[-1]), branch)

    @uncompiled
    @told_when_full
    def commit(self) -> StepRecord:
        """The last pass's keys and values enter the window, then the policy says what leaves.

        Returns:
            What happened in the step; of a prefill, with its last chunk.

        Raises:
            PolicyError: no step is open, or the last pass did not go through every layer.
            OutputError, TransferError: an earlier chunk could not be stored; the step is still open, so make room and
                commit again.
            GroupError: another rank of the group failed or decides otherwise.
        """
        with self._together("commit"):
            return self._commit()

    def _commit(self) -> StepRecord:
        plan, passes = self._plan, self._passes
        if plan is None or not passes.is_complete:
            raise PolicyError(
                f"commit comes after a pass through all {self.geometry.layers} layers; the last one went through "
                f"{0 if plan is None else passes.least_done}"
            )
        read = self._meter.signals | self.engine.needs
        for signal in (Signal.ATTENTION_MASS, Signal.HIDDEN_STATE):
            if signal in read and not passes.is_clean:
                raise PolicyError(
                    f"{signal.value} is measured in the clean pass; call attend(..., clean=True) in the last pass"
                )
        can_repeat = len(self._views) == 1 and self._ranks is None
        try:
            with self.stopwatch.span("policy"):
                if len(self._views) > 1:
                    return commit_prefill(self.engine, self.backend, self._meter, self._views, self._note)
                measured = self._meter.result(self.backend.arena, self._own_tokens)
                record = self.engine.commit(measured)
                self._note(record, self._views[0], measured)
                return record
        finally:
            if not (can_repeat and self.engine.is_open):
                self._abandon_step()

    # ------------------------------------------------------------------ going back

    def snapshot(self) -> Snapshot:
        """See `CacheEngine.snapshot`; the window is copied page by page, when it is overwritten."""
        return self.engine.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """See `CacheEngine.restore`."""
        self._abandon_step()
        self.engine.restore(snapshot)

    def rewind(self, chunks: int) -> None:
        """See `CacheEngine.rewind`."""
        self.engine.rewind(chunks)
        self._abandon_step()

    def reset(self) -> None:
        """As new."""
        self._abandon_step()
        self.engine.reset()

    def fork(self) -> Self:
        """A second rollout from here on: a window of its own, the bank shared. Close the first cache last."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.on_commit = None  # what is told of this rollout is not told of the other
        twin.engine = self.engine.fork()
        backend = twin.engine.backend
        assert isinstance(backend, TorchBackend)  # noqa: S101 - what it was forked from
        twin.backend = backend
        twin._meter = self._make_meter(self._meter.signals)
        twin._passes = Passes(self.geometry.layers, self.geometry.branches)
        if self.valid_tokens is not None:
            twin.valid_tokens = self.valid_tokens.clone()
        twin._abandon_step()
        return twin

    # ------------------------------------------------------------------ what a caller asks for

    @property
    def pinned(self) -> tuple[int, ...]:
        """Chunks that are pinned, ascending."""
        return self.engine.state.pinned

    def pin(self, chunk: int) -> None:
        """See `CacheEngine.pin`; ranks of a group pin together."""
        self._check_open()
        self.engine.pin(chunk)

    def unpin(self, chunk: int) -> None:
        """See `CacheEngine.unpin`."""
        self._check_open()
        self.engine.unpin(chunk)

    def forget(self, chunk: int) -> None:
        """See `CacheEngine.forget`."""
        self._check_open()
        self.engine.forget(chunk)

    @told_when_full
    def cut(self, scene: int | None = None) -> int:
        """See `CacheEngine.cut`."""
        self._check_open()
        return self.engine.cut(scene)

    def _check_open(self) -> None:
        if self._is_closed:
            raise PolicyError("the cache is closed; make a new one")

    # ------------------------------------------------------------------ beyond the process

    def save(self, folder: str | os.PathLike[str], *, extra: Mapping[str, Any] | None = None) -> None:
        """Write the rollout as it stands between two steps to a folder, from which `open` goes on with the same bits.

        A world saved there before stays whole until this one is; banked chunks that both hold are not written again.
        What `rewind` could take back is not saved.

        Args:
            folder: where; made if need be.
            extra: the model's own state, which `open` hands back in `extra`: mappings, lists and tuples of tensors,
                arrays, numbers, strings and bytes (latents, a generator's `get_state()`). Tensors return to the host.

        Raises:
            PolicyError: a step is open, or the last one failed half way.
            SpecError: the policy or `extra` holds what cannot be written; nothing is pickled.
            OutputError, TransferError: the folder cannot be written, or a chunk could not be stored.
            LostChunkError: a banked chunk cannot be read, and `config.when_lost` is "error".
        """
        from worldkv.backends.saved.save_world import save_world

        if self._is_closed:
            raise PolicyError("the cache is closed; save it before")
        save_world(self, folder, extra)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        policy: CachePolicy,
        geometry: CacheGeometry,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        scene: Scene | None = None,
        config: CacheConfig | None = None,
        rotary: Rotary | None = None,
        spill_folder: Folders = None,
        share_bank: bool = False,
        reduce: Callable[[Any], Any] | None = None,
        stopwatch: Stopwatch = NO_STOPWATCH,
        make_backend: Callable[..., TorchBackend] = TorchBackend,
    ) -> Self:
        """A cache that goes on where a saved one stood, on any device.

        How the model hands over its keys (`keys`, `is_causal`, `riders`, `pad_to`) and what is measured is as it was.
        Everything is read and checked, and the folder is not needed afterwards, unless its bank is shared.

        Args:
            folder: what `save` wrote.
            policy: the policy that it was saved under.
            geometry: the shape that it was saved under.
            device: as for a new cache.
            dtype: the one that it was saved under.
            scene: the same; by default as it was saved, which landmarks and recordings are not.
            config: other room than before, where the bank's chunks are placed again; as it was by default.
            rotary: as for a new cache.
            spill_folder: likewise, `folder` there.
            share_bank: read banked chunks where they lie, one by one as they are wanted and never written, so that any
                number of rollouts, in any number of processes, may start from one bank without copies of it.
            reduce: as for a new cache.
            stopwatch: likewise.
            make_backend: likewise.

        Raises:
            SavedWorldError: there is no whole world of this version, or it was saved under another policy, geometry,
                dtype or scene; the sentence names what differs.
            BudgetError: the bank does not fit into the room that `config` gives it.
        """
        from worldkv.backends.saved.open_world import open_world

        return open_world(
            cls,
            folder,
            policy,
            geometry,
            device=device,
            scene=scene,
            config=config,
            spill_folder=spill_folder,
            share_bank=share_bank,
            dtype=dtype,
            rotary=rotary,
            reduce=reduce,
            stopwatch=stopwatch,
            make_backend=make_backend,
        )

    def close(self) -> None:
        """Give back host memory, files and threads; the cache cannot be used any more."""
        self._is_closed = True
        self._abandon_step()
        self.engine.forget_past()
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def rotary(self) -> Rotary:
        """The model's rotary positions."""
        return self._turns.rotary

    @property
    def measured_signals(self) -> frozenset[Signal]:
        """Signals that are measured of every step."""
        return self._meter.signals

    @property
    def is_in_group(self) -> bool:
        """Whether other ranks share the rollout."""
        return self._ranks is not None

    def form_facts(self) -> dict[str, Any]:
        """How the model hands over its keys, as arguments of the constructor."""
        return {
            "keys": self.keys,
            "is_causal": self._is_causal,
            "is_tagged": self._is_tagged,
            "riders": self.backend.form.riders,
            "pad_to": None if self.valid_tokens is None else len(self.valid_tokens),
        }

    @property
    def allocated_bytes(self) -> dict[str, int]:
        """Bytes allocated on the device: `window` (its keys and values), `staging`, `rotated` keys, `spare` memory.

        Rotated keys are there where any move; spare memory is the bank's, be it on another device.
        Where there are any also `mass` (attention that tokens received), `packing` (room for one quantised chunk) and
        `pages` (of the window, that snapshots hold since they were overwritten). On the host `pinned`: memory that is
        pinned for the bank, whether or not chunks fill it; 0 where none is, and the bank allocates what it holds.
        Beside them `remembered_spare`, `remembered_host` and `remembered_disk`: chunks that left the bank and that a
        snapshot or `rewind` may bring back, see `CacheEngine.remembered`.
        """
        form, staging, arena = self.backend.form, self.backend.staging, self.backend.arena
        slabs = self.backend.bank.pool.slabs
        remembered = self.engine.remembered()
        window = arena.capacity * form.channels * self.geometry.token_bytes // self.geometry.head_dim
        return {
            "window": window,
            "staging": (staging.waiting.numel() + staging.transit.numel()) * self.dtype.itemsize,
            "rotated": window // 2 if form.is_rebased else 0,
            "spare": 0 if self.backend.bank.spare is None else self.backend.bank.spare.num_bytes,
            "mass": 0 if arena.mass is None else arena.mass.nbytes,
            "packing": staging.workspace_bytes,
            "pages": arena.saved_bytes,
            "pinned": 0 if slabs is None else slabs.num_bytes,
            "remembered_spare": remembered.spare,
            "remembered_host": remembered.host,
            "remembered_disk": remembered.disk,
        }

    # ------------------------------------------------------------------ inside

    def _make_meter(self, signals: frozenset[Signal]) -> SignalMeter:
        return SignalMeter(self.geometry, signals, is_causal=self._is_causal, ranks=self._ranks)

    def _together(self, call: str) -> AbstractContextManager[None]:
        """Around a call in which ranks meet: an error of one is an error of all."""
        if self._ranks is None:
            return nullcontext()
        where = f"{call} of step {len(self.engine.table)}"
        return self._ranks.together(where, lambda: state_facts(self.engine.table, self.engine.state))

    @property
    def _takes_one_chunk(self) -> str | None:
        """Why a step is one chunk, as the subject of a sentence; None where it may be several."""
        if self._is_tagged:
            return "a tagged cache"
        reads_hidden = Signal.HIDDEN_STATE in self.engine.needs
        return f"{type(self.policy).__name__}, which reads hidden states," if reads_hidden else None

    @property
    def _own_tokens(self) -> int:
        return self.chunk_frames * self.geometry.tokens_per_frame

    def _note(self, record: StepRecord, view: Viewpoint, measured: Measured | None) -> None:
        """A chunk is committed."""
        self.measured = measured
        if self.on_commit is not None:
            self.on_commit(record, view, measured)

    def _abandon_step(self) -> None:
        self._plan, self._views, self._is_settled = None, (), False
        self._tail: Tensor | None = None  # of all branches, while a policy that is asked late moves what is before it
        self.chunk_frames = self.geometry.frames_per_chunk
        self._passes.start_step()
        self._meter.start_step()
        self.backend.hidden.forget_pass()

    def _start_pass(self, branch: int | None, clean: bool) -> None:
        """A new pass of a branch; before the second, a policy that is asked then says what it wants."""
        if self.policy.asked_at == "first_pass" and not self._passes.is_refined and self._passes.is_second(branch):
            self._refine(branch)
        if branch in (None, 0):
            if self._passes.stopped(branch):
                self._meter.forget_pass(self._passes.begun(0))
            self.backend.hidden.forget_pass()
        self._passes.start(branch, clean)

    def _refine(self, branch: int | None) -> None:
        """Ask the policy again, with the first pass's queries.

        Raises:
            PolicyError: a branch has not been through its first pass.
        """
        if not self._passes.first_is_complete:
            raise PolicyError(
                f"{type(self.policy).__name__} is asked after the first pass of every branch, with the first branch's "
                f"queries; run that pass of all {self.geometry.branches} branches before the second of any"
            )
        if branch is not None:  # other branches may run no second pass, and what is attended moves
            self._tail = self.backend.arena.tail(0, self._own_tokens)
        with self._together("refine"), self.stopwatch.span("policy"):
            self._plan = self.engine.refine(self._meter.summary())
        self._is_settled, self._passes.is_refined = False, True

    def _write(
        self,
        layer: int,
        queries: Tensor | None,
        keys: Tensor,
        values: Tensor,
        branch: int | None,
        clean: bool,
        hidden: Tensor | None,
    ) -> Tensor:
        """All of a call but attention; the queries as they attend, `(branches, heads, tokens, head_dim)`."""
        if self._plan is None:
            raise PolicyError("attend comes between begin and commit; no step is open")
        batch = len(self._passes.of(branch))
        ops = self.backend.ops
        check_tensors(queries, keys, values, self.geometry, self.dtype, ops, batch, self._own_tokens)
        if layer == 0:
            self._start_pass(branch, clean)
        self._passes.check(layer, branch, clean)
        plan = self._plan
        if layer == 0:
            with self.stopwatch.span("transfer"):
                self._settle(plan)
        elif self.backend.is_landing:
            with self.stopwatch.span("transfer"):
                self.backend.settle(layer)
        stored, attended, values = keys.transpose(1, 2), None, values.transpose(1, 2)
        asked = queries
        turns, views = self._turns, self._views
        if turns.is_unrotated:
            own = turns.of_own(plan)
            stored = turns.at_frame_0(keys, views, branch).transpose(1, 2)
            attended = turns.at(keys, own, branch).transpose(1, 2)
            if queries is not None:  # what policies compare queries with are the stored keys, so they stand alike
                asked, queries = turns.at_frame_0(queries, views, branch), turns.at(queries, own, branch)
        if asked is not None and branch in (None, 0) and self._passes.begun(0) == 1:
            self._meter.note_queries(asked.transpose(1, 2))
        queries = keys.new_empty(0) if queries is None else queries.transpose(1, 2)
        if self._is_tagged:
            first = branch or 0
            stored, values = (
                with_tags(part, plan.step, layer, plane, first) for plane, part in enumerate((stored, values))
            )
            if attended is not None:
                attended = with_tags(attended, plan.step, layer, 0, first)
        with self.stopwatch.span("attention"):
            self.backend.arena.write_tail(layer, stored, values, attended, branch)
        if clean and Signal.HIDDEN_STATE in self.engine.needs and branch in (None, 0):
            hidden = check_hidden(hidden, type(self.policy).__name__, self.geometry, ops, self._own_tokens)
            self.backend.hidden.note(hidden)
        return queries

    def _measure(self, layer: int, queries: Tensor, branch: int | None, clean: bool) -> None:
        """Measure what the clean pass's attention says, and count the layer as done."""
        if clean and branch in (None, 0) and self._plan is not None:
            with self.stopwatch.span("attention mass"):
                self._meter.note_mass(layer, queries, self.backend.arena, self._plan, self._own_tokens)
        self._passes.finish_layer(branch)

    def _settle(self, plan: StepPlan) -> None:
        """Have what the plan asked for come into the window, at its positions, with room for the chunk behind it."""
        if not self._is_settled:
            backend = self.backend
            if backend.form.is_rebased:
                turns = self._turns.of_attended(plan, self.engine.table)
                turn_keys(backend.arena, self._turns.rotary, turns, backend.rotate)
                backend.own_turn = self._turns.of_own(plan)
            if self.valid_tokens is not None:
                mark_valid(self.valid_tokens, backend.arena.length() + self._own_tokens)
            backend.arena.reserve(self._own_tokens)
            if self._tail is not None:  # what each branch's first pass wrote stands behind the run again
                for layer, (keys, values) in enumerate(self._tail):
                    backend.arena.write_tail(layer, keys, values)
                self._tail, backend.own_turn = None, None
            self._is_settled = True
        self.backend.advance()
        self.backend.settle(0)


def without_gradients() -> AbstractContextManager[object]:
    """What is cached is data, and no gradient goes through it; nothing to enter where that is so already."""
    return torch.no_grad() if torch.is_grad_enabled() else _NOTHING


_NOTHING = nullcontext()


def default_dtype(geometry: CacheGeometry) -> torch.dtype:
    """What a cache of that geometry holds unless told otherwise: bfloat16 or float32, by its `itemsize`."""
    return _DTYPES.get(geometry.itemsize, torch.float32)
