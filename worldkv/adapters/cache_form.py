"""Refuse a cache whose form an adapter would not follow: how keys come, and windows of one length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.errors import SpecError

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache


def check_form(cache: WorldCache, *, takes_unrotated: bool = False) -> None:
    """Refuse padded windows, and unrotated keys where the model hands over rotated ones.

    Raises:
        SpecError: naming the option to leave out.
    """
    if cache.valid_tokens is not None:
        raise SpecError(
            "a cache with pad_to= hands out tokens that a mask has to take away again, and this model's attention "
            "takes none; leave pad_to out"
        )
    if cache.keys == "unrotated" and not takes_unrotated:
        raise SpecError(
            'the model hands over keys that are rotated already, and a cache with keys="unrotated" would turn them '
            'again; make it with keys="rotated"'
        )
