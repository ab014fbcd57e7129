"""The RAG example in a real server, called as its README says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse
from openai import AsyncOpenAI, BadRequestError, OpenAI


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RAG = ROOT / "examples" / "rag"
REFUSAL = "The passages do not say."

#: What the stored weights reach (0.94 of all questions), less a margin.
MIN_RIGHT = 0.85


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str]) -> str:
    """Build the index and serve the example, by the README's two commands."""
    build = ["index", "build", "examples/rag/rag.yaml"]
    subprocess.run([sys.executable, "-m", "torchloom_api.cli", *build], cwd=ROOT, check=True)
    return serve("torchloom serve examples/rag/rag.yaml")


def _ask(url: str, **inputs: object) -> dict[str, object]:
    answer = httpx.post(f"{url}/api/workflows/rag/runs", json=inputs, timeout=120)
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


def test_answers_from_the_handbook_with_its_sources(url: str) -> None:
    """The answer is the handbook's, and the passage that holds it is among the sources."""
    outputs = _ask(url, question="How high is the lighthouse on Cape Dunnoch?")["outputs"]
    assert outputs["answer"].strip() == "47 metres."
    assert len(outputs["sources"]) == 3
    assert any("47 metres" in source["text"] for source in outputs["sources"])


def test_says_so_when_the_handbook_does_not_tell(url: str) -> None:
    """A question that no passage answers is refused, not made up."""
    outputs = _ask(url, question="How many windows does the canteen have?")["outputs"]
    assert outputs["answer"].strip() == REFUSAL


def test_streams_the_answer_in_pieces(url: str) -> None:
    """Tokens come one after the other, before the run is over, and make up the answer."""
    pieces: list[str] = []
    kinds: list[str] = []
    body = {"question": "Who built the outer mole?"}
    with (
        httpx.Client(base_url=url, timeout=120) as http,
        connect_sse(http, "POST", "/api/workflows/rag/runs", json=body) as stream,
    ):
        for event in stream.iter_sse():
            if event.data:
                kinds.append(event.event)
                data = event.json()
                if event.event == "node.chunk":
                    pieces.append(data["text"])
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.finished"
    assert len(pieces) > 3
    assert "".join(pieces) == data["outputs"]["answer"]
    assert data["outputs"]["answer"].strip() == "Corvan Ashdrift."


def test_takes_the_number_of_passages(url: str) -> None:
    """`top_k` is how many passages the LLM sees, and how many sources come back."""
    outputs = _ask(url, question="Who built the outer mole?", top_k=1)["outputs"]
    assert len(outputs["sources"]) == 1


def test_refuses_inputs_that_the_workflow_does_not_declare(url: str) -> None:
    """A wrong input is the client's fault, with its place in the body."""
    answer = httpx.post(f"{url}/api/workflows/rag/runs", json={"question": "", "top_k": 99})
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/question", "/top_k"}


def test_is_called_by_its_client_script(url: str) -> None:
    """client.py prints the answer and numbers its sources."""
    command = [sys.executable, str(RAG / "client.py"), "Who built the outer mole?", "--url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, *sources = done.stdout.splitlines()
    assert answer.strip() == "Corvan Ashdrift."
    assert [line.split()[0] for line in sources] == ["[1]", "[2]", "[3]"]


def _read_snippet() -> str:
    """Give the README's Python, which is written for a server at its usual address."""
    readme = (RAG / "README.md").read_text()
    return readme.partition("```python\n")[2].partition("```")[0]


def test_is_a_model_to_the_openai_client(url: str) -> None:
    """The README's Python prints the answer, then each passage with its title and its file."""
    snippet = _read_snippet().replace("http://127.0.0.1:8080", url)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, check=True
    )
    answer, *sources = done.stdout.splitlines()
    assert answer.strip() == "Corvan Ashdrift."
    assert len(sources) == 3
    assert any("1-harbour.md" in line and "Corvan Ashdrift" in line for line in sources)


async def test_streams_to_the_async_openai_client(url: str) -> None:
    """Deltas make up the answer; the last cites the passages; the LLM's tokens are counted."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        names = [model.id async for model in client.models.list()]
        stream = await client.chat.completions.create(
            model="rag",
            messages=[{"role": "user", "content": "Who built the outer mole?"}],
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"top_k": 1},
        )
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "rag" in names
    assert len(deltas) > 5
    assert "".join(delta.content or "" for delta in deltas).strip() == "Corvan Ashdrift."
    (citation,) = deltas[-1].annotations
    assert citation["url_citation"]["url"] == "1-harbour.md"
    assert chunks[-1].usage.completion_tokens >= 3
    assert chunks[-1].usage.prompt_tokens > 30


def test_is_gathered_by_the_openai_client(url: str) -> None:
    """The client's own helper makes a whole answer of the stream, with what it cites."""
    messages = [{"role": "user", "content": "Who built the outer mole?"}]
    with (
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        client.chat.completions.stream(model="rag", messages=messages) as stream,
    ):
        choice = stream.get_final_completion().choices[0]
    assert choice.message.content.strip() == "Corvan Ashdrift."
    assert choice.finish_reason == "stop"
    assert [each.url_citation.end_index for each in choice.message.annotations] == [
        len(choice.message.content)
    ] * 3


def test_responds_to_the_openai_client(url: str) -> None:
    """A response cites the passages too, in its own form."""
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        asked = {"model": "rag", "input": "Who built the outer mole?", "extra_body": {"top_k": 1}}
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            gathered = stream.get_final_response()
    assert whole.output_text.strip() == "Corvan Ashdrift."
    (citation,) = whole.output[0].content[0].annotations
    assert (citation.type, citation.url) == ("url_citation", "1-harbour.md")
    assert gathered.output[0].content[0].annotations == [citation]
    assert "response.output_text.annotation.added" in kinds


def test_refuses_the_openai_client_what_the_workflow_does_not_take(url: str) -> None:
    """Its inputs decide: no temperature, and not any number of passages."""
    messages = [{"role": "user", "content": "Who built the outer mole?"}]
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(BadRequestError) as warm:
            client.chat.completions.create(model="rag", messages=messages, temperature=1.0)
        with pytest.raises(BadRequestError) as many:
            client.chat.completions.create(model="rag", messages=messages, extra_body={"top_k": 9})
    assert (warm.value.param, warm.value.code) == ("temperature", "unsupported_parameter")
    assert many.value.param == "top_k"


def test_is_called_by_torchloom_run(url: str) -> None:
    """`torchloom run --json` gives the outputs alone, for a script to read."""
    question = "question=Who built the outer mole?"
    command = [sys.executable, "-m", "torchloom_api.cli", "run", "rag", "--input", question]
    done = subprocess.run(
        [*command, "--server", url, "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["answer"].strip() == "Corvan Ashdrift."


def test_finds_the_passages_and_answers_many_of_its_questions(url: str) -> None:
    """Over the handbook's own questions, the right passage is found, and MIN_RIGHT are answered."""
    lines = (RAG / "questions.jsonl").read_text().splitlines()[::4]
    cases = [json.loads(line) for line in lines]
    asked = [(case, _ask(url, question=case["question"])["outputs"]) for case in cases]
    right = sum(out["answer"].strip() == (case["answer"] or REFUSAL) for case, out in asked)
    found = [
        any(case["passage"] in source["text"] for source in out["sources"])
        for case, out in asked
        if case["passage"]
    ]
    assert sum(found) / len(found) >= 0.9
    assert right / len(cases) >= MIN_RIGHT
