"""Signals: one that arrives where Python drops what its handler raises ends the process all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
import worldkv.cli, worldkv.cli.app

class Dies:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):  # the handler runs in here
            pass

def run(arguments):
    Dies()
    while True:
        signal.pause()

worldkv.cli.app.main = run
sys.exit(worldkv.cli.main())
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 128 + 15), ("SIGHUP", 128 + 1), ("SIGINT", 130)])
def test_a_signal_in_a_destructor_comes_again(name: str, code: int) -> None:
    program = PROGRAM.format(name=name)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", "")
