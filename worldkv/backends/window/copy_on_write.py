"""Copy-on-write snapshots of the window: a page is copied when it is next written."""

from __future__ import annotations

import weakref

from torch import Tensor

from worldkv.backends.window.head_groups import HeadGroup
from worldkv.backends.window.run_layout import RunLayout


class ArenaState:
    """An arena as it was: its tables, and those of its pages that have been written since.

    Attributes:
        owner: the pages of the arena that still holds the others.
        layouts: the table of every head group.
        num_pages: pages of every head group that held tokens.
        mass: attention received by every token; None where it is not summed.
        turned: see `Arena.turned`.
        pages: what stood in a page, by head group and page, saved when it was first written again. A page that is not
            here has not been written since, so `owner` still holds it.
    """

    def __init__(self, owner: Pages, layouts: list[RunLayout], num_pages: list[int]) -> None:
        """A state nothing of which has been overwritten."""
        self.owner, self.layouts, self.num_pages = owner, layouts, num_pages
        self.mass: Tensor | None = None
        self.turned: dict[int, int] = {}
        self.pages: dict[tuple[int, int], tuple[Tensor, ...]] = {}


class Pages:
    """Copy-on-write over an arena's head groups; a state costs nothing once its last holder lets go of it.

    Invariant: `will_write` is called for places of the arena before they are written.

    Attributes:
        groups: the arena's head groups as they are.
    """

    def __init__(self, page_tokens: int) -> None:
        """Pages of `page_tokens` tokens."""
        self._tokens = page_tokens
        self._states: weakref.WeakSet[ArenaState] = weakref.WeakSet()
        self.groups: list[HeadGroup] = []

    @property
    def saved_bytes(self) -> int:
        """Bytes of all states' pages and of the attention that they hold; a page that several share counts once."""
        held = [tensor for state in self._states for saved in state.pages.values() for tensor in saved]
        held += [state.mass for state in self._states if state.mass is not None]
        return sum({id(tensor): tensor.nbytes for tensor in held}.values())

    def snapshot(self) -> ArenaState:
        """The head groups as they are."""
        layouts = [group.layout.copy() for group in self.groups]
        state = ArenaState(self, layouts, [-(-layout.length // self._tokens) for layout in layouts])
        self._states.add(state)
        return state

    def will_write(self, number: int, start: int, tokens: int) -> None:
        """Save what snapshots still need of `tokens` places of a head group before they are overwritten."""
        if not self._states or not tokens:
            return
        first, last = start // self._tokens, -(-(start + tokens) // self._tokens)  # last: the page behind them
        saved: dict[int, tuple[Tensor, ...]] = {}
        for state in self._states:
            for page in range(first, min(last, state.num_pages[number])):
                if (number, page) in state.pages:
                    continue
                if page not in saved:  # one copy for all states that still lack the page
                    saved[page] = tuple(tensor.clone() for tensor in self._page(number, page))
                state.pages[number, page] = saved[page]

    def write_back(self, state: ArenaState) -> None:
        """Put a state's pages, of these head groups or of those they were forked from, where they stood."""
        for number, pages in enumerate(state.num_pages):
            for page in range(pages):
                saved = state.pages.get((number, page))
                if saved is None and state.owner is not self:  # a parent's page, which stands in its arena unchanged
                    saved = state.owner._page(number, page)
                if saved is not None:  # else it stands here unchanged
                    self.will_write(number, page * self._tokens, self._tokens)
                    for tensor, was in zip(self._page(number, page), saved, strict=True):
                        # The last page of a buffer may be cut off by its capacity, which differs between forks.
                        tensor[..., : was.shape[-2], :].copy_(was[..., : tensor.shape[-2], :])

    def _page(self, number: int, page: int) -> tuple[Tensor, ...]:
        start = page * self._tokens
        return tuple(tensor[..., start : start + self._tokens, :] for tensor in self.groups[number].moved)
