"""A group of ranks that runs one rollout: the same answers, sums over all heads, one error for all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from worldkv.backends.group.coded_answers import decoded, encoded
from worldkv.backends.group.collectives import Collectives
from worldkv.backends.group.common_facts import common_facts, own_means, with_means
from worldkv.backends.group.disagreement import FAILED, OPENING, WHERE, difference
from worldkv.engine.ranks import Answer, Ranks
from worldkv.errors import GroupError, SpecError
from worldkv.signals import Measured

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Split = Literal["heads", "branches"]
"""What each rank holds a share of: KV heads, in the order of ranks, or guidance branches, rank 0 the first."""


class RankGroup(Ranks):
    """Ranks of a `torch.distributed` process group, each with a cache of its own that is called in the same order.

    Before anything is exchanged all ranks say in one small `all_gather` where they are, as a digest. Where one is
    elsewhere, says otherwise or has failed, every rank hears it there and raises, so that none waits for another.

    Attributes:
        heads: which of the model's KV heads are here; None where branches are split.
        reduce: see `ChunkView.reduce`; None where branches are split.
        key_heads: see `Ranks`.
    """

    def __init__(
        self, group: ProcessGroup, split: Split, kv_heads: int, facts: Mapping[str, object], device: torch.device
    ) -> None:
        """The ranks of `group`; all of them come here together.

        Args:
            group: the process group.
            split: what is split over it.
            kv_heads: KV heads of this rank.
            facts: what must be the same on every rank for them to decide alike: policy, geometry, configuration.
            device: where the caches' tensors are.

        Raises:
            SpecError: `split` is neither.
            GroupError: the group is none, or the facts differ.
        """
        if split not in ("heads", "branches"):
            raise SpecError(f"split must be heads or branches, got {split!r}")
        self._ranks, self._split = Collectives(group, device), split
        by_heads = split == "heads"
        first = self._ranks.rank * kv_heads
        self.heads = slice(first, first + kv_heads) if by_heads else None
        self.reduce = self._summed if by_heads else None
        self.key_heads = kv_heads * (self._ranks.size if by_heads else 1)
        self._meet(OPENING, {"split": split, **facts})

    # ------------------------------------------------------------------ what a call does

    @contextlib.contextmanager
    def together(self, call: str, facts: Callable[[], Mapping[str, object]]) -> Iterator[None]:
        """A call that every rank makes: an error on one becomes an error on all, and `facts` must be the same after it.

        Raises:
            GroupError: another rank failed, or the facts differ.
        """
        try:
            yield
        except GroupError:  # which every rank has raised
            raise
        except Exception as error:
            with contextlib.suppress(GroupError):  # nobody is left to hear it
                self._meet(call, {FAILED: f"{type(error).__name__}: {error}"})
            raise
        self._meet(call, facts())

    def agree(self, question: str, step: int, answer: Answer) -> Answer:
        """See `Ranks.agree`: the same on every rank where heads are split, rank 0's where branches are."""
        if self._split == "branches":
            data = encoded(answer)
            self._meet(f"{question} at step {step}", {})
            length = int(self._ranks.gather(np.array([len(data)]))[0, 0])
            first: Answer = decoded(self._ranks.of_first(data, length))  # type: ignore[assignment]  # of the same kind
            return first
        self._meet(f"{question} at step {step}", common_facts(answer))
        means = own_means(answer)
        return with_means(answer, self._ranks.gather(means).mean(axis=0)) if len(means) else answer

    def _summed(self, sums: Any) -> Any:
        """Sums over the heads of this rank, of torch or numpy, as sums over the heads of all ranks."""
        self._meet("ChunkView.reduce", {"shape": list(sums.shape), "dtype": str(sums.dtype)})
        total = self._ranks.sum(torch.as_tensor(sums))
        return total.numpy() if isinstance(sums, np.ndarray) else total

    # ------------------------------------------------------------------ what is measured

    def summary(self, summary: Any) -> Any:
        """A mean query `(layers, kv_heads, head_dim)` of all heads, or of the first branch; None for None."""
        return None if summary is None else self._of_all("query summary", {"query_summary": summary})["query_summary"]

    def measured(self, measured: Measured) -> Measured:
        """What was measured of all heads, or of the first branch."""
        fields = {name: getattr(measured, name) for name in Measured.__dataclass_fields__}
        return Measured(**self._of_all("measured signals", {k: v for k, v in fields.items() if v is not None}))

    def _of_all(self, what: str, arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The arrays over all ranks: heads side by side, attention mass averaged; rank 0's where branches are split."""
        self._meet(what, {name: list(array.shape) for name, array in arrays.items()})
        flat = np.concatenate([np.ravel(array).astype(np.float32) for array in arrays.values()])
        every, start, found = self._ranks.gather(flat), 0, {}
        for name, array in arrays.items():
            parts = every[:, start : start + array.size].reshape(len(every), *array.shape)
            start += array.size
            if self._split == "branches":
                found[name] = parts[0]
            elif name == "attention_mass":
                found[name] = parts.mean(axis=0, dtype=np.float64).astype(np.float32)
            else:
                found[name] = np.concatenate(list(parts), axis=1)
        return found

    # ------------------------------------------------------------------ meeting

    def _meet(self, where: str, facts: Mapping[str, object]) -> None:
        """All ranks say where they are and what they found; a rank that failed says so, and returns.

        Raises:
            GroupError: on every rank that did not fail itself, where one failed or says otherwise than rank 0.
        """
        text = json.dumps({WHERE: where, **facts}).encode()
        digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)
        headers = self._ranks.gather(np.array([len(text), digest, FAILED in facts], np.int64))
        if (headers == headers[0]).all() and not headers[0, 2]:
            return
        texts = self._ranks.gather_bytes(text, headers[:, 0].tolist())
        if FAILED not in facts:
            raise GroupError(difference([json.loads(one) for one in texts]))
