"""LangChain's client of OpenAI, against a real server with a real language model and embedder."""

from __future__ import annotations

import httpx
import pytest


pytestmark = pytest.mark.slow

langchain = pytest.importorskip(
    "langchain_openai", reason="langchain-openai is not installed (`make install` brings it)"
)

#: The tiny model's own kind of question: see examples/rag.
QUESTION = "How much does a mooring cost?"


def chat(url: str, model: str = "tiny", **more: object) -> langchain.ChatOpenAI:
    """Make LangChain's chat model, that tries nothing twice."""
    return langchain.ChatOpenAI(
        base_url=f"{url}/v1", api_key="none", model=model, max_retries=0, max_tokens=12, **more
    )


def native(url: str, *said: tuple[str, str]) -> str:
    """Ask the model by the native API, for at most 12 tokens."""
    messages = [{"role": role, "content": content} for role, content in said]
    body = {"inputs": {"messages": messages}, "params": {"max_tokens": 12}}
    answer = httpx.post(f"{url}/api/models/tiny/predict", json=body, timeout=120)
    return answer.raise_for_status().json()["outputs"]["text"]


@pytest.mark.parametrize("is_response", [False, True])
def test_chats(url: str, *, is_response: bool) -> None:
    """By chat completions and by responses, whole and streamed, the answer is the native one."""
    model = chat(url, temperature=0, use_responses_api=is_response, stream_usage=True)
    said = [("system", "Be brief."), ("human", QUESTION)]
    whole = model.invoke(said)
    chunks = list(model.stream(said))
    joined = chunks[0]
    for chunk in chunks[1:]:
        joined += chunk

    assert whole.text == joined.text == native(url, ("system", "Be brief."), ("user", QUESTION))
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    assert joined.usage_metadata == whole.usage_metadata
    assert len(chunks) > 3


async def test_chats_side_by_side(url: str) -> None:
    """Its batches ask at once, asynchronously; each gets its own answer."""
    questions = [QUESTION, "Who led the harbour office?"]
    answers = await chat(url).abatch(questions)

    expected = [native(url, ("user", question)) for question in questions]
    assert [answer.text for answer in answers] == expected


def test_asks_a_workflow(url: str) -> None:
    """A workflow is a model here too; by responses what it cites comes with the answer."""
    plain = chat(url, "asked").invoke(QUESTION)
    cited = chat(url, "asked", use_responses_api=True).invoke(QUESTION)
    (block,) = cited.content_blocks
    (annotation,) = block["annotations"]

    assert plain.text == cited.text == native(url, ("user", QUESTION))
    assert annotation["type"] == "citation"
    assert (annotation["title"], annotation["url"]) == ("Page", "http://127.0.0.1/page")


def test_embeds(url: str) -> None:
    """Texts and a query, as texts: it would else send tokens, which are not read here."""
    model = langchain.OpenAIEmbeddings(
        base_url=f"{url}/v1", api_key="none", model="minilm", check_embedding_ctx_length=False
    )
    vectors = model.embed_documents(["a cat", "a boat"])

    assert vectors[0] == pytest.approx(model.embed_query("a cat"), abs=1e-6)
    assert [len(vector) for vector in vectors] == [384, 384]


def test_raises_what_is_refused(url: str) -> None:
    """The server's words arrive."""
    with pytest.raises(Exception, match="chat template knows no tools") as refused:
        chat(url).bind_tools([{"title": "f", "type": "object", "properties": {}}]).invoke(QUESTION)

    assert refused.value.status_code == 400
