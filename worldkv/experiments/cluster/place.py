"""Where a sweep runs: `local`, `ray://HOST:PORT` or `dask:HOST:PORT`."""

from __future__ import annotations

import importlib.util

from worldkv.errors import DeviceError, SpecError

LOCAL = "local"
_LIBRARIES = {"ray": "ray", "dask": "distributed"}
_PORTS = {"ray": 10001, "dask": 8786}
"""Where the Ray Client's server and Dask's scheduler listen unless told otherwise."""
_EXAMPLES = "local, ray://HOST:10001 or dask:HOST:8786"
PATIENCE_SECONDS = 5.0
"""How long an address may take to answer."""


def check_place(on: str) -> None:
    """Refuse a place that cannot be one, or whose library is missing, before anything is read; imports nothing.

    Raises:
        SpecError: neither `local` nor an address of Ray or Dask.
        DeviceError: the library is not installed.
    """
    if on == LOCAL:
        return
    kind, _, _ = parsed(on)
    library = _LIBRARIES[kind]
    if importlib.util.find_spec(library) is None:
        raise DeviceError(f"--on {on} needs {library}, which is not installed; pip install 'worldkv[{kind}]'")
    if kind == "ray" and importlib.util.find_spec("grpc") is None:
        raise DeviceError(f"--on {on} needs grpcio, which is not installed; pip install 'worldkv[ray]'")


def scheme(on: str) -> str:
    """How Dask's scheduler is spoken to: `tcp` unless the address says otherwise."""
    return on.removeprefix("dask:").rpartition("://")[0] or "tcp"


def parsed(on: str) -> tuple[str, str, int]:
    """Kind, host and port of an address.

    Raises:
        SpecError: it is none.
    """
    kind, _, rest = on.partition(":")
    wrong = SpecError(f"--on must be {_EXAMPLES}, got {on!r}")
    if kind not in _LIBRARIES or (kind == "ray" and not rest.startswith("//")):
        raise wrong
    address = rest.rpartition("//")[2]
    host, colon, port = address.rpartition(":") if address.count(":") == 1 or "]" in address else (address, "", "")
    if colon and not port.isdecimal():
        raise wrong
    number = int(port) if port else _PORTS[kind]
    if not host or any(letter in host for letter in "/@? ") or not 0 < number < 65536:
        raise wrong
    return kind, host, number
