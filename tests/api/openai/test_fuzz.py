"""Whatever comes in below /v1, no answer is a fault of the server, and refusals are OpenAI's."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.documents import EMBEDDER, PAINTER, TALK, Register
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchloom_api.openai.unserved_field import CHAT, COMPLETION, MESSAGE, PICTURE, RERANK, RESPONSE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

#: Good bodies, by path and model; some of their fields are replaced, or others added.
GOOD = {
    ("/v1/chat/completions", "writer"): {"messages": [{"role": "user", "content": "a"}]},
    ("/v1/chat/completions", "talk"): {"messages": [{"role": "user", "content": "a"}]},
    ("/v1/responses", "writer"): {"input": "a"},
    ("/v1/responses", "talk"): {"input": "a"},
    ("/v1/completions", "writer"): {"prompt": "a"},
    ("/v1/embeddings", "vectors"): {"input": "a"},
    ("/v1/rerank", "vectors"): {"query": "a", "documents": ["a"]},
    ("/v1/images/generations", "painter"): {"prompt": "a"},
}

FIELDS = sorted(
    {
        *(*CHAT, *COMPLETION, *RESPONSE, *PICTURE, *RERANK),
        *("model", "messages", "prompt", "input", "stream", "stream_options", "n", "seed", "stop"),
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p"),
        *("logit_bias", "presence_penalty", "ignore_eos", "encoding_format", "dimensions", "user"),
        *("instructions", "max_output_tokens", "size", "num_steps", "guidance", "negative_prompt"),
        *("query", "documents", "top_n", "return_documents", "passages", "question"),
    }
)

MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "name", "type", *MESSAGE]),
        VALUES | st.just("user") | st.just([{"type": "text", "text": "a"}]),
        max_size=3,
    ),
    max_size=2,
)


@pytest.mark.slow
@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    kind=st.sampled_from(sorted(GOOD)),
    changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
    messages=st.none() | MESSAGES,
)
async def test_answers_anything_without_a_fault_of_its_own(
    client: httpx.AsyncClient,
    register: Register,
    kind: tuple[str, str],
    changes: dict[str, object],
    messages: list[dict[str, object]] | None,
) -> None:
    """Each answer is an answer, or below 500 and says what is wrong."""
    await register(EMBEDDER, PAINTER, TALK)
    path, model = kind
    said = {} if messages is None else {"input" if "input" in GOOD[kind] else "messages": messages}
    body = {"model": model, **GOOD[kind], **changes, **said}
    response = await client.post(path, content=json.dumps(body).encode())

    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]
        assert response.json()["error"]["type"] == "invalid_request_error"
