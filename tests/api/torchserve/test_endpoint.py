"""What the address of a language model answers, over an engine that says back what it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_fakes.engines import Endless
from api_fakes.torchserve import MakeLlm, MakeMar, Serve, Served
from api_fakes.turns import turns

from torchloom_api.torchserve.frontend import Predicted
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.registration import Order


CHAT = "/predictions/llm/1.0/v1/chat/completions"
TEXT = "/predictions/llm/1.0/v1/completions"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No endless answer outlives its test."""
    yield
    Endless.held.clear()


@pytest.fixture
async def served(serve: Serve, make_llm: MakeLlm) -> Served:
    """Give a server that has a model `llm`, which is called `one` and `two`."""
    make_llm("llm", served_model_name=["one", "two"])
    return await serve(load_models=("llm.mar",))


def chat(content: str = "a b c", **more: object) -> dict[str, object]:
    """Make the body of a chat completion."""
    return {"model": "one", "messages": [{"role": "user", "content": content}], **more}


def text(prompt: str = "a b c", **more: object) -> dict[str, object]:
    """Make the body of a completion."""
    return {"model": "one", "prompt": prompt, **more}


@pytest.mark.parametrize("version", ["1.0/", ""])
async def test_answers_below_a_version_and_without(served: Served, version: str) -> None:
    """TorchServe takes `v1` for a version where there is none in between."""
    answer = await served.inference.post(
        f"/predictions/llm/{version}v1/chat/completions", json=chat()
    )

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "a b c "
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.headers["pragma"] == "no-cache"


async def test_prefers_a_version_that_is_called_so(serve: Serve, make_llm: MakeLlm) -> None:
    """Then `/predictions/llm/v1/models` is the path `models` of that version."""
    make_llm("llm", version="v1")
    served = await serve(load_models=("llm.mar",))
    first = await served.inference.get("/predictions/llm/v1/models")
    second = await served.inference.get("/predictions/llm/v1/v1/models")

    assert (first.status_code, second.status_code) == (404, 200)
    assert first.json()["message"] == "Unknown API endpoint: models"


@pytest.mark.parametrize("path", ["v1", "v1/files", "v1/models/one"])
async def test_has_no_other_path_without_a_version_either(served: Served, path: str) -> None:
    """The whole path is told."""
    answer = await served.inference.post(f"/predictions/llm/{path}", json=text())

    assert (answer.status_code, answer.json()["message"]) == (404, f"Unknown API endpoint: {path}")


async def test_leaves_handlers_their_version(served: Served, make_mar: MakeMar) -> None:
    """A handler has no paths of OpenAI's: `v1` is a version that it lacks."""
    make_mar("noop.mar")
    (await served.register("noop.mar")).raise_for_status()
    answer = await served.inference.post("/predictions/noop/v1/completions")

    assert answer.json()["type"] == "ModelVersionNotFoundException"


async def test_streams_an_event_a_chunk(served: Served) -> None:
    """Also where the native API writes two at once: the usage, and the end."""
    body = chat(stream=True, stream_options={"include_usage": True})
    async with served.inference.stream("POST", CHAT, json=body) as answer:
        chunks = [chunk async for chunk in answer.aiter_raw()]

    assert answer.headers["ts_stream_next"] == "true"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [chunk.count(b"data: ") for chunk in chunks] == [1] * 7
    assert chunks[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize("name", ["one", "two", "llm"])
async def test_knows_its_names(served: Served, name: str) -> None:
    """And says each back as it was asked for."""
    answer = await served.inference.post(TEXT, json=text(model=name))

    assert (answer.json()["model"], answer.json()["choices"][0]["text"]) == (name, "a b c ")


async def test_asks_for_an_adapter_by_its_own_name(served: Served) -> None:
    """The archive's, and not the one that a model file had to give it."""
    asked = await served.inference.post(TEXT, json=text("params", model="org/sql"))
    other = await served.inference.post(TEXT, json=text(model="org-sql"))

    assert asked.json()["model"] == "org/sql"
    assert json.loads(asked.json()["choices"][0]["text"])["adapter"] == "org-sql"
    assert other.status_code == 404


async def test_knows_adapters_that_were_loaded_since(served: Served) -> None:
    """By TorchLoom's own API; the list has them too."""
    orchestrator = served.frontend.service.orchestrator
    await orchestrator.apply_setting("llm", 1, key="adapter:later", value={"source": "x"})
    listed = (await served.inference.get("/predictions/llm/v1/models")).json()["data"]
    answer = await served.inference.post(TEXT, json=text("params", model="later"))

    assert [each["id"] for each in listed] == ["one", "two", "org/sql", "later"]
    assert json.loads(answer.json()["choices"][0]["text"])["adapter"] == "later"


@pytest.mark.parametrize("name", ["onee", "llm@1", "llm:org-sql", "", "a" * 5000])
async def test_refuses_names_of_others(served: Served, name: str) -> None:
    """Labels of the registry are none here: another model's could be meant by one."""
    answer = await served.inference.post(TEXT, json=text(model=name))

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert answer.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        (text("refuse"), 400, "invalid_request_error"),
        (text(max_tokens=-1), 400, "invalid_request_error"),
        (text(suffix="x"), 400, "invalid_request_error"),
        (chat(), 400, "invalid_request_error"),
    ],
)
async def test_says_in_openais_shape_what_a_request_has_wrong(
    served: Served, body: dict[str, object], status: int, type_: str
) -> None:
    """With its status, where TorchServe gives 200."""
    answer = await served.inference.post(TEXT, json=body)

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, type_)


@pytest.mark.parametrize("more", [{"stream": True}, {}])
async def test_says_in_torchserves_words_what_the_server_has_wrong(
    served: Served, more: dict[str, object]
) -> None:
    """Where nothing of an answer is out."""
    answer = await served.inference.post(TEXT, json=text("fail", **more))

    assert answer.status_code == 503
    assert answer.json() == {
        "code": 503,
        "type": "InternalServerException",
        "message": "Prediction failed",
    }


async def test_tells_in_the_stream_what_fails_later(served: Served) -> None:
    """As the last event, and without the end that a whole answer has."""
    answer = await served.inference.post(TEXT, json=text("break it", stream=True))
    events = [each for each in answer.text.split("\n\n") if each]

    assert answer.status_code == 200
    assert "error" in json.loads(events[-1].removeprefix("data: "))
    assert "[DONE]" not in answer.text


async def test_tells_those_who_watch(served: Served) -> None:
    """Metrics count it as any prediction, with the time that it waited."""
    told: list[Predicted] = []
    served.frontend.on_predicted.append(told.extend)
    await served.inference.post(TEXT, json=text())
    await served.inference.post("/predictions/llm/v1/completions", json=text(model="none"))
    await served.inference.post("/predictions/llm/1.0/nowhere", json=text())

    assert [(each.status, each.version) for each in told] == [
        (200, "1.0"),
        (404, None),
        (404, "1.0"),
    ]
    assert told[0].queue_s is not None
    assert told[1].queue_s is None


async def test_cancels_what_nobody_waits_for(serve: Serve, make_llm: MakeLlm) -> None:
    """Whole or streamed, a client that leaves frees the engine."""
    make_llm("endless")
    served = await serve(load_models=("endless.mar",))
    path = "/predictions/endless/v1/completions"
    for is_streamed in (True, False):
        asking = asyncio.create_task(
            served.inference.post(path, json=text(model="endless", stream=is_streamed))
        )
        await turns(lambda: Endless.held)
        asking.cancel()
        await turns(lambda: not Endless.held)


async def test_gives_up_after_the_clients_timeout(serve: Serve, make_llm: MakeLlm) -> None:
    """`clientTimeoutInMills` bounds the whole request, as of any archive."""
    make_llm("endless", "clientTimeoutInMills: 50")
    served = await serve(load_models=("endless.mar",))
    body = text(model="endless")
    answer = await served.inference.post("/predictions/endless/v1/completions", json=body)

    assert (answer.status_code, answer.json()["type"]) == (408, "RequestTimeoutException")


async def test_is_refused_without_a_worker(serve: Serve, make_mar: MakeMar, tmp_path: Path) -> None:
    """In TorchServe's words; its names are told all the same."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "model.safetensors").write_bytes(b"")
    config = f"handler: {{model_path: {tmp_path / 'w'}}}"
    make_mar("llm.mar", "llm", config=config, handler="vllm_handler")
    served = await serve(default_workers_per_model=0)
    (await served.register("llm.mar", initial_workers=0)).raise_for_status()
    answer = await served.inference.post(TEXT, json=text(model="llm"))
    listed = await served.inference.get("/predictions/llm/v1/models")

    assert (answer.status_code, answer.json()["type"]) == (503, "ServiceUnavailableException")
    assert 'Model "llm" Version "1.0" has no worker' in answer.json()["message"]
    assert listed.json()["data"][0]["id"] == str(tmp_path / "w")


async def test_refuses_an_answer_that_is_too_large(serve: Serve, make_llm: MakeLlm) -> None:
    """As a handler's is, by `max_response_size`."""
    make_llm()
    served = await serve(load_models=("llm.mar",), max_response_size=300)
    small = await served.inference.post(TEXT, json=text(model="llm"))
    large = await served.inference.post(TEXT, json=text("word " * 90, model="llm"))

    assert small.status_code == 200
    assert (large.status_code, large.json()["message"]) == (500, "Worker died.")


async def test_asks_for_the_token(serve: Serve, make_llm: MakeLlm) -> None:
    """The one of the inference port, as the key of any client of OpenAI's."""
    make_llm()
    served = await serve(load_models=("llm.mar",), disable_token_authorization=False)
    key = json.loads(served.frontend.settings.key_file.read_text())["inference"]["key"]
    headers = {"Authorization": f"Bearer {key}"}
    refused = await served.inference.post(TEXT, json=text(model="llm"))
    taken = await served.inference.post(TEXT, json=text(model="llm"), headers=headers)

    assert (refused.status_code, taken.status_code) == (400, 200)


async def test_answers_while_others_are_being_loaded(serve: Serve, make_llm: MakeLlm) -> None:
    """As a handler does: each model of the start serves as soon as it can."""
    make_llm()
    served = await serve(load_models=("llm.mar",))
    served.frontend.service.is_started = False
    answer = await served.inference.post(TEXT, json=text(model="llm"))
    served.frontend.service.is_started = True

    assert answer.status_code == 200


async def test_is_registered_once(serve: Serve, make_llm: MakeLlm) -> None:
    """Twice at once, the second is refused."""
    make_llm()
    served = await serve()
    answers: list[httpx.Response] = await asyncio.gather(
        *(served.register("llm.mar") for _ in range(2))
    )

    assert sorted(each.status_code for each in answers) == [200, 409]


async def test_is_no_node_of_a_workflow_archive(serve: Serve, make_llm: MakeLlm) -> None:
    """Their nodes pass bytes, to which a language model has no answer."""
    make_llm()
    served = await serve()
    order = Order(url="llm.mar", name="w__llm", workflow="w")
    with pytest.raises(FrontendError, match="is a language model") as raised:
        await served.frontend.registration.register(order)

    assert raised.value.status == 400
