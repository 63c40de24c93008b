"""Connect to the cluster that `--on` names."""

from __future__ import annotations

import socket

from worldkv.errors import DeviceError
from worldkv.experiments.cluster.driver import Cluster
from worldkv.experiments.cluster.place import PATIENCE_SECONDS, parsed, scheme


def opened(on: str) -> Cluster:
    """The cluster at an address that `check_place` has passed.

    Raises:
        DeviceError: nobody answers there, or not a cluster of that kind and version.
    """
    kind, host, port = parsed(on)
    _knock(on, kind, host, port)
    if kind == "ray":
        from worldkv.experiments.cluster.on_ray import RayCluster

        return RayCluster(on, f"ray://{host}:{port}")
    from worldkv.experiments.cluster.on_dask import DaskCluster

    return DaskCluster(on, f"{scheme(on)}://{host}:{port}")


def _knock(on: str, kind: str, host: str, port: int) -> None:
    """See whether anybody listens there: the libraries try again for half a minute, and Dask's may not come back.

    Raises:
        DeviceError: nobody does, or somebody who is no scheduler of Dask.
    """
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=PATIENCE_SECONDS) as knocked:
            if kind == "dask" and scheme(on) == "tcp" and not knocked.recv(1):  # it greets whoever comes
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
