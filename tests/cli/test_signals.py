"""Signals: one that arrives where Python drops what its handler raises ends the process all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
import worldkv.cli, worldkv.cli.app

def ask():
    os.kill(os.getpid(), signal.{name})
    for _ in range(1000):  # the handler runs in here
        pass

class Dies:
    def __del__(self):
        ask()

def in_a_destructor(arguments):
    Dies()
    while True:
        signal.pause()

def in_a_call_of_c(arguments):  # as pybind11 does when it converts arguments
    try:
        ask()
    except BaseException:
        raise TypeError("incompatible function arguments") from None

worldkv.cli.app.main = {where}
sys.exit(worldkv.cli.main())
"""


@pytest.mark.parametrize("where", ["in_a_destructor", "in_a_call_of_c"])
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 128 + 15), ("SIGHUP", 128 + 1), ("SIGINT", 130)])
def test_a_signal_ends_the_process_whatever_becomes_of_its_error(name: str, code: int, where: str) -> None:
    program = PROGRAM.format(name=name, where=where)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", "")
