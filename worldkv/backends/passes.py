"""The order of a step's calls: every layer once a pass, every branch on its own or all together."""

from __future__ import annotations

from worldkv.errors import PolicyError


class Passes:
    """How far each branch has come in the passes of the open step.

    Layer 0 starts a pass, also where the last one stopped half way. A branch goes through its layers in order; branches
    that come as separate calls may be interleaved in any way.

    Attributes:
        is_refined: whether the policy has been asked with the first pass's queries.
    """

    def __init__(self, layers: int, branches: int) -> None:
        """No pass yet, of a model of so many layers and branches."""
        self._layers, self._branches, self._all = layers, branches, range(branches)
        self.start_step()

    def start_step(self) -> None:
        """Forget the last step."""
        self.is_refined = False
        self._begun = [0] * self._branches  # passes begun
        self._done = [0] * self._branches  # layers of the current pass that are done
        self._is_clean = [False] * self._branches

    def of(self, branch: int | None) -> range:
        """The branches that a call names; all of them for None.

        Raises:
            PolicyError: there is no such branch.
        """
        if branch is None:
            return self._all
        if isinstance(branch, bool) or not isinstance(branch, int) or not 0 <= branch < self._branches:
            raise PolicyError(
                f"branch must be 0 to {self._branches - 1}, got {branch!r}; geometry.branches says how many there are"
            )
        return range(branch, branch + 1)

    def begun(self, branch: int) -> int:
        """Passes that a branch has begun in this step; one that stopped half way and is run again counts once."""
        return self._begun[branch]

    def number(self, layer: int) -> int:
        """Which pass of the first branch, counted from 1, a call for `layer` is of."""
        return self._begun[0] + (layer == 0 and not self.stopped(0))

    def stopped(self, branch: int | None) -> bool:
        """Whether a pass of a branch named stopped half way."""
        return any(self._begun[one] > 0 and self._done[one] < self._layers for one in self.of(branch))

    def is_second(self, branch: int | None) -> bool:
        """Whether the next pass of a branch named is its second, the first complete."""
        return any(self._begun[one] == 1 and self._done[one] == self._layers for one in self.of(branch))

    @property
    def first_is_complete(self) -> bool:
        """Whether every branch has gone through its first pass, and begun no other."""
        return self.is_complete and all(begun == 1 for begun in self._begun)

    def start(self, branch: int | None, clean: bool) -> None:
        """A new pass of the branches named, or the last one again where it stopped half way."""
        for one in self.of(branch):
            self._begun[one] += not self.stopped(one)
            self._done[one], self._is_clean[one] = 0, clean

    def check(self, layer: int, branch: int | None, clean: bool) -> None:
        """Refuse a call that is out of order.

        Raises:
            PolicyError: saying how far the pass is.
        """
        for one in self.of(branch):
            done, is_clean = self._done[one], self._is_clean[one]
            if layer != done or clean != is_clean:
                where = "" if self._branches == 1 else f" of branch {one}"
                raise PolicyError(
                    f"attend got layer {layer} of a {_kind(clean)} pass{where} after {done} of "
                    f"{self._layers} layers of a {_kind(is_clean)} pass; call every layer once, in order"
                )

    def finish_layer(self, branch: int | None) -> None:
        """One more layer of the branches named is done."""
        for one in self.of(branch):
            self._done[one] += 1

    @property
    def is_complete(self) -> bool:
        """Whether the last pass of every branch went through all layers."""
        return all(done == self._layers for done in self._done)

    @property
    def least_done(self) -> int:
        """Layers that the last pass went through, of the branch that has come least far."""
        return min(self._done)

    @property
    def is_clean(self) -> bool:
        """Whether the first branch's last pass was a clean one."""
        return self._is_clean[0]


def _kind(clean: bool) -> str:
    return "clean" if clean else "denoise"
