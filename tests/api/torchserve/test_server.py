"""The order in which the server begins, and ends."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from api_fakes import handlers
from api_fakes.torchserve import ANY, MakeLlm

from torchloom_api.settings import Address, InvalidSettings
from torchloom_api.torchserve import server
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import FrontendSettings, GrpcPort
from torchloom_api.torchserve.identity import read_identity
from torchloom_api.torchserve.registration import Order


_IMPORT = """
import sys
import torchloom_api.torchserve.server
print(*sorted({"litestar", "grpc", "torch"} & set(sys.modules)))
"""


def test_starts_workers_before_the_web_frameworks_are_imported() -> None:
    """What answers on the ports is imported while workers load: see ports.py."""
    command = [sys.executable, "-c", _IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.fixture
def settings(store: Path, tmp_path: Path) -> FrontendSettings:
    """Give settings of a server on free ports."""
    return FrontendSettings(
        inference_address=ANY,
        management_address=ANY,
        metrics_address=ANY,
        grpc_inference=GrpcPort(at=Address("127.0.0.1", 0)),
        grpc_management=GrpcPort(at=Address("127.0.0.1", 0)),
        model_store=store,
        store=str(tmp_path / "native"),
        disable_token_authorization=True,
        default_workers_per_model=1,
    )


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Frontend]:
    """Tell which frontends have begun to load."""
    begun: list[Frontend] = []

    async def start(frontend: Frontend) -> None:
        begun.append(frontend)

    monkeypatch.setattr(server, "start", start)
    return begun


async def test_tells_of_a_port_that_is_taken_before_it_loads(
    settings: FrontendSettings, loads: list[Frontend]
) -> None:
    """Those of gRPC are opened by gRPC, when workers start already."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = replace(settings, grpc_management=GrpcPort(at=Address("127.0.0.1", port)))
        with pytest.raises(InvalidSettings, match=str(port)):
            await server.serve_torchserve(settings)

    assert loads == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_tells_of_a_certificate_of_another_key_before_it_loads(
    settings: FrontendSettings, loads: list[Frontend], tmp_path: Path
) -> None:
    """Nothing is to be installed for a server that cannot answer."""
    (tmp_path / "key").write_bytes(read_identity(FrontendSettings()).key)
    (tmp_path / "chain").write_bytes(read_identity(FrontendSettings()).chain)
    settings = replace(
        settings,
        enable_grpc_ssl=True,
        private_key_file=str(tmp_path / "key"),
        certificate_file=str(tmp_path / "chain"),
    )
    with pytest.raises(InvalidSettings, match="do not go together"):
        await server.serve_torchserve(settings)

    assert loads == []


async def test_lets_go_of_archives_where_it_ends_by_an_error(
    settings: FrontendSettings, make_llm: MakeLlm
) -> None:
    """What was unpacked is removed, as at any end."""
    make_llm()
    held: list[Path] = []

    async def serve() -> None:
        opening = server.open_frontend(settings, make_reader=handlers.HandlerReader)
        async with opening as (frontend, _):
            await frontend.registration.register(Order(url="llm.mar"))
            archives = frontend.service.settings.archives_folder
            held.extend(each for each in archives.iterdir() if each.is_dir())
            raise RuntimeError("cut short")

    with pytest.raises(RuntimeError, match="cut short"):
        await serve()

    assert held
    assert [each for each in held if each.exists()] == []
