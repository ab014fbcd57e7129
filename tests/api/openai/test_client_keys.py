"""API keys by the official client and by our own, against a real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from openai import AsyncOpenAI, AuthenticationError, OpenAI, PermissionDeniedError

from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode


pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def guarded(start_server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a server with a key for work and one for everything else."""
    folder = tmp_path_factory.mktemp("keys")
    keys = folder / "keys.yaml"
    keys.write_text(f"""
keys:
  - {{name: app, sha256: {hashlib.sha256(b"app-key").hexdigest()}, scopes: [inference]}}
  - {{name: ops, sha256: {hashlib.sha256(b"ops-key").hexdigest()}, scopes: [management, metrics]}}
""")
    keys.chmod(0o600)
    with start_server(folder, ["tiny"], f"--api-keys={keys}") as url:
        yield url
    log = (folder / "server.log").read_text()
    assert "app-key" not in log
    assert "wrong-key" not in log


def _client(url: str, key: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120)


def test_takes_the_clients_key(guarded: str) -> None:
    """`api_key=` is all that it takes."""
    with _client(guarded, "app-key") as client:
        answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=4)
        streamed = client.completions.create(model="tiny", prompt="a", max_tokens=2, stream=True)
        num_chunks = len(list(streamed))
        names = [model.id for model in client.models.list()]

    assert answer.choices[0].finish_reason
    assert num_chunks
    assert names == ["tiny"]


def test_raises_the_clients_errors(guarded: str) -> None:
    """A wrong key is an AuthenticationError, one for other things a PermissionDeniedError."""
    with _client(guarded, "wrong-key") as client:
        with pytest.raises(AuthenticationError) as wrong:
            client.chat.completions.create(model="tiny", messages=HELLO)
        with pytest.raises(AuthenticationError):
            client.models.list()
        with pytest.raises(AuthenticationError):
            client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    with _client(guarded, "ops-key") as client:
        with pytest.raises(PermissionDeniedError) as other:
            client.chat.completions.create(model="tiny", messages=HELLO)
        assert [model.id for model in client.models.list()] == ["tiny"]

    assert wrong.value.code == "invalid_api_key"
    assert wrong.value.response.headers["www-authenticate"] == "Bearer"
    assert other.value.code == "missing_scope"


async def test_raises_the_async_clients_errors(guarded: str) -> None:
    """The same, without blocking."""
    url = f"{guarded}/v1"
    async with AsyncOpenAI(base_url=url, api_key="wrong-key", max_retries=0) as client:
        with pytest.raises(AuthenticationError):
            await client.completions.create(model="tiny", prompt="a")
    async with AsyncOpenAI(base_url=url, api_key="ops-key", max_retries=0) as client:
        with pytest.raises(PermissionDeniedError):
            await client.completions.create(model="tiny", prompt="a")
    async with AsyncOpenAI(base_url=url, api_key="app-key", max_retries=0) as client:
        answer = await client.completions.create(model="tiny", prompt="a", max_tokens=1)

    assert answer.usage is not None


def test_guards_metrics_and_leaves_health_open(guarded: str) -> None:
    """Prometheus sends a bearer token; probes send nothing."""
    headers = {"Authorization": "Bearer ops-key"}

    assert httpx.get(f"{guarded}/api/health/ready").status_code == 200
    assert httpx.get(f"{guarded}/metrics").status_code == 401
    assert httpx.get(f"{guarded}/metrics", headers=headers).status_code == 200


def test_takes_the_key_of_our_own_client(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment; without it the command says where a key goes."""
    monkeypatch.delenv("TORCHLOOM_API_KEY", raising=False)
    bare = CliRunner().invoke(main, ["models", "list", "--server", guarded])
    monkeypatch.setenv("TORCHLOOM_API_KEY", "ops-key")
    known = CliRunner().invoke(main, ["models", "list", "--server", guarded])
    other = CliRunner().invoke(main, ["run", "nothing", "--server", guarded])

    assert bare.exit_code == ExitCode.FAILED
    assert "TORCHLOOM_API_KEY" in bare.output
    assert known.exit_code == ExitCode.OK
    assert "tiny" in known.output
    assert other.exit_code == ExitCode.NOT_FOUND


def test_does_not_start_with_a_bad_file(start_server: object, tmp_path: Path) -> None:
    """What is wrong is told at once, and nothing listens."""
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: [{name: app, env: NOT_THERE, scopes: [inference]}]")
    with (
        pytest.raises(AssertionError, match="NOT_THERE"),
        start_server(tmp_path, [], f"--api-keys={keys}"),
    ):
        pass
