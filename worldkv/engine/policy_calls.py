"""Call a policy: build its views, and refuse answers that break the contract."""

from __future__ import annotations

import operator
import traceback
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from worldkv.answers import NOTHING_LEAVES, NOTHING_RETRIEVED, Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.backend import CacheBackend
from worldkv.chunks import BANK_TIERS, ChunkTable, Tier
from worldkv.config import CacheConfig
from worldkv.engine.state import EngineState
from worldkv.errors import PolicyError, WorldKVError, is_out_of_memory, no_room
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, Positions, needs_of
from worldkv.pose import ChunkPose, padded
from worldkv.scene import Scene
from worldkv.signals import Signal, Viewpoint
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch
from worldkv.views import AttendedChunks, BankView, ChunkRows, ChunkView, Query, WindowView

_BANKED = frozenset(map(int, BANK_TIERS))
_AT_HOME = frozenset({int(Tier.DEVICE)})


class PolicyCaller:
    """Shows a policy only what it declared, and hands on only answers that can be carried out."""

    def __init__(
        self,
        policy: CachePolicy,
        geometry: CacheGeometry,
        backend: CacheBackend,
        config: CacheConfig,
        scene: Scene,
        stopwatch: Stopwatch = NO_STOPWATCH,
    ) -> None:
        """Calls to `policy` in a rollout of `scene` in a cache of `config`."""
        self._policy, self._geometry, self._backend = policy, geometry, backend
        self._config, self._scene = config, scene
        self._stopwatch = stopwatch
        self._needs = needs_of(policy)
        self._landmarks = scene.landmarks if Signal.LANDMARKS in self._needs else None

    def retrieval(self, table: ChunkTable, state: EngineState, viewpoint: Viewpoint) -> Retrieval:
        """What the policy retrieves for `viewpoint`.

        Raises:
            PolicyError: it names a chunk that is not banked, or one twice, or fails.
        """
        scene, needs, landmarks, step = self._scene, self._needs, self._landmarks, len(table)
        bank = BankView(table, state.bank_rows(table), needs, landmarks)
        ahead = scene.attention_ahead if Signal.ATTENTION_AHEAD in needs else None
        query = Query(
            step,
            self._geometry,
            ChunkRows(table, state.window_rows(), needs, landmarks),
            state.resident,
            state.planned,
            state.last_refresh,
            self._room_tokens(table, state, viewpoint),
            scene.field_of_view,
            scene.view_distance,
            self._pose(viewpoint.camera, Signal.POSE),
            self._pose(viewpoint.action, Signal.ACTION),
            state.summary if Signal.QUERY_SUMMARY in needs else None,
            None if landmarks is None else landmarks.counted[step],
            None if landmarks is None else landmarks.counted[step:],
            None if ahead is None else ahead[step:],
        )
        try:
            answer = self._policy.retrieve(query, bank)
        except WorldKVError:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed("retrieve", step, error) from error
        if answer is NOTHING_RETRIEVED:
            return answer
        self._check_kind(answer, Retrieval, "retrieve", step)
        forecast = () if answer.next_ids is None else answer.next_ids
        ids, next_ids = (
            self._checked_ids(table, self._listed(named, field, step), _BANKED, "retrieve", "banked")
            for named, field in ((answer.ids, "Retrieval.ids"), (forecast, "Retrieval.next_ids"))
        )
        if state.is_cut:
            self._check_scene(table, state, (*ids, *next_ids))
        return Retrieval(ids, next_ids, answer.refreshed, answer.scores)

    def positions(self, rule: Positions, attended: AttendedChunks) -> Ids:
        """Where the policy's rule of positions stands the attended chunks, and last the chunk being generated.

        Raises:
            PolicyError: it answers with another shape, or fails.
        """
        try:
            places = rule.places(attended)
        except WorldKVError:
            raise
        except Exception as error:
            raise self._failed("positions", attended.step, error) from error
        wanted = len(attended.ids) + 1
        if not isinstance(places, np.ndarray) or places.shape != (wanted,) or places.dtype.kind != "i":
            raise PolicyError(
                f"{type(self._policy).__name__}.positions must answer {wanted} whole numbers at step {attended.step}, "
                f"one for each attended chunk and the last for the chunk being generated, got {places!r}"
            )
        return places

    def eviction(self, table: ChunkTable, state: EngineState) -> Eviction:
        """Which chunks the policy sends out of the window.

        Raises:
            PolicyError: it names a chunk that is not at home in the window, or one twice, or shrinks one wrongly.
        """
        open_chunk = partial(self._chunk_view, table, state)
        window = WindowView(table, state.window_rows(), self._needs, open_chunk)
        try:
            answer = self._policy.evict(window)
        except WorldKVError:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed("evict", len(table), error) from error
        if answer is NOTHING_LEAVES:
            return answer
        self._check_kind(answer, Eviction, "evict", len(table))
        bank, discard, shrink = answer
        if type(bank) is not tuple or type(discard) is not tuple:
            bank, discard = (
                tuple(self._listed(ids, f"Eviction.{field}", len(table)))
                for ids, field in ((bank, "bank"), (discard, "discard"))
            )
        if shrink and not isinstance(shrink, Mapping):
            raise PolicyError(
                f"{type(self._policy).__name__}.evict: Eviction.shrink must be a dict of keeps by chunk id, got "
                f"{type(shrink).__name__} at step {len(table)}"
            )
        named = self._checked_ids(table, (*bank, *discard, *shrink), _AT_HOME, "evict", "at home in the window")
        for chunk, keep in shrink.items():
            self._check_keep(table, chunk, keep)
        first, second = len(bank), len(bank) + len(discard)
        return Eviction(named[:first], named[first:second], shrink)

    def keep(self, table: ChunkTable, state: EngineState, chunk: int) -> Keep | RaggedKeep:
        """What the policy stores of `chunk`.

        Raises:
            PolicyError: it keeps tokens the chunk does not have, or unequal counts without declaring them.
        """
        try:
            with self._stopwatch.span("compression"):
                keep = self._policy.compress(self._chunk_view(table, state, chunk))
        except WorldKVError:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed("compress", len(table), error) from error
        self._check_kind(keep, Keep | RaggedKeep, "compress", len(table))
        self._check_keep(table, chunk, keep)
        return keep

    def _failed(self, question: str, step: int, error: BaseException) -> WorldKVError:
        """A policy's own exception, with the place it comes from; memory that ran out is not the policy's fault."""
        if is_out_of_memory(error):
            return no_room(f"{type(self._policy).__name__}.{question} at step {step}", error)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return PolicyError(
            f"{type(self._policy).__name__}.{question} failed at step {step}, in {place.filename} line {place.lineno}: "
            f"{type(error).__name__}: {error}"
        )

    def _pose(self, pose: ChunkPose | None, signal: Signal) -> ChunkPose | None:
        """A pose as the policy sees it: of a whole chunk's frames, and only where it declared the signal."""
        if pose is None or signal not in self._needs:
            return None
        return padded(pose, self._geometry.frames_per_chunk)

    def _check_kind(self, answer: object, kind: Any, question: str, step: int) -> None:
        if not isinstance(answer, kind):
            wanted = getattr(kind, "__name__", "Keep")
            raise PolicyError(
                f"{type(self._policy).__name__}.{question} must answer with a {wanted}, got {type(answer).__name__} "
                f"at step {step}"
            )

    def _listed(self, ids: Any, field: str, step: int) -> Sequence[int]:
        """The ids of an answer, where they are something that can be looked at twice."""
        if isinstance(ids, tuple | list):
            return ids
        if isinstance(ids, np.ndarray) and ids.ndim == 1:
            listed: list[int] = ids.tolist()
            return listed
        raise PolicyError(
            f"{type(self._policy).__name__}: {field} must be a tuple of ids, got {type(ids).__name__} at step {step}; "
            "write tuple(...)"
        )

    def _room_tokens(self, table: ChunkTable, state: EngineState, viewpoint: Viewpoint) -> int | None:
        budget = self._config.window_budget_bytes
        if budget is None:
            return None
        geometry, columns = self._geometry, table.columns
        pinned = sum(columns["window_bytes"].item(one) for one in state.pinned if columns["tier"].item(one) in _BANKED)
        room: int = (budget - state.home_bytes - pinned) // geometry.token_bytes
        return max(0, room - viewpoint.frames_of(geometry) * geometry.tokens_per_frame)

    def _chunk_view(self, table: ChunkTable, state: EngineState, chunk: int) -> ChunkView:
        frame_tokens = tuple(table.columns["frame_tokens"][chunk].tolist())
        step, recorded, entries = len(table), self._scene.recorded_tokens, self._scene.recorded_entries
        count = None if recorded is None else int(recorded[chunk] if recorded.ndim == 1 else recorded[step - 1, chunk])
        total = None if entries is None else int(entries[chunk])
        summary = state.summary if Signal.QUERY_SUMMARY in self._needs else None
        tensors = self._backend.tensors(chunk)
        if tensors is None:
            return ChunkView(
                chunk,
                step,
                self._geometry,
                frame_tokens,
                recorded_tokens=count,
                recorded_entries=total,
                query_summary=summary,
            )
        mass = tensors.attention_mass if Signal.ATTENTION_MASS in self._needs else None
        hidden = tensors.hidden if Signal.HIDDEN_STATE in self._needs else None
        keys, values, reduce, heads = tensors.keys, tensors.read_values, tensors.reduce, tensors.heads
        if summary is not None and heads is not None:
            summary = summary[:, heads]
        return ChunkView(
            chunk, step, self._geometry, frame_tokens, keys, values, mass, hidden, count, reduce, total, summary, heads
        )

    def _checked_ids(
        self, table: ChunkTable, ids: Iterable[int], tiers: frozenset[int], question: str, where: str
    ) -> tuple[int, ...]:
        """The ids as plain integers; refused if one is not `where` (at home in `tiers`) or named twice."""
        tier, produced = table.columns["tier"], len(table)
        try:
            named = tuple(map(operator.index, ids))
        except TypeError:
            raise PolicyError(
                f"{type(self._policy).__name__}.{question} named {tuple(ids)!r} at step {produced}; ids are "
                "whole numbers"
            ) from None
        for chunk in named:
            if not 0 <= chunk < produced or tier.item(chunk) not in tiers:
                name = type(self._policy).__name__
                raise PolicyError(f"{name}.{question} named chunk {chunk} at step {produced}, which is not {where}")
        if len(named) > 1 and len(set(named)) < len(named):
            twice = next(chunk for chunk in named if named.count(chunk) > 1)
            name = type(self._policy).__name__
            raise PolicyError(f"{name}.{question} named chunk {twice} twice at step {produced}")
        return named

    def _check_scene(self, table: ChunkTable, state: EngineState, named: Sequence[int]) -> None:
        """Refuse chunks of another scene, which the policy was not shown."""
        for chunk in named:
            if table.columns["scene"].item(chunk) != state.scene:
                raise PolicyError(
                    f"{type(self._policy).__name__}.retrieve named chunk {chunk} at step {len(table)}, which is of an "
                    "earlier scene; name ids of the bank that it is shown"
                )

    def _check_keep(self, table: ChunkTable, chunk: int, keep: Keep | RaggedKeep) -> None:
        if isinstance(keep, RaggedKeep) and not self._policy.ragged:
            raise PolicyError(f"{type(self._policy).__name__} answered a RaggedKeep without declaring `ragged = True`")
        try:
            keep.check(int(table.columns["tokens"][chunk]), self._geometry)
        except PolicyError as error:
            raise PolicyError(f"{type(self._policy).__name__}, chunk {chunk} at step {len(table)}: {error}") from None
