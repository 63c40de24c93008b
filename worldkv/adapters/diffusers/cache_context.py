"""Hears what diffusers calls the denoising call under way: `transformer.cache_context("cond")`."""

from __future__ import annotations

from typing import Any


def context_hook() -> Any:
    """A hook that does nothing but hear the name of `transformer.cache_context`."""
    from diffusers.hooks import ModelHook
    from diffusers.hooks.hooks import BaseState, StateManager

    class ContextHook(ModelHook):  # type: ignore[misc]
        _is_stateful = True  # only these are told

        def __init__(self) -> None:
            super().__init__()
            self.calls = StateManager(BaseState)

        def reset_state(self, module: Any) -> Any:
            return module

    return ContextHook()


def name_of(calls: Any) -> str | None:
    """Name of the call under way; None outside of `cache_context`."""
    try:
        name: str = calls.context.name
    except ValueError:  # that is how diffusers says that there is none
        return None
    return name
