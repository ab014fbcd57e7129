"""TorchServe's inference port: paths, bodies, answers and errors; bytes where they count."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import httpx
import pytest
from api_fakes import handlers
from api_fakes.torchserve import MakeMar, Serve, Served, ids_of
from api_fakes.turns import turns

from torchloom_api.torchserve.frontend import Answered, Predicted


def ask(body: bytes = b"hi", path: str = "/predictions/noop", *headers: str) -> bytes:
    """Write a request whose connection is closed after the answer."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


async def test_answers_a_ping_whatever_follows(served: Served) -> None:
    """As TorchServe does; metrics, too."""
    ping = await served.inference.get("/ping/of/mine")
    metrics = await served.metrics.get("/metrics/of/mine")

    assert (ping.status_code, ping.json()) == (200, {"status": "Healthy"})
    assert metrics.status_code == 200


async def test_answers_a_ping(served: Served) -> None:
    """Any method will do."""
    for method in ("GET", "POST", "PATCH"):
        response = await served.inference.request(method, "/ping")
        assert response.status_code == 200
        assert response.content == b'{\n  "status": "Healthy"\n}\n'


async def test_gives_every_answer_the_same_headers(served: Served) -> None:
    """An id for each request, no caching, and a connection that stays."""
    answer = await served.inference.get("/ping")

    assert len(answer.headers["x-request-id"]) == 36
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["cache-control"] == "no-cache; no-store, must-revalidate, private"
    assert answer.headers["expires"] == "Thu, 01 Jan 1970 00:00:00 UTC"
    assert answer.headers["connection"] == "keep-alive"
    assert answer.headers["content-type"] == "application/json"


async def test_leaves_the_phrase_of_a_handlers_answer_empty(served: Served) -> None:
    """The status line ends in a blank, and nothing says what the content is."""
    head, _, _ = (await served.raw(ask())).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")

    assert lines[0] == b"HTTP/1.1 200 "
    names = [line.partition(b":")[0] for line in lines[1:]]
    assert names == [
        b"x-request-id",
        b"Pragma",
        b"Cache-Control",
        b"Expires",
        b"content-length",
        b"connection",
    ]


async def test_says_the_phrase_that_a_handler_has_set(served: Served) -> None:
    """Its own words stand behind the status."""
    answer = await served.raw(ask(b"", "/predictions/noop", "do: phrase all is well"))

    assert answer.startswith(b"HTTP/1.1 200 all is well\r\n")


async def test_lets_no_phrase_end_its_line(served: Served) -> None:
    """A handler that gives on what a client has said cannot be made to write headers, or more."""
    answer = await served.raw(ask(b"", "/predictions/noop", "do: split"))
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 fine  Evil: yes    HTTP/1.1 200 \r\n")
    assert body == b"said"


async def test_answers_requests_that_come_together_in_their_order(served: Served) -> None:
    """One after the other, on one connection; the last one says that it closes."""
    requests = [
        ask(b"", "/predictions/noop", f"do: phrase {number}").replace(b"close", b"keep-alive")
        for number in range(3)
    ]
    answer = await served.raw(b"".join(requests) + ask(b"", "/predictions/noop", "do: phrase 3"))

    assert re.findall(rb"HTTP/1.1 200 (\d)\r\n", answer) == [b"0", b"1", b"2", b"3"]
    assert answer.count(b"connection: keep-alive") == 3
    assert answer.count(b"connection: close") == 1


async def test_tells_the_length_alone_of_what_is_asked_by_head(served: Served) -> None:
    """HEAD is answered as any other method, without the body."""
    answer = await served.raw(ask(b"", "/ping").replace(b"POST", b"HEAD"))
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert int(re.search(rb"content-length: (\d+)", head)[1]) > 0
    assert body == b""


async def test_asks_a_client_that_waits_for_leave_to_go_on(served: Served) -> None:
    """`Expect: 100-continue` is answered before the body has come."""
    request = ask(b"1234", "/predictions/noop", "do: phrase well", "Expect: 100-continue")
    head, blank, body = request.partition(b"\r\n\r\n")
    place = urlsplit(served.urls["inference"])
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(head + blank)
    leave = await reader.readuntil(b"\r\n\r\n")
    writer.write(body)
    answer = await reader.read()
    writer.close()

    assert leave.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 well\r\n")


async def test_gives_leave_before_it_answers(served: Served) -> None:
    """Also to a client that has not waited for it, and whose answer is there at once."""
    answer = await served.raw(ask(b"1234", "/ping", "Expect: 100-continue"))

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"100", b"200"]


async def test_closes_where_it_has_given_no_leave(serve: Serve) -> None:
    """The body may come all the same: nobody could tell it from the next request."""
    served = await serve(max_request_size=3)
    request = ask(b"", "/ping", "Expect: 100-continue").replace(b"close", b"keep-alive")
    answer = await served.raw(request.replace(b"Length: 0", b"Length: 4"))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_takes_a_body_that_comes_in_pieces(served: Served) -> None:
    """What is not there with its head is waited for."""
    request = ask(b"x" * 200_000, "/predictions/noop", "do: phrase well")
    place = urlsplit(served.urls["inference"])
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    for start in range(0, len(request), 50_000):
        writer.write(request[start : start + 50_000])
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 200 well\r\n")


async def test_refuses_a_stream_whose_first_part_is_too_large(
    serve: Serve, make_mar: MakeMar
) -> None:
    """No answer has begun, so that it can be said; the work is given up."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), max_response_size=1000)
    answer = await served.inference.post("/predictions/noop", headers={"do": "endless 1000"})

    assert (answer.status_code, answer.json()["message"]) == (500, "Worker died.")
    await turns(handlers.cancelled.is_set)


async def test_says_phrases_of_its_own_answers(served: Served) -> None:
    """Those are the usual ones."""
    assert (await served.raw(ask(b"", "/ping"))).startswith(b"HTTP/1.1 200 OK\r\n")
    missing = await served.raw(ask(b"", "/predictions/none"))
    assert missing.startswith(b"HTTP/1.1 404 Not Found\r\n")


async def test_closes_the_connection_after_an_error(served: Served) -> None:
    """Also where it is the handler who has chosen the status, whose body is kept."""
    request = (
        b"POST /predictions/noop HTTP/1.1\r\nHost: x\r\ndo: status 418\r\nContent-Length: 0\r\n\r\n"
    )
    answer = await served.raw(request)

    assert answer.startswith(b"HTTP/1.1 418 \r\n")
    assert b"connection: close" in answer
    assert answer.endswith(b"\r\n\r\nteapot")


async def test_keeps_the_connection_of_an_old_client_that_asks_for_it(served: Served) -> None:
    """HTTP/1.0 ends it otherwise, and so do an error and a stream: `ab -k` counts on it."""

    def old(*lines: str) -> bytes:
        head = ("POST /predictions/noop HTTP/1.0", "Content-Length: 0", *lines, "", "")
        return "\r\n".join(head).encode()

    stay = "Connection: Keep-Alive"
    both = await served.raw(old(stay) + old())
    assert both.count(b"HTTP/1.1 200 ") == 2
    assert both.count(b"connection: keep-alive\r\n") == both.count(b"connection: close\r\n") == 1
    for deed in ("do: stream 1", "do: raise", "do: status 418"):
        answer = await served.raw(old(stay, deed) + old())
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in answer


async def test_keeps_headers_of_a_handler_in_its_spelling(served: Served) -> None:
    """Not those that would cut the answer in two, nor those that are the server's to say."""
    answer = await served.raw(ask(b"", "/predictions/noop", "do: headers"))

    assert b"\r\nX-Own: yes\r\n" in answer
    assert b"content-type: text/plain\r\n" in answer
    assert b"x-bad" not in answer
    assert answer.count(b"content-length") == 1
    assert answer.endswith(b"\r\n\r\nhello")


async def test_tells_handlers_headers_as_the_client_spelled_them(served: Served) -> None:
    """Handlers look them up by the exact name."""
    answer = await served.raw(ask(b"", "/predictions/noop", "X-MiXed: One"))

    assert b'"X-MiXed": "One"' in answer


async def test_tells_handlers_no_trailer(served: Served) -> None:
    """What comes after a body is no header of the request."""
    head = b"POST /predictions/noop HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close"
    answer = await served.raw(head + b"\r\n\r\n2\r\nhi\r\n0\r\nX-Late: yes\r\n\r\n")

    assert b"200" in answer
    assert b"X-Late" not in answer


@pytest.mark.parametrize(
    ("head", "body", "told"),
    [
        ("", b"", '"content-length": "0"'),
        ("Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n", '"content-length": "3"'),
        ("Content-Length: 3\r\n", b"abc", '"Content-Length": "3"'),
    ],
)
async def test_tells_how_long_a_body_is(served: Served, head: str, body: bytes, told: str) -> None:
    """Also where the client has not."""
    request = f"POST /predictions/noop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n"
    answer = (await served.raw(request.encode() + body)).decode()

    assert told in answer
    assert "Transfer-Encoding" not in answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize(("status", "length"), [(204, None), (205, "0"), (304, None)])
async def test_sends_no_body_where_a_status_has_none(
    served: Served, status: int, length: str | None
) -> None:
    """What the handler gave is left out, and the connection goes on."""
    for _ in range(2):
        answer = await served.inference.post(
            "/predictions/noop", headers={"do": f"status {status}"}
        )

        assert answer.status_code == status
        assert answer.content == b""
        assert answer.headers.get("content-length") == length


@pytest.mark.parametrize(
    ("content_type", "body", "seen"),
    [
        ("application/json", '{"a": [1]}', ["value", {"a": [1]}]),
        ("application/json; charset=utf-8", "3", ["value", 3]),
        ("application/json", "{no", ["bytes", "{no"]),
        ("application/json", "\ufeff{}", ["bytes", "\ufeff{}"]),
        ("application/json", "1" * 30, ["bytes", "1" * 30]),
        ("application/json", '["' + "1" * 30 + '"]', ["value", ["1" * 30]]),
        ("application/json", "0.1234567890123456789012", ["value", 0.12345678901234568]),
        ("application/json", '"\\ud800"', ["bytes", '"\\ud800"']),
        ("application/json", '"\\ud83d\\ude00"', ["value", "😀"]),
        ("application/json", "[Infinity, 1e999]", ["value", [float("inf")] * 2]),
        ("application/json", '{"a": 1, "a": 2}', ["value", {"a": 2}]),
        ("application/json", "[" * 100_000, ["bytes", "[" * 100_000]),
        ("text/plain", "hello", ["value", "hello"]),
        ("application/octet-stream", "raw", ["bytes", "raw"]),
        ("", "raw", ["bytes", "raw"]),
    ],
)
async def test_reads_bodies_by_their_type(
    served: Served, content_type: str, body: str, seen: object
) -> None:
    """JSON and text are read, what cannot be is left as it came."""
    headers = {"content-type": content_type} if content_type else {}
    answer = await served.inference.post(
        "/predictions/noop", content=body.encode(), headers=headers
    )
    told = answer.json()

    assert told["inputs"] == {"body": seen}
    assert told["params"]["content_types"] == {"body": content_type.partition(";")[0]}


async def test_leaves_bodies_alone_where_it_is_told_to(serve: Serve, make_mar: MakeMar) -> None:
    """`decode_input_request=false` gives bytes."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), decode_input_request=False)
    answer = await served.inference.post("/predictions/noop", json={"a": 1})

    assert answer.json()["inputs"] == {"body": ["bytes", '{"a":1}']}


async def test_reads_multipart_forms(served: Served) -> None:
    """Fields are bytes, files what they say that they are; of one name, the last counts."""
    files = [
        ("data", (None, b"first")),
        ("data", (None, b'{"a": 1}', "application/json")),
        ("file", ("a.json", b'{"a": 1}', "application/json")),
        ("raw", ("a.bin", b"x", "application/octet-stream")),
    ]
    answer = (await served.inference.post("/predictions/noop", files=files)).json()

    assert answer["inputs"] == {
        "data": ["bytes", '{"a": 1}'],
        "file": ["value", {"a": 1}],
        "raw": ["bytes", "x"],
    }
    assert answer["params"]["content_types"] == {
        "data": "",
        "file": "application/json",
        "raw": "application/octet-stream",
    }


async def test_reads_urlencoded_forms(served: Served) -> None:
    """Fields are bytes."""
    answer = await served.inference.post("/predictions/noop", data={"a": "1", "b": ""})

    assert answer.json()["inputs"] == {"a": ["bytes", "1"], "b": ["bytes", ""]}


async def test_refuses_a_broken_form(served: Served) -> None:
    """It says what is wrong."""
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await served.inference.post("/predictions/noop", content=b"no", headers=headers)

    assert answer.status_code == 400
    assert answer.json()["type"] == "BadRequestException"


async def test_drops_the_query_of_predictions(served: Served) -> None:
    """As TorchServe does; other paths give it to the handler."""
    plain = await served.inference.post("/predictions/noop?a=1", content=b"x")
    legacy = await served.inference.post("/noop/predict?a=1&a=2", content=b"x")

    assert plain.json()["inputs"] == {"body": ["bytes", "x"]}
    assert legacy.json()["inputs"] == {"a": ["bytes", "2"], "body": ["bytes", "x"]}


async def test_gives_the_query_to_handlers_where_it_is_asked_to(
    serve: Serve, make_mar: MakeMar
) -> None:
    """The switch is ours."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), query_to_handlers=True)
    answer = await served.inference.get("/predictions/noop?a=1")

    assert answer.json()["inputs"]["a"] == ["bytes", "1"]


@pytest.mark.parametrize(
    ("path", "is_explain", "url_path"),
    [
        ("/predictions/noop", False, ""),
        ("/predictions/noop/", False, ""),
        ("/predictions/noop/1.0", False, ""),
        ("/predictions/noop/1.0/v1/chat/completions", False, "v1/chat/completions"),
        ("/explanations/noop", True, ""),
        ("/explanations/noop/1.0", True, ""),
        ("/invocations", None, None),
        ("/invocations?model_name=noop", None, None),
        ("/models/noop/invoke", None, None),
        ("/noop/predict", None, None),
        ("/noop/1.0/predict", None, None),
        ("/v1/models/noop:predict", False, None),
        ("/v1/models/noop:explain", True, None),
        ("/v2/models/noop/infer", False, None),
        ("/v2/models/noop/explain", True, None),
    ],
)
async def test_knows_every_path_to_a_model(
    served: Served, path: str, is_explain: object, url_path: str | None
) -> None:
    """By any method; handlers are told no more than TorchServe tells them on each."""
    for method in ("GET", "POST", "PUT"):
        answer = await served.inference.request(method, path)
        told = answer.json()

        assert answer.status_code == 200
        assert told["model"] == ["noop", "1.0"]
        told["params"].pop("headers")
        told["params"].pop("content_types")
        assert told["params"] == {"is_explain": is_explain, "url_path": url_path}


async def test_invokes_the_model_that_a_form_names(served: Served) -> None:
    """SageMaker's route looks into the query first, then into the form."""
    answer = await served.inference.post("/invocations", data={"model_name": "noop"})

    assert answer.json()["model"] == ["noop", "1.0"]


async def test_asks_for_a_name_where_there_are_two_models(serve: Serve, make_mar: MakeMar) -> None:
    """Which one is meant would be a guess."""
    make_mar("a.mar", "a")
    make_mar("b.mar", "b")
    served = await serve(load_models=("all",))
    answer = await served.inference.post("/invocations")

    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "type": "BadRequestException",
        "message": "Parameter model_name is required.",
    }


ERRORS = [
    ("/predictions/none", "", 404, "ModelNotFoundException", "Model not found: none"),
    (
        "/predictions/noop/9",
        "",
        404,
        "ModelVersionNotFoundException",
        "Model version: 9 does not exist for model: noop",
    ),
    (
        "/predictions",
        "",
        404,
        "ResourceNotFoundException",
        "Requested resource is not found, please refer to API document.",
    ),
    (
        "/",
        "",
        405,
        "MethodNotAllowedException",
        "Requested method is not allowed, please refer to API document.",
    ),
    ("/predictions/noop", "raise", 503, "InternalServerException", "Prediction failed"),
    ("/predictions/noop", "plain-failure", 503, "InternalServerException", "Prediction failed"),
    ("/predictions/noop", "memory", 507, "InternalServerException", "Out of resources"),
    ("/predictions/noop", "own 404", 404, "InternalServerException", "I am short and stout"),
    ("/predictions/noop", "own 500", 500, "InternalServerException", "I am short and stout"),
    ("/predictions/noop", "body 2000", 500, "InternalServerException", "Worker died."),
]


async def test_gives_up_a_coroutine_that_tells_nothing(serve: Serve, make_mar: MakeMar) -> None:
    """Of `asyncCommunication`: it alone, for its worker works on for others."""
    make_mar("noop.mar", config="asyncCommunication: true\nresponseTimeout: 1\n")
    served = await serve(load_models=("noop.mar",))
    lost = await served.inference.post("/predictions/noop", headers={"do": "forget"})
    streamed = await served.inference.post("/predictions/noop", headers={"do": "stream 2"})

    assert (lost.status_code, lost.json()["message"]) == (500, "Worker died.")
    assert streamed.content == b"part 0;part 1;last"


async def test_queues_nothing_where_each_request_needs_a_ticket(
    serve: Serve, make_mar: MakeMar
) -> None:
    """`useJobTicket`: whom no worker waits for is refused at once."""
    make_mar("noop.mar", config="useJobTicket: true\n")
    served = await serve(load_models=("noop.mar",))
    orchestrator = served.frontend.service.orchestrator
    hanging = asyncio.create_task(
        served.inference.post("/predictions/noop", headers={"do": "hang"})
    )
    while not orchestrator.model("noop").replicas[0].in_flight:  # noqa: ASYNC110 - a thread
        await asyncio.sleep(0)
    refused = await served.inference.post("/predictions/noop")
    handlers.release.set()
    first = await hanging
    after = await served.inference.post("/predictions/noop")

    assert refused.status_code == 503
    assert 'Model "noop" has no worker to serve' in refused.json()["message"]
    assert (first.status_code, after.status_code) == (200, 200)


@pytest.mark.parametrize(("path", "do", "status", "kind", "message"), ERRORS)
async def test_tells_what_went_wrong_in_torchserves_words(
    serve: Serve, make_mar: MakeMar, path: str, do: str, status: int, kind: str, message: str
) -> None:
    """Code, type and message; and the connection is closed."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), max_response_size=1000)
    answer = await served.inference.post(path, headers={"do": do} if do else {})

    assert answer.status_code == status
    assert answer.json() == {"code": status, "type": kind, "message": message}
    assert answer.headers["connection"] == "close"


NO_WORKER = (
    'Model "noop" has no worker to serve inference request. Please use scale workers API to add '
    "workers. If this is a sequence inference, please check if it is closed, or expired; or "
    "exceeds maxSequenceJobQueueSize"
)


async def test_says_where_a_model_has_no_worker(served: Served) -> None:
    """A model without workers is there, and answers nobody."""
    await served.management.put("/models/noop?min_worker=0&synchronous=true")
    plain = await served.inference.post("/predictions/noop")
    versioned = await served.inference.post("/predictions/noop/1.0")

    assert (plain.status_code, plain.json()["message"]) == (503, NO_WORKER)
    assert plain.json()["type"] == "ServiceUnavailableException"
    assert versioned.json()["message"].startswith('Model "noop" Version "1.0" has no worker')


@pytest.mark.parametrize(("switch", "status"), [(False, 503), (True, 429)])
async def test_refuses_more_than_the_queue_holds(
    serve: Serve, make_mar: MakeMar, *, switch: bool, status: int
) -> None:
    """At once, by TorchServe's 503 or, where it is asked to, by 429 and when to come back."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), job_queue_size=1, queue_full_429=switch)
    asked = [
        asyncio.create_task(served.inference.get("/predictions/noop", headers={"do": "hang"}))
        for _ in range(6)
    ]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    handlers.release.set()
    answers = await asyncio.gather(*asked)
    refused = [each for each in answers if each.status_code != 200]

    assert {each.status_code for each in refused} == {status}
    assert all(("retry-after" in each.headers) is switch for each in refused)
    assert len(refused) < len(answers)


async def test_refuses_a_body_that_is_too_large(serve: Serve) -> None:
    """A status line and a length of nothing: no JSON, no id."""
    served = await serve(max_request_size=10)
    answer = await served.raw(ask(b"x" * 11, "/ping"))

    assert answer == (
        b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )


async def test_refuses_a_body_that_is_too_large_to_a_client_that_sends_it_all(
    serve: Serve,
) -> None:
    """Python's own client closes each connection, and looks for an answer when all is sent."""
    served = await serve()
    url = served.urls["inference"] + "/predictions/noop"

    def send() -> int:
        with pytest.raises(HTTPError) as raised:
            urlopen(url, data=bytes(20_000_000), timeout=30)
        with raised.value as answer:
            return answer.code

    assert await asyncio.to_thread(send) == 413


async def test_refuses_what_is_no_http(served: Served) -> None:
    """In TorchServe's shape."""
    answer = await served.raw(b"NONSENSE\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "HTTP/1.1 400 Bad Request"
    assert [line.partition(":")[0] for line in lines] == [
        "content-type",
        "x-request-id",
        "Pragma",
        "Cache-Control",
        "Expires",
        "content-length",
        "connection",
    ]
    assert json.loads(body)["message"] == "Invalid HTTP message."


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /ping HTTP/1.1\nHost: x\nConnection: close\n\n",
        b"GET /ping HTTP/1.0\n\n\n",
        b"\nGET /ping HTTP/1.0\n\n",
    ],
)
async def test_answers_probes_that_shells_write(served: Served, asked: bytes) -> None:
    """Their lines end without a return, as TorchServe takes them."""
    assert (await served.raw(asked)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "asked",
    [
        b"POST /predictions/noop HTTP/1.1\nContent-Length: 4\n\na\n\n\n",
        b"POST /predictions/noop HTTP/1.1\nContent-Length: 4\n\n",
        b"GET /ping HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /ping HTTP/1.1\nNONSENSE\n\n",
        b"NONSENSE\n",
        b"GET /ping HTTP/1.1\nX: " + bytes(5000),
    ],
)
async def test_reads_bare_lines_of_whole_heads_alone(served: Served, asked: bytes) -> None:
    """Where a body may follow, or lines are mixed, what is meant is not guessed at."""
    assert (await served.raw(asked)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_streams_parts_as_they_come(served: Served) -> None:
    """The head says that more follows; the last part is what the handler has returned."""
    answer = await served.raw(ask(b"", "/predictions/noop", "do: stream 2"))
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 \r\n")
    assert b"\r\nts_stream_next: true\r\n" in head
    assert b"\r\nx-own: yes\r\n" in head
    assert b"transfer-encoding: chunked" in head
    assert body == b"7\r\npart 0;\r\n7\r\npart 1;\r\n4\r\nlast\r\n0\r\n\r\n"


async def test_streams_to_clients_of_http_1_0(served: Served) -> None:
    """In chunks all the same."""
    request = b"POST /predictions/noop HTTP/1.0\r\ndo: stream 1\r\nContent-Length: 0\r\n\r\n"

    assert (await served.raw(request)).endswith(b"7\r\npart 0;\r\n4\r\nlast\r\n0\r\n\r\n")


async def test_cuts_a_stream_that_fails(served: Served) -> None:
    """The status cannot be taken back: the client sees that the end is missing."""
    with pytest.raises(httpx.RemoteProtocolError):
        await served.inference.get("/predictions/noop", headers={"do": "break 1"})


async def test_cancels_what_a_client_has_left(served: Served) -> None:
    """A handler does not work on for nobody."""
    async with served.inference.stream(
        "GET", "/predictions/noop", headers={"do": "endless"}
    ) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_raw():
            break
    assert await asyncio.to_thread(handlers.cancelled.wait, 10)


async def test_is_unhealthy_without_its_workers(served: Served) -> None:
    """A worker that is gone for good is told of."""
    orchestrator = served.frontend.service.orchestrator
    (status,) = orchestrator.models()
    name, version = status.deployment.name, status.deployment.version
    from torchloom.policy import ReplicaPolicy  # noqa: PLC0415 - only here

    await orchestrator.scale_model(name, version, replicas=ReplicaPolicy(min=0, max=0))
    answer = await served.inference.get("/ping")

    assert (answer.status_code, answer.json()) == (500, {"status": "Unhealthy"})


async def test_describes_itself(served: Served) -> None:
    """At the root by OPTIONS, and where AWS asks for it."""
    root = await served.inference.options("/")
    aws = await served.inference.get("/api-description")
    model = await served.inference.options("/predictions/noop")
    explained = await served.inference.options("/explanations/noop/1.0")

    assert root.json() == aws.json()
    assert (root.json()["openapi"], root.json()["info"]["title"]) == ("3.0.1", "TorchServe APIs")
    assert ids_of(root.json()) == {
        "options /": "apiDescription",
        "get /ping": "ping",
        "post /v1/models/{model_name}:predict": "predictions",
        "post /v2/models/{model_name}/infer": "predictions",
        "post /predictions/{model_name}": "predictions",
        "post /predictions/{model_name}/{model_version}": "version_predictions",
        "get /api-description": "api-description",
        "get /metrics": "metrics",
    }
    assert model.json() == explained.json()
    assert model.json()["info"] == {"title": "RESTful API for: noop", "version": "1.0.0"}
    assert ids_of(model.json()) == {
        "post /prediction/noop": "noop",
        "post /v1/models/{model_name}:predict": "noop",
        "post /v2/models/{model_name}/infer": "noop",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/predictions/noop/1.0",
        "/invocations",
        "/invocations?model_name=noop",
        "/models/noop/invoke",
        "/noop/predict",
        "/v1/models/noop:predict",
        "/v2/models/noop/infer",
    ],
)
async def test_describes_a_model_on_every_path_that_asks_it(served: Served, path: str) -> None:
    """By OPTIONS, and its handler is not asked; what is not there is 404, versions too."""
    described = await served.inference.options(path)
    unknown = await served.inference.options(path.replace("noop", "none"))
    asked = await served.inference.post(path, content=b"hi")

    assert described.json()["info"]["title"] == "RESTful API for: noop"
    assert described.headers["content-type"] == "application/json"
    assert unknown.status_code == (404 if "noop" in path else 200)
    assert "openapi" not in asked.text


async def test_describes_no_version_that_is_not_there(served: Served) -> None:
    """Whatever there is under the model's name."""
    answer = await served.inference.options("/predictions/noop/9.9")

    assert answer.status_code == 404
    assert answer.json()["message"] == "Model version: 9.9 does not exist for model: noop"


async def test_speaks_the_open_inference_protocol_where_it_is_on(serve: Serve) -> None:
    """With its misspelled key, which is on the wire."""
    served = await serve(ts_open_inference_protocol=True)

    async def get(path: str) -> object:
        return (await served.inference.get(path)).json()

    assert await get("/v2") == {
        "name": "Torchserve",
        "version": "0.12.0",
        "extenstion": ["kserve", "kubeflow"],
    }
    assert await get("/v2/health/ready") == {"ready": True}
    assert await get("/v2/health/live") == {"live": True}
    versions = await served.inference.get("/v2/models/m/versions/1/infer")
    assert versions.status_code == 501
    assert versions.json() == {"error": "Model versioning is not yet supported."}


async def test_does_not_speak_it_otherwise(served: Served) -> None:
    """The paths are none."""
    for path in ("/v2", "/v2/health/ready", "/v2/models/noop", "/v2/models/noop/ready"):
        assert (await served.inference.get(path)).status_code == 404


async def test_adds_cors_headers_to_everything(serve: Serve) -> None:
    """Where the operator has set them."""
    served = await serve(
        cors_allowed_origin="*", cors_allowed_methods="GET, POST", cors_allowed_headers="X-A"
    )
    for path in ("/ping", "/none"):
        headers = (await served.inference.get(path)).headers
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-allow-methods"] == "GET, POST"
        assert headers["access-control-allow-headers"] == "X-A"


async def test_answers_natively_beside_it(served: Served) -> None:
    """The same models, by the native API."""
    listed = await served.inference.get("/api/models")
    (model,) = listed.json()["items"]
    asked = await served.inference.post(
        "/api/models/noop/predict", json={"inputs": {"body": "hello"}}
    )

    assert (model["name"], model["version"], model["kind"]) == ("noop", 1, "handler")
    assert asked.status_code == 200


async def test_tells_those_who_watch(served: Served) -> None:
    """Logs and metrics have their seam."""
    answered: list[Answered] = []
    predicted: list[Predicted] = []
    served.frontend.on_answered.append(answered.append)
    served.frontend.on_predicted.append(predicted.extend)
    await served.inference.get("/predictions/noop?a=1", headers={"do": "raise"})
    await served.inference.get("/api/models?x=1")
    one, native = answered
    (two,) = predicted

    assert isinstance(one, Answered)
    assert (one.method, one.uri, one.status) == ("GET", "/predictions/noop?a=1", 503)
    assert (one.is_native, native.is_native) == (False, True)
    assert (native.uri, native.status, native.client[:10]) == ("/api/models?x=1", 200, "127.0.0.1:")
    assert (two.model, two.version, two.status) == ("noop", None, 503)


async def test_tells_those_who_watch_of_streams_that_break_off(served: Served) -> None:
    """They have begun, with their status: the access log has a line of each."""
    answered: list[Answered] = []
    served.frontend.on_answered.append(answered.append)
    with pytest.raises(httpx.RemoteProtocolError):
        await served.inference.get("/predictions/noop", headers={"do": "break 1"})
    async with served.inference.stream(
        "GET", "/predictions/noop?left", headers={"do": "endless"}
    ) as answer:
        async for _ in answer.aiter_raw():
            break
    await turns(lambda: len(answered) == 2)

    assert [(each.uri, each.status) for each in answered] == [
        ("/predictions/noop", 200),
        ("/predictions/noop?left", 200),
    ]
