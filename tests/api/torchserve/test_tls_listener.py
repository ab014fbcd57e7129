"""TLS on TorchServe's ports, and what speaks something else to them."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import httpx
import pytest
from api_fakes.torchserve import MakeMar, Serve, Served

from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.identity import read_identity


pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

ADDRESS = "https://127.0.0.1:0"


@pytest.fixture
async def secured(serve: Serve, make_mar: MakeMar, tmp_path: Path) -> Served:
    """Give a server whose ports all speak TLS."""
    made = read_identity(FrontendSettings())
    files = {"private_key_file": made.key, "certificate_file": made.chain}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    make_mar("noop.mar")
    return await serve(
        load_models=("noop.mar",),
        inference_address=ADDRESS,
        management_address="https://127.0.0.2:0",
        metrics_address="https://127.0.0.3:0",
        cors_allowed_origin="*",
        **{name: str(tmp_path / name) for name in files},
    )


def _client(tmp_path: Path, url: str) -> httpx.AsyncClient:
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate_file"))
    trusted.check_hostname = False  # the certificate names 127.0.0.1 alone
    return httpx.AsyncClient(base_url=url, verify=trusted, timeout=30)


async def test_answers_on_every_port(secured: Served, tmp_path: Path) -> None:
    """With the certificate that the properties name."""
    paths = {"inference": "/predictions/noop", "management": "/models", "metrics": "/metrics"}
    for port, url in secured.urls.items():
        assert url.startswith("https://")
        async with _client(tmp_path, url) as client:
            answers = [await client.get(paths[port]) for _ in range(2)]

            assert [each.status_code for each in answers] == [200, 200]


async def test_lets_a_client_send_all_that_is_too_large(secured: Served, tmp_path: Path) -> None:
    """Though no half of a connection can be closed: the answer is read."""
    url = secured.urls["inference"] + "/predictions/noop"
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate_file"))
    trusted.check_hostname = False  # the certificate names 127.0.0.1 alone

    def send() -> int:
        with pytest.raises(HTTPError) as raised:
            urlopen(url, data=bytes(20_000_000), timeout=30, context=trusted)
        with raised.value as answer:
            return answer.code

    assert await asyncio.to_thread(send) == 413


async def test_tells_who_speaks_http(secured: Served) -> None:
    """In TorchServe's words; that connection is closed, others go on."""
    plain = secured.urls["inference"].replace("https:", "http:")
    async with httpx.AsyncClient(base_url=plain) as client:
        answer = await client.post("/predictions/noop", content=b"x")

    assert (answer.status_code, answer.json()) == (
        403,
        {"status": "This TorchServe instance only accepts HTTPS requests"},
    )
    assert answer.headers["connection"] == "close"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_bears_who_speaks_neither(secured: Served, tmp_path: Path) -> None:
    """Clients that leave at once, or say that they speak TLS and do not."""
    place = urlsplit(secured.urls["inference"])
    for said in (b"", b"\x16 not at all\r\n\r\n" * 50):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(said)
        writer.write_eof()
        await reader.read()
        writer.close()
    async with _client(tmp_path, secured.urls["inference"]) as client:
        assert (await client.get("/ping")).status_code == 200


async def test_makes_a_certificate_where_none_is_named(serve: Serve) -> None:
    """As TorchServe does."""
    served = await serve(inference_address=ADDRESS)
    async with httpx.AsyncClient(base_url=served.urls["inference"], verify=False) as client:
        assert (await client.get("/ping")).status_code == 200


async def test_listens_on_a_path(serve: Serve, make_mar: MakeMar, tmp_path: Path) -> None:
    """`unix:/PATH`; a socket that was left behind is no hindrance, and none is left behind."""
    make_mar("noop.mar")
    path = tmp_path / "inference.sock"
    served = await serve(load_models=("noop.mar",), inference_address=f"unix:{path}")
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(base_url="http://x", transport=transport) as client:
        answer = await client.post("/predictions/noop", content=b"x")

    assert served.urls["inference"] == f"unix:{path}"
    assert answer.status_code == 200
