"""What a terminal gets and a pipe does not: colour, progress, and a table that fits."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONG = "worldkv:keep_ratio=0.5,pooled=true,rotation_mean=chordal"


def on_a_terminal(columns: int, *words: str) -> str:
    """What `worldkv` writes to a terminal that is `columns` wide."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "worldkv", *words]
    with subprocess.Popen(command, stdout=inner, stderr=inner, stdin=inner, env=environment) as program:
        os.close(inner)
        text = b""
        while True:
            try:
                read = os.read(outer, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not read:
                break
            text += read
    os.close(outer)
    assert program.returncode == 0
    return text.decode()


@pytest.mark.parametrize("columns", [100, 120])
def test_the_table_fits_the_terminal(columns: int) -> None:
    text = on_a_terminal(
        columns, "compare", "generate:loop:chunks=30", "-p", "sliding-window", "-p", "worldkv", "-p", LONG
    )
    shown = ESCAPE.sub("", text.split("\x1b[?25h")[-1])
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= columns
    assert "\x1b[1m" in text and "\u2500" in text
    assert "\u2026" not in shown
    assert any(line.startswith("sliding-window") for line in lines)


def test_progress_is_shown_and_taken_away() -> None:
    text = on_a_terminal(100, "trajectory", "generate:loop:chunks=30")
    assert "reading generate:loop" in text
    assert "reading" not in text.split("\x1b[?25h")[-1]
