"""`--on`: what is no address, a library that is missing, and nobody at the other end, each in one sentence."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from worldkv.cli import main
from worldkv.errors import DeviceError, SpecError
from worldkv.experiments.cluster import connect
from worldkv.experiments.cluster.connect import opened
from worldkv.experiments.cluster.place import check_place


@pytest.fixture(autouse=True)
def _everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: importlib.util.__spec__)


WRONG = ["", "ray", "dask", "ray:", "dask:", "ray:host:1", "spark://host:1", "dask:host:0", "ray://host:99999"]
WRONG += ["dask:host:port", "ray://user@host:1", "dask:tcp://:8786", "dask:a/b:8786", "Local"]


@pytest.mark.parametrize("on", WRONG)
def test_what_is_no_place_is_one_sentence(on: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "generate:loop", "--out", str(tmp_path / "r.csv"), "--on", on]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert f"--on must be local, ray://HOST:10001 or dask:HOST:8786, got {on!r}" in said.err


@pytest.mark.parametrize(
    "on", ["local", "ray://host", "ray://[::1]:10001", "dask:host", "dask:tls://host:1", "dask://h:1"]
)
def test_what_is_a_place_is_taken(on: str) -> None:
    check_place(on)


@pytest.mark.parametrize(("on", "extra"), [("ray://host:1", "ray"), ("dask:host:1", "dask")])
def test_a_missing_library_is_named_with_its_cure(
    on: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["sweep", "generate:loop", "--out", str(tmp_path / "r.csv"), "--on", on]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and f"pip install 'worldkv[{extra}]'" in said.err
    check_place("local")


@pytest.mark.parametrize("kind", ["ray://", "dask:"])
def test_nobody_there(kind: str) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DeviceError, match="cannot be reached .*check the address and that the cluster is up"):
            opened(f"{kind}127.0.0.1:{taken.getsockname()[1]}")


def test_a_server_that_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(DeviceError, match="there is no answer within 0.2 s"):
            opened(f"dask:127.0.0.1:{silent.getsockname()[1]}")


def test_a_host_without_an_address() -> None:
    with pytest.raises(DeviceError, match="cannot be reached"):
        opened("dask:no-such-host.invalid:8786")
    with pytest.raises(SpecError):
        opened("dask:")


def test_a_local_sweep_imports_neither_library() -> None:
    code = (
        "import sys\nfrom worldkv import sweep\n"
        "sweep('generate:loop:chunks=12', 'oracle', budgets='50%', seeds=0, geometry='tiny', jobs=1, on='local')\n"
        "print(sorted({'ray', 'distributed', 'dask'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[]\n"
