"""Where a sweep runs: `local`, `ray://HOST:PORT` or `dask:HOST:PORT`."""

from __future__ import annotations

import importlib.util
import socket
from typing import TYPE_CHECKING

from worldkv.errors import DeviceError, SpecError

if TYPE_CHECKING:
    from worldkv.experiments.cluster.driver import Cluster

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
    kind, _, _ = _parsed(on)
    library = _LIBRARIES[kind]
    if importlib.util.find_spec(library) is None:
        raise DeviceError(f"--on {on} needs {library}, which is not installed; pip install 'worldkv[{kind}]'")
    if kind == "ray" and importlib.util.find_spec("grpc") is None:
        raise DeviceError(f"--on {on} needs grpcio, which is not installed; pip install 'worldkv[ray]'")


def opened(on: str) -> Cluster:
    """The cluster at an address that `check_place` has passed.

    Raises:
        DeviceError: nobody answers there, or not a cluster of that kind and version.
    """
    kind, host, port = _parsed(on)
    _knock(on, kind, host, port)
    if kind == "ray":
        from worldkv.experiments.cluster.on_ray import RayCluster

        return RayCluster(on, f"ray://{host}:{port}")
    from worldkv.experiments.cluster.on_dask import DaskCluster

    scheme = _scheme(on)
    return DaskCluster(on, f"{scheme}://{host}:{port}")


def _scheme(on: str) -> str:
    return on.removeprefix("dask:").rpartition("://")[0] or "tcp"


def _parsed(on: str) -> tuple[str, str, int]:
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


def _knock(on: str, kind: str, host: str, port: int) -> None:
    """See whether anybody listens there: the libraries try again for half a minute, and Dask's may not come back.

    Raises:
        DeviceError: nobody does, or somebody who is no scheduler of Dask.
    """
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=PATIENCE_SECONDS) as knocked:
            if kind == "dask" and _scheme(on) == "tcp" and not knocked.recv(1):  # it greets whoever comes
                raise DeviceError(f"--on {on}: what listens there is no scheduler of Dask; check the address")
    except TimeoutError:
        raise DeviceError(
            f"--on {on}: there is no answer within {PATIENCE_SECONDS:g} s; check the address and that the cluster is up"
        ) from None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DeviceError(
            f"--on {on}: {host}:{port} cannot be reached ({why}); check the address and that the cluster is up"
        ) from None
