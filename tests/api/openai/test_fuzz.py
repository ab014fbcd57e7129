"""Whatever comes in below /v1, no answer is a fault of the server, and refusals are OpenAI's."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.documents import EMBEDDER, WRITER, Register
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchloom_api.openai.unserved_field import CHAT, COMPLETION, MESSAGE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

#: Good bodies, by path; some of their fields are replaced, or others added.
GOOD = {
    "/v1/chat/completions": {"model": "writer", "messages": [{"role": "user", "content": "a"}]},
    "/v1/completions": {"model": "writer", "prompt": "a"},
    "/v1/embeddings": {"model": "vectors", "input": "a"},
}

FIELDS = sorted(
    {
        *CHAT,
        *COMPLETION,
        *("model", "messages", "prompt", "input", "stream", "stream_options", "n", "seed", "stop"),
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p"),
        *("logit_bias", "presence_penalty", "ignore_eos", "encoding_format", "dimensions", "user"),
    }
)

MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", *MESSAGE]),
        VALUES | st.just("user") | st.just([{"type": "text", "text": "a"}]),
        max_size=3,
    ),
    max_size=2,
)


@pytest.mark.slow
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    path=st.sampled_from(sorted(GOOD)),
    changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
    messages=st.none() | MESSAGES,
)
async def test_answers_anything_without_a_fault_of_its_own(
    client: httpx.AsyncClient,
    register: Register,
    path: str,
    changes: dict[str, object],
    messages: list[dict[str, object]] | None,
) -> None:
    """Each answer is an answer, or below 500 and says what is wrong."""
    await register(WRITER, EMBEDDER)
    body = {**GOOD[path], **changes, **({} if messages is None else {"messages": messages})}
    response = await client.post(path, content=json.dumps(body).encode())

    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]
        assert response.json()["error"]["type"] == "invalid_request_error"
