"""The two calls that do the work, over ASGI, against the real core."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
from api_fakes.conversation import Conversation, read_events
from api_fakes.documents import ECHO, ENDLESS, SAY, STREAM, Register
from api_fakes.engines import PNG, Endless
from api_fakes.turns import turns

from torchloom.run import RunState
from torchloom_api.edge import Edge
from torchloom_api.service import Service


RUN = "/api/workflows/say/runs"
PREDICT = "/api/models/echo/predict"
AS_JSON = {"content-type": "application/json"}
AS_STREAM = {**AS_JSON, "accept": "text/event-stream"}

PICTURE = """
name: picture
inputs: {want: {type: string}}
nodes: {draw: {model: echo, inputs: {want: $inputs.want}}}
outputs: {image: $draw.value}
"""


class TestRunWorkflow:
    """`POST /api/workflows/{label}/runs`."""

    async def test_answers_with_outputs_and_timings(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """The answer holds outputs, the run's id, each node's timing and the critical path."""
        await register(ECHO, SAY)
        response = await client.post(RUN, json={"value": "hello"})
        answer = response.json()

        assert response.status_code == 200
        assert answer["outputs"] == {"said": "hello"}
        assert (answer["workflow"], answer["version"]) == ("say", 1)
        assert answer["timings"]["critical_path"] == ["first", "second"]
        assert answer["timings"]["nodes"]["first"]["num_tasks"] == 1
        assert response.headers["content-location"] == f"/api/runs/{answer['run']}"

    async def test_takes_a_version(self, client: httpx.AsyncClient, register: Register) -> None:
        """A label with a version runs that version."""
        await register(ECHO, SAY, SAY.replace("version: 1", "version: 2"))

        for version in (1, 2):
            path = f"/api/workflows/say@{version}/runs"
            answer = await client.post(path, json={"value": "x"})
            assert answer.json()["version"] == version

    async def test_takes_yaml(self, client: httpx.AsyncClient, register: Register) -> None:
        """Inputs may be written in YAML."""
        await register(ECHO, SAY)
        headers = {"content-type": "application/yaml"}
        response = await client.post(RUN, content="value: hi\n", headers=headers)

        assert response.json()["outputs"] == {"said": "hi"}

    async def test_takes_a_form(self, client: httpx.AsyncClient, register: Register) -> None:
        """Inputs may be a form's fields and files."""
        await register(ECHO, SAY)
        files = {"value": (None, "hi"), "times": (None, "2")}
        response = await client.post(RUN, files=files)

        assert response.json()["outputs"] == {"said": "hi"}

    async def test_streams_events_with_rising_ids(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """A client that accepts an event stream gets every event as it comes."""
        await register(STREAM)
        response = await client.post(
            "/api/workflows/stream/runs", json={"count": 2}, headers=AS_STREAM
        )
        events = read_events(response.content)

        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert [event[0] for event in events] == list(range(1, len(events) + 1))
        assert [event[1] for event in events] == [
            "run.started",
            "node.started",
            "node.chunk",
            "node.chunk",
            "node.finished",
            "run.finished",
        ]
        assert json.loads(events[2][2]) == {"node": "words", "text": "word0 "}
        assert json.loads(events[-1][2])["outputs"] == {"text": "word0 word1 "}

    async def test_leaves_a_run_in_the_background(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """A background run is answered at once, with the address where it can be followed."""
        await register(ECHO, SAY)
        response = await client.post(RUN + "?background=true", json={"value": "later"})
        place = response.headers["location"]
        await client.get(place + "/events")
        run = (await client.get(place)).json()

        assert response.status_code == 202
        assert place == f"/api/runs/{response.json()['run']}"
        assert (run["state"], run["outputs"], run["is_background"]) == (
            "done",
            {"said": "later"},
            True,
        )

    async def test_gives_a_picture_as_the_body(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """A client that accepts PNG gets the one picture, and base64 in JSON otherwise."""
        await register(ECHO, PICTURE)
        path = "/api/workflows/picture/runs"
        bare = await client.post(path, json={"want": "png"}, headers={"accept": "image/png"})
        wrapped = await client.post(path, json={"want": "png"})

        assert (bare.headers["content-type"], bare.content) == ("image/png", PNG)
        assert base64.b64decode(wrapped.json()["outputs"]["image"]) == PNG

    async def test_refuses_png_where_there_is_no_picture(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """Outputs without one picture have no PNG form."""
        await register(ECHO, PICTURE)
        response = await client.post(
            "/api/workflows/picture/runs", json={"want": "x"}, headers={"accept": "image/png"}
        )

        assert response.status_code == 406

    async def test_refuses_bad_inputs_with_pointers(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """Inputs are validated before a run exists: 422 with every fault."""
        await register(ECHO, SAY)
        response = await client.post(RUN, json={"valeu": "x", "times": 0})

        assert response.status_code == 422
        assert {error["pointer"] for error in response.json()["errors"]} == {
            "/valeu",
            "/value",
            "/times",
        }
        assert (await client.get("/api/runs")).json()["total"] == 0

    async def test_tells_a_nodes_failure(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """A node that fails gives the answer its status and names itself."""
        await register(ECHO, PICTURE)
        failed = await client.post("/api/workflows/picture/runs", json={"want": "fail"})
        refused = await client.post("/api/workflows/picture/runs", json={"want": "refuse"})

        assert (failed.status_code, failed.json()["type"]) == (500, "urn:torchloom:task-failed")
        assert "Node 'draw'" in failed.json()["detail"]
        assert refused.status_code == 422

    async def test_tells_that_an_output_has_no_json(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """What a model gives and JSON cannot hold is a failure with a reason."""
        await register(ECHO, PICTURE)
        response = await client.post("/api/workflows/picture/runs", json={"want": "object"})

        assert response.status_code == 500
        assert "object" in response.json()["detail"]

    async def test_knows_the_nearest_name(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """An unknown workflow or version is a 404 that helps."""
        await register(ECHO, SAY)
        unknown = await client.post("/api/workflows/sya/runs", json={})
        version = await client.post("/api/workflows/say@7/runs", json={})

        assert unknown.status_code == version.status_code == 404
        assert "Did you mean 'say'?" in unknown.json()["detail"]
        assert "no version 7" in version.json()["detail"]

    async def test_ends_a_run_at_its_deadline(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """`X-Request-Timeout` is the run's deadline: 504 when it passes."""
        await register(ENDLESS)
        response = await client.post(
            "/api/workflows/endless/runs", json={}, headers={"x-request-timeout": "0.05"}
        )

        assert response.status_code == 504

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-request-timeout": "soon"},
            {"x-request-timeout": "0"},
            {"x-request-timeout": "-1"},
            {"x-request-timeout": "nan"},
            {"x-request-timeout": "inf"},
            {"x-priority": "high"},
            {"x-priority": "101"},
            {"x-priority": "1.5"},
        ],
    )
    async def test_refuses_headers_that_make_no_sense(
        self, client: httpx.AsyncClient, register: Register, headers: dict[str, str]
    ) -> None:
        """A limit that cannot be read is a bad request, never ignored."""
        await register(ECHO, SAY)
        response = await client.post(RUN, json={"value": "x"}, headers=headers)

        assert response.status_code == 400

    async def test_refuses_a_switch_that_makes_no_sense(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """`background` is true or false."""
        await register(ECHO, SAY)
        response = await client.post(RUN + "?background=maybe", json={"value": "x"})

        assert response.status_code == 400

    async def test_hands_its_options_to_the_run(
        self, client: httpx.AsyncClient, register: Register, service: Service
    ) -> None:
        """Priority, deadline and trace of the request are the run's."""
        await register(ECHO, SAY)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        headers = {"x-priority": "-5", "x-request-timeout": "9", "traceparent": trace}
        await client.post(RUN, json={"value": "x"}, headers=headers)
        options = service.orchestrator.runs()[0].options

        assert (options.priority, options.timeout_s) == (-5, 9.0)
        assert "0af7651916cd43dd8448eb211c80319c" in (options.trace_parent or "")

    @pytest.mark.parametrize("headers", [AS_JSON, AS_STREAM])
    async def test_cancels_a_run_whose_client_leaves(
        self, edge: Edge, register: Register, service: Service, headers: dict[str, str]
    ) -> None:
        """A client that leaves cancels its run, down to the engine's next step."""
        await register(ENDLESS)
        talk = Conversation(
            edge, "POST", "/api/workflows/endless/runs", body=b"{}", headers=headers
        )
        await turns(lambda: Endless.held)
        if headers is AS_STREAM:
            await talk.until(b"node.chunk")
        talk.leave()
        await talk.end()
        run = service.orchestrator.runs()[0]
        await run.wait()
        await turns(lambda: not Endless.held)

        assert run.state is RunState.CANCELLED

    async def test_goes_on_with_a_background_run_whose_follower_leaves(
        self, edge: Edge, register: Register, service: Service
    ) -> None:
        """Whoever only follows a run may leave without ending it."""
        await register(ENDLESS)
        start = Conversation(
            edge,
            "POST",
            "/api/workflows/endless/runs",
            body=b"{}",
            headers=AS_JSON,
            query="background=1",
        )
        await start.end()
        run = service.orchestrator.runs()[0]
        follow = Conversation(edge, "GET", f"/api/runs/{run.id}/events")
        await follow.until(b"node.chunk")
        follow.leave()
        await follow.end()

        assert run.state is RunState.RUNNING
        run.cancel()
        await run.wait()

    async def test_works_in_any_spelling(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """A slash at the end leads to the same call, by way of Litestar."""
        await register(ECHO, SAY)
        response = await client.post(RUN + "/", json={"value": "x"})

        assert response.json()["outputs"] == {"said": "x"}
        assert response.headers["x-request-id"]
        assert len(response.headers.get_list("x-request-id")) == 1


class TestPredict:
    """`POST /api/models/{label}/predict`."""

    async def test_answers_with_outputs(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """One model is asked without a workflow, with inputs and params."""
        await register(ECHO)
        response = await client.post(PREDICT, json={"inputs": {"value": 1}, "params": {"p": 2}})

        assert response.json() == {
            "model": "echo",
            "version": 1,
            "outputs": {"value": 1, "params": {"p": 2}},
        }

    @pytest.mark.parametrize(
        ("want", "value"),
        [("array", [[0, 1, 2], [3, 4, 5]]), ("bytes", "AP8="), ("nan", [None, 1])],
    )
    async def test_writes_arrays_and_bytes(
        self, client: httpx.AsyncClient, register: Register, want: str, value: object
    ) -> None:
        """Arrays come as lists, bytes as base64, what is no number as null."""
        await register(ECHO)
        response = await client.post(PREDICT, json={"inputs": {"want": want}})

        assert response.json()["outputs"]["value"] == value

    async def test_gives_a_picture_as_the_body(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """A client that accepts PNG gets the one picture."""
        await register(ECHO)
        response = await client.post(
            PREDICT, json={"inputs": {"want": "png"}}, headers={"accept": "image/png"}
        )

        assert response.content == PNG

    async def test_streams_chunks(self, client: httpx.AsyncClient, register: Register) -> None:
        """A client that accepts an event stream gets chunks, then the outputs."""
        await register("name: streamer\nfactory: streamer")
        response = await client.post(
            "/api/models/streamer/predict", json={"inputs": {"count": 2}}, headers=AS_STREAM
        )

        assert read_events(response.content) == [
            (1, "predict.chunk", '{"text":"word0 "}'),
            (2, "predict.chunk", '{"text":"word1 "}'),
            (3, "predict.finished", '{"outputs":{"text":"word0 word1 "}}'),
        ]

    async def test_gives_a_stream_that_never_began_its_own_status(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """What fails before the first chunk is an answer like any other."""
        await register(ECHO)
        response = await client.post(
            PREDICT, json={"inputs": {"want": "refuse"}}, headers=AS_STREAM
        )

        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize("headers", [AS_JSON, AS_STREAM])
    async def test_cancels_a_call_whose_client_leaves(
        self, edge: Edge, register: Register, service: Service, headers: dict[str, str]
    ) -> None:
        """A client that leaves cancels the task, down to the engine's next step."""
        await register("name: endless\nfactory: endless")
        talk = Conversation(
            edge, "POST", "/api/models/endless/predict", body=b'{"inputs":{}}', headers=headers
        )
        await turns(lambda: Endless.held)
        talk.leave()
        await talk.end()
        await turns(lambda: not Endless.held)

        assert service.orchestrator.model("endless").replicas[0].in_flight == 0

    async def test_ends_a_call_at_its_deadline(
        self, client: httpx.AsyncClient, register: Register
    ) -> None:
        """`X-Request-Timeout` holds here too."""
        await register("name: endless\nfactory: endless")
        response = await client.post(
            "/api/models/endless/predict",
            json={"inputs": {}},
            headers={"x-request-timeout": "0.05"},
        )

        assert response.status_code == 504

    @pytest.mark.parametrize(
        "body", [{}, {"value": 1}, [], None, {"inputs": 3}, {"inputs": {}, "parms": {}}]
    )
    async def test_says_what_to_send(
        self, client: httpx.AsyncClient, register: Register, body: object
    ) -> None:
        """Anything but inputs and params is refused."""
        await register(ECHO)
        response = await client.post(PREDICT, content=json.dumps(body), headers=AS_JSON)

        assert response.status_code == 422

    async def test_refuses_when_the_queue_is_full(self, edge: Edge, register: Register) -> None:
        """Overload is refused at once: 503, and when to come back."""
        await register("name: tight\nfactory: endless\nqueue: 1")
        talks = [
            Conversation(
                edge, "POST", "/api/models/tight/predict", body=b'{"inputs":{}}', headers=AS_JSON
            )
            for _ in range(20)
        ]
        await turns(lambda: any(talk.status for talk in talks))
        refused = [talk for talk in talks if talk.status == 503]
        for talk in talks:
            talk.leave()
            await talk.end()

        assert refused
        assert int(refused[0].headers["retry-after"]) >= 1
        assert json.loads(refused[0].body)["retry_after_s"] > 0


class TestBodies:
    """What comes in the body, on both routes."""

    @pytest.mark.parametrize(
        ("body", "media_type", "status"),
        [
            (b"", "application/json", 400),
            (b"{", "application/json", 400),
            (b'{"value": NaN}', "application/json", 400),
            (b"\xff\xfe", "application/json", 400),
            (b"[" * 100_000, "application/json", 400),
            (b'{"value": "\\ud800"}', "application/json", 400),
            (b"value: [", "application/yaml", 400),
            (b"\xff", "application/yaml", 400),
            (b"a: &a [*a]", "application/yaml", 400),
            (b"value: !!python/object:os.system x", "application/yaml", 400),
            (b"x=1", "application/x-www-form-urlencoded", 415),
            (b"x", "image/png", 415),
            (b"", "multipart/form-data", 400),
            (b"--x\r\n", "multipart/form-data; boundary=x", 400),
            (b"garbage", "multipart/form-data; boundary=x", 400),
            (b"null", "application/json", 422),
            (b'"text"', "application/json", 422),
            (b'{"value": 1}', "application/vnd.api+json", 422),
        ],
    )
    async def test_refuses_what_it_cannot_read(
        self,
        client: httpx.AsyncClient,
        register: Register,
        body: bytes,
        media_type: str,
        status: int,
    ) -> None:
        """Malformed bodies and unknown types are told apart, and are never our fault."""
        await register(ECHO, SAY)
        for path in (RUN, PREDICT):
            headers = {"content-type": media_type}
            response = await client.post(path, content=body, headers=headers)

            assert response.status_code == status, response.text
            assert response.headers["content-type"] == "application/problem+json"

    async def test_refuses_a_body_that_is_too_large(
        self, edge: Edge, register: Register, service: Service
    ) -> None:
        """The limit holds for announced sizes and for those that come bit by bit."""
        await register(ECHO, SAY)
        limit = service.settings.max_body_bytes
        announced = Conversation(
            edge, "POST", RUN, headers={**AS_JSON, "content-length": str(limit + 1)}
        )
        await announced.end()
        crept = Conversation(edge, "POST", RUN, body=[b" " * (limit // 2)] * 3, headers={**AS_JSON})
        await crept.end()

        assert (announced.status, crept.status) == (413, 413)

    async def test_forgets_a_client_that_leaves_while_it_sends(
        self, edge: Edge, register: Register, service: Service
    ) -> None:
        """A body that breaks off begins no run and gets no answer."""
        await register(ECHO, SAY)
        talk = Conversation(edge, "POST", RUN, body=b'{"value":', headers=AS_JSON, is_cut=True)
        talk.leave()
        await talk.end()

        assert talk.status == 0
        assert service.orchestrator.runs() == []
