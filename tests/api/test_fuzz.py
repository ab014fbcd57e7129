"""Whatever comes in, no answer is a fault of the server, and refusals are problem documents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from api_fakes.documents import Register
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchloom_api.service import Service, open_service
from torchloom_api.settings import Settings


ECHO = """
name: echo
kind: function
function: api_fakes.functions:shout
inline: true
"""

SAY = """
name: say
version: 1
inputs:
  value: {type: string, minLength: 1}
nodes:
  up: {model: echo, inputs: {text: "{{ inputs.value }}"}}
outputs: {said: "{{ up.text }}"}
stream: up
"""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

NAMES = st.sampled_from(["say", "echo", "say@1", "say@9", "@", "a@b", "..", "%00", "é", "a" * 300])
TYPES = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "text/plain",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/octet-stream",
        "",
        ";;;",
    ]
)

#: Bodies: JSON of any shape, bytes of any kind, and pieces of real documents put together wrongly.
BODIES = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                *SAY.splitlines(keepends=True),
                *ECHO.splitlines(keepends=True),
                "- a\n",
                "? {}\n",
                "&a [*a]\n",
                "!!python/object:os.system x\n",
                "{{ x }}\n",
                "\u2028\n",
                '{"inputs":',
                "}",
                '--x\r\ncontent-disposition: form-data; name="value"\r\n\r\n1\r\n--x--',
            ]
        ),
        max_size=12,
    ).map(lambda lines: "".join(lines).encode()),
)

ROUTES = st.sampled_from(
    [
        ("POST", "/api/workflows"),
        ("POST", "/api/workflows:check"),
        ("PUT", "/api/workflows/{}"),
        ("PUT", "/api/workflows/{}/traffic"),
        ("POST", "/api/workflows/{}/runs"),
        ("POST", "/api/workflows/{}/runs?background=true"),
        ("POST", "/api/models"),
        ("PATCH", "/api/models/{}"),
        ("PUT", "/api/models/{}/traffic"),
        ("POST", "/api/models/{}/predict"),
        ("GET", "/api/workflows/{}/graph.svg"),
        ("GET", "/api/runs/{}/events"),
        ("GET", "/api/runs?after={}"),
        ("DELETE", "/api/runs/{}"),
    ]
)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Give a service that reads real documents, with functions in threads."""
    limits = Settings(store=str(tmp_path), functions=("api_fakes",), sources=())
    async with open_service(limits) as service:
        await service.start([])
        yield service


@pytest.mark.slow
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(route=ROUTES, name=NAMES, body=BODIES, media_type=TYPES)
async def test_answers_anything_without_a_fault_of_its_own(
    client: httpx.AsyncClient,
    register: Register,
    route: tuple[str, str],
    name: str,
    body: bytes,
    media_type: str,
) -> None:
    """Each answer is below 500, or is one of the failures that a client can bring about."""
    await register(ECHO, SAY)
    method, path = route
    headers = {"content-type": media_type}
    response = await client.request(method, path.format(name), content=body, headers=headers)

    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
