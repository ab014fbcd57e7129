"""Whatever comes in for KServe's calls, no answer is a fault of the server."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.documents import EMBEDDER, PAINTER, WRITER, Register
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchloom_api.kserve.datatype import HELD


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

NAMES = ["prompt", "messages", "text", "texts", "image", "x", "num_steps", "tools"]

TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "datatype": st.sampled_from([*HELD, "FP8"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3),
    },
    optional={
        "data": st.lists(st.integers(-3, 3) | st.text(max_size=3), max_size=3) | VALUES,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "content_type"]),
            st.integers(-1, 20) | st.just("base64") | VALUES,
        ),
    },
)

PARAMETERS = st.dictionaries(
    st.sampled_from(["max_tokens", "binary_data_output", "timeout", "seed", "sequence_id"]),
    st.integers(-1, 5) | st.booleans() | VALUES,
    max_size=2,
)

REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=2) | VALUES},
    optional={
        "parameters": PARAMETERS,
        "id": st.text(max_size=3) | VALUES,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(NAMES)})) | VALUES,
    },
)


@pytest.mark.slow
@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    model=st.sampled_from(["writer", "vectors", "painter", "echo"]),
    body=REQUESTS,
    raw=st.binary(max_size=20),
    cut=st.integers(-2, 2),
)
async def test_answers_anything_without_a_fault_of_its_own(
    client: httpx.AsyncClient,
    register: Register,
    model: str,
    body: dict[str, object],
    raw: bytes,
    cut: int,
) -> None:
    """Each answer is an answer, or below 500 and says what is wrong; v1 likewise."""
    await register(WRITER, EMBEDDER, PAINTER, "name: echo\nfactory: echo")
    text = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(text) + cut)} if raw else {}
    answers = [
        await client.post(f"/v2/models/{model}/infer", content=text + raw, headers=headers),
        await client.post(
            f"/v1/models/{model}:predict",
            content=json.dumps({**body, "instances": body["inputs"]}).encode(),
        ),
    ]

    for answer in answers:
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"]
