"""How these tests call the command line: in this process, by the same door as the console script."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from worldkv.cli import main


class Ran(NamedTuple):
    """What one command line left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document; fails if there is anything else in it."""
        return json.loads(self.out)


Worldkv = Callable[..., Ran]
"""Runs `worldkv` with these words."""


@pytest.fixture
def worldkv(capsys: pytest.CaptureFixture[str]) -> Worldkv:
    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run
