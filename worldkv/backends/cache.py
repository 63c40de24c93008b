"""The cache as a model calls it: begin a chunk, attend once a layer and pass, commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from worldkv.backends.attention import attend
from worldkv.backends.group.open_group import open_group
from worldkv.backends.group.rank_group import Split
from worldkv.backends.measuring import SignalMeter
from worldkv.backends.rotary import Rotary, rebase
from worldkv.backends.tags import MOST_TAGGED, TAG_CHANNELS, with_tags
from worldkv.backends.torch_backend import TorchBackend
from worldkv.backends.transfer.open_device import device_ops
from worldkv.backends.window.arena import ArenaForm
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine, Snapshot
from worldkv.engine.ranks import state_facts
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.errors import DeviceError, PolicyError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, needs_of
from worldkv.scene import Scene
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

OnAttend = Callable[[int, Tensor, Tensor], None]
"""Called with the layer and the very keys and values that are attended, `(branches, kv_heads, tokens, channels)`;
of a ragged cache head by head."""

_DTYPES = {2: torch.bfloat16, 4: torch.float32}


class WorldCache:
    """One rollout's cache on real tensors, under any policy.

    A model calls `begin` before a chunk's first pass, `attend` once a layer in every pass, and `commit` after the clean
    pass; `start_frame` is the latent frame at which the chunk's rotary positions start.

    Attributes:
        engine: the engine that asks the policy and keeps the counts.
        backend: where the tensors are.
        geometry: the cache's shape.
        stopwatch: where the time of a step goes: policy, compression, transfer, attention.
        on_attend: called with everything that is attended; None by default.
        measured: what the model measured of the last committed chunk; None where nothing was asked for.
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
        folder: Path | None = None,
        reduce: Callable[[Any], Any] | None = None,
        group: ProcessGroup | None = None,
        split: Split = "heads",
        stopwatch: Stopwatch = NO_STOPWATCH,
        extra_signals: frozenset[Signal] = frozenset(),
        is_tagged: bool = False,
        make_backend: Callable[..., TorchBackend] = TorchBackend,
    ) -> None:
        """An empty cache.

        Args:
            policy: the policy that decides.
            geometry: the model's cache shape; `branches` is the batch axis.
            device: "cpu", "cuda" or "cuda:N".
            dtype: of cached keys and values; by default bfloat16 or float32, by the geometry's `itemsize`.
            scene: what is true of the whole rollout.
            config: room for the cache; unlimited by default.
            capacity_tokens: tokens the window holds, the chunk being generated included, allocated at once; by default
                the config's window budget, and without one the window grows as needed.
            rotary: the model's rotary positions, for policies that rebase; the Wan family's by default.
            folder: where spilled chunks go; a temporary folder by default.
            reduce: sums an array over ranks that hold different heads, for compressions; `group` does it by itself.
            group: the torch.distributed ranks that share this rollout, `geometry` being this rank's part of it.
            split: what they share: "heads", in the order of ranks, or guidance "branches", rank 0 the first.
            stopwatch: told how long everything takes.
            extra_signals: measured beside those the policy needs (to record them).
            is_tagged: whether every cached token carries its identity in debug channels.
            make_backend: the backend's class.

        Raises:
            DeviceError: the device is not there.
            SpecError: dtype and geometry disagree, and as for `CacheEngine`.
            GroupError: ranks were given different policies, geometries or configurations.
        """
        self._ranks = open_group(
            group, split, device, policy, geometry, config, reduce, dtype=dtype, extra_signals=extra_signals
        )
        heads = None
        if self._ranks is not None:
            reduce, heads = self._ranks.reduce, self._ranks.heads
        if is_tagged and max(geometry.layers, geometry.kv_heads) > MOST_TAGGED:
            raise SpecError(
                f"a tagged cache tells {MOST_TAGGED} layers and kv_heads apart, got {geometry.layers} and "
                f"{geometry.kv_heads}; take a smaller geometry, the decisions are the same"
            )
        needs = needs_of(policy) | extra_signals
        self.policy, self.geometry, self.stopwatch = policy, geometry, stopwatch
        self.on_attend: OnAttend | None = None
        self.dtype = dtype or default_dtype(geometry)
        if self.dtype.itemsize != geometry.itemsize:
            raise SpecError(
                f"{self.dtype} takes {self.dtype.itemsize} bytes, the geometry's itemsize is {geometry.itemsize}; "
                f"take a geometry with itemsize={self.dtype.itemsize}"
            )
        self._meter = SignalMeter(geometry, needs)
        self._is_rebased, self._is_tagged = policy.positions == "rebased", is_tagged
        form = ArenaForm(
            geometry,
            self.dtype,
            geometry.head_dim + (TAG_CHANNELS if is_tagged else 0),
            self._is_rebased,
            policy.ragged,
            Signal.ATTENTION_MASS in self._meter.signals,
        )
        config = config or CacheConfig()
        is_fixed = config.window_budget_bytes is not None and config.over_budget == "error" and not policy.ragged
        if capacity_tokens is None and config.window_budget_bytes is not None and is_fixed:
            capacity_tokens = config.window_budget_bytes // geometry.token_bytes
        self.backend = make_backend(
            form,
            device_ops(device),
            capacity_tokens=capacity_tokens,
            staging_chunks=config.staging_chunks,
            folder=folder,
            reduce=reduce,
            heads=heads,
            stopwatch=stopwatch,
        )
        self.engine = CacheEngine(policy, geometry, self.backend, config, scene, stopwatch, self._ranks)
        self._rotary = rotary or Rotary(geometry, device)
        self._plan: StepPlan | None = None
        self.measured: Measured | None = None
        self._is_closed = False
        self._abandon_step()

    # ------------------------------------------------------------------ the step

    @property
    def start_frame(self) -> int:
        """Latent frame at which the chunk being generated, or the next one, starts."""
        return len(self.engine.table) * self.geometry.frames_per_chunk

    @property
    def plan(self) -> StepPlan | None:
        """The open step's plan, as of its last refinement; None between steps."""
        return self._plan

    def begin(self, viewpoint: Viewpoint) -> StepPlan:
        """Bring the window to what the policy wants for `viewpoint`.

        Raises:
            PositionError: the chunk would stand past the model's rotary table.
            PolicyError, BudgetError, LostChunkError: see `CacheEngine.begin`.
            GroupError: another rank of the group failed or decides otherwise.
        """
        with self._together("begin"):
            if self._is_closed:
                raise PolicyError("the cache is closed; make a new one")
            self._rotary.check(self.start_frame, self.geometry.frames_per_chunk)
            with self.stopwatch.span("policy"):
                plan = self.engine.begin(viewpoint)
        self._abandon_step()
        self._plan = plan
        return plan

    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        clean: bool = False,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Attend over the window and the chunk itself, whose keys and values replace those of the last pass.

        Args:
            layer: which layer; 0 starts a pass.
            queries: `(branches, tokens, heads, head_dim)`, rotated to their absolute positions.
            keys: `(branches, tokens, kv_heads, head_dim)`, likewise.
            values: likewise, not rotated.
            clean: whether this is the clean pass, whose keys and values are kept.
            hidden: what the keys were projected from `(branches, tokens, channels)`; read in the clean pass, where the
                policy judges tokens by hidden states.

        Returns:
            `(branches, tokens, heads, head_dim)`.

        Raises:
            PolicyError: no step is open, layers are out of order, or shapes are not the geometry's.
        """
        with torch.no_grad():  # what is cached is data; no gradient goes through it
            plan = self._open_pass(layer, clean)
            self._check_shapes(queries, keys, values)
            queries, keys, values = queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
            if self._passes == 1:
                self._meter.note_queries(queries)
            if layer == 0:
                with self.stopwatch.span("transfer"):
                    self._settle(plan)
            if self._is_tagged:
                keys, values = (with_tags(part, plan.step, layer, plane) for plane, part in enumerate((keys, values)))
            with self.stopwatch.span("attention"):
                self.backend.arena.write_tail(layer, keys, values)
                attended = self._attend(layer, queries)
            if clean and Signal.HIDDEN_STATE in self.engine.needs:
                self._note_hidden(hidden)
            if clean:
                with self.stopwatch.span("attention mass"):
                    self._meter.note_mass(layer, queries, self.backend.arena, plan)
            self._layers_done += 1
            return attended.transpose(1, 2)

    def commit(self) -> StepRecord:
        """The clean pass is done: its keys and values enter the window, then the policy says what leaves.

        Raises:
            PolicyError: no step is open, or the last pass did not go through every layer.
            OutputError, TransferError: a chunk could not be stored.
            GroupError: another rank of the group failed or decides otherwise.
        """
        with self._together("commit"):
            return self._commit()

    def _commit(self) -> StepRecord:
        plan = self._plan
        if plan is None or self._layers_done != self.geometry.layers:
            raise PolicyError(
                f"commit comes after a pass through all {self.geometry.layers} layers; the last one went through "
                f"{0 if plan is None else self._layers_done}"
            )
        if Signal.ATTENTION_MASS in self._meter.signals and not self._is_clean:
            raise PolicyError(
                "attention mass is measured in the clean pass; call attend(..., clean=True) in the last pass"
            )
        measured = self._meter.result(self.backend.arena)
        self.measured = self._ranks.measured(measured) if self._ranks else measured
        try:
            with self.stopwatch.span("policy"):
                return self.engine.commit(self.measured)
        finally:
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
        twin.engine = self.engine.fork()
        backend = twin.engine.backend
        assert isinstance(backend, TorchBackend)  # noqa: S101 - what it was forked from
        twin.backend = backend
        twin._meter = SignalMeter(self.geometry, self._meter.signals)
        twin._abandon_step()
        return twin

    def close(self) -> None:
        """Give back host memory, files and threads; the cache cannot be used any more."""
        self._is_closed = True
        self._abandon_step()
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def allocated_bytes(self) -> dict[str, int]:
        """Bytes allocated on the device: `window` (its keys and values), `staging`, `rotated` keys where rebased."""
        form, staging = self.backend.form, self.backend.staging
        window = self.backend.arena.capacity * form.channels * self.geometry.token_bytes // self.geometry.head_dim
        return {
            "window": window,
            "staging": (staging.waiting.numel() + staging.transit.numel()) * self.dtype.itemsize,
            "rotated": window // 2 if form.is_rebased else 0,
        }

    # ------------------------------------------------------------------ inside

    def _together(self, call: str) -> AbstractContextManager[None]:
        """Around a call in which ranks meet: an error of one is an error of all."""
        if self._ranks is None:
            return nullcontext()
        where = f"{call} of step {len(self.engine.table)}"
        return self._ranks.together(where, lambda: state_facts(self.engine.table, self.engine.state))

    def _abandon_step(self) -> None:
        self._plan = None
        self._passes, self._layers_done, self._is_clean, self._is_settled = 0, 0, False, False
        self._meter.start_step()
        self.backend.hidden.forget_pass()

    def _open_pass(self, layer: int, clean: bool) -> StepPlan:
        """The step's plan, if this call of `attend` is in order; layer 0 starts a pass."""
        if self._plan is None:
            raise PolicyError("attend comes between begin and commit; no step is open")
        if layer == 0 and self._layers_done in (0, self.geometry.layers):
            if self._passes == 1 and self.policy.asked_at == "first_pass":
                with self._together("refine"), self.stopwatch.span("policy"):
                    summary = self._meter.summary()
                    self._plan = self.engine.refine(self._ranks.summary(summary) if self._ranks else summary)
                self._is_settled = False
            self._passes += 1
            self._layers_done, self._is_clean = 0, clean
            self.backend.hidden.forget_pass()
        if layer != self._layers_done or clean != self._is_clean:
            raise PolicyError(
                f"attend got layer {layer} of a {_kind(clean)} pass after {self._layers_done} of "
                f"{self.geometry.layers} layers of a {_kind(self._is_clean)} pass; call every layer once, in order"
            )
        return self._plan

    def _settle(self, plan: StepPlan) -> None:
        """Bring what the plan asked for into the window, at its positions, with room for the chunk behind it."""
        if not self._is_settled:
            self.backend.settle()
            if self._is_rebased:
                rebase(self.backend.arena, self._rotary, plan)
            self.backend.arena.reserve(self.geometry.chunk_tokens)
            self._is_settled = True
        self.backend.advance()

    def _attend(self, layer: int, queries: Tensor) -> Tensor:
        arena, channels, tokens = self.backend.arena, self.geometry.head_dim, queries.shape[2]
        if not arena.form.is_ragged:
            keys, values = arena.attended(layer, tokens)
            if self.on_attend is not None:
                self.on_attend(layer, keys, values)
            return attend(queries, keys[..., :channels], values[..., :channels])
        heads_per_key = self.geometry.heads // self.geometry.kv_heads
        parts = []
        for head in range(self.geometry.kv_heads):
            queried = slice(head * heads_per_key, (head + 1) * heads_per_key)
            keys, values = arena.attended_head(layer, head, tokens)
            if self.on_attend is not None:
                self.on_attend(layer, keys, values)
            parts.append(attend(queries[:, queried], keys[..., :channels], values[..., :channels]))
        return torch.cat(parts, dim=1)

    def _note_hidden(self, hidden: Tensor | None) -> None:
        geometry = self.geometry
        if hidden is None or hidden.ndim != 3 or hidden.shape[:2] != (geometry.branches, geometry.chunk_tokens):
            raise PolicyError(
                f"{type(self.policy).__name__} reads hidden states: hand attend(..., hidden=...) what the keys were "
                f"projected from, (branches, tokens, channels) = ({geometry.branches}, {geometry.chunk_tokens}, ...), "
                f"got {None if hidden is None else tuple(hidden.shape)}"
            )
        self.backend.hidden.note(hidden)

    def _check_shapes(self, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        geometry = self.geometry
        for name, tensor, heads in (
            ("queries", queries, geometry.heads),
            ("keys", keys, geometry.kv_heads),
            ("values", values, geometry.kv_heads),
        ):
            wanted = (geometry.branches, geometry.chunk_tokens, heads, geometry.head_dim)
            if tensor.shape != wanted or tensor.dtype != self.dtype:
                raise PolicyError(
                    f"attend's {name} must be (branches, tokens, heads, head_dim) = {wanted} in {self.dtype}, got "
                    f"{tuple(tensor.shape)} in {tensor.dtype}; check the geometry against the model"
                )
        if queries.device.type != self.backend.ops.device.type:
            raise DeviceError(
                f"the model is on {queries.device}, its cache on {self.backend.ops.device}; put them on the same one"
            )


def _kind(clean: bool) -> str:
    return "clean" if clean else "denoise"


def default_dtype(geometry: CacheGeometry) -> torch.dtype:
    """What a cache of that geometry holds unless told otherwise: bfloat16 or float32, by its `itemsize`."""
    return _DTYPES.get(geometry.itemsize, torch.float32)
