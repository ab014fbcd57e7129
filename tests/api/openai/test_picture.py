"""Pictures, over an engine that writes into them what it was asked."""

from __future__ import annotations

import base64
import io
import json

import httpx
import pytest
from api_fakes.conversation import Conversation
from api_fakes.documents import PAINTER, WRITER, Register
from api_fakes.engines import Endless
from api_fakes.turns import turns
from PIL import Image

from torchloom_api.edge import Edge


PATH = "/v1/images/generations"

Body = dict[str, object]


def ask(**more: object) -> Body:
    """Make the body of a call."""
    return {"model": "painter", "prompt": "a boat", **more}


def read_picture(picture: Body) -> tuple[tuple[int, int], Body]:
    """Give the size of a picture, and what was asked for it."""
    image = Image.open(io.BytesIO(base64.b64decode(str(picture["b64_json"]), validate=True)))
    assert image.format == "PNG"
    return image.size, json.loads(image.text["asked"])


async def test_draws_a_picture(client: httpx.AsyncClient, register: Register) -> None:
    """The answer has OpenAI's form, with the size that came out, and the seed beside it."""
    await register(PAINTER)
    answer = (await client.post(PATH, json=ask())).json()
    (picture,) = answer.pop("data")

    assert answer.pop("created") > 1_700_000_000
    assert answer == {"size": "4x2", "output_format": "png", "background": "opaque"}
    assert picture["seed"] == 7
    assert read_picture(picture) == ((4, 2), {"prompt": "a boat"})


async def test_draws_several_with_seeds_of_their_own(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Each is a task, of the same size, and the first has the seed that is asked for."""
    await register(PAINTER)
    given = {"negative_prompt": "fog", "num_steps": 3, "guidance": 1.5}
    body = ask(n=3, size="16x8", seed=-1, response_format="b64_json", **given)
    answer = (await client.post(PATH, json=body)).json()
    drawn = [read_picture(picture) for picture in answer["data"]]

    assert answer["size"] == "16x8"
    assert [size for size, _ in drawn] == [(16, 8)] * 3
    assert [picture["seed"] for picture in answer["data"]] == [2**63 - 1, 0, 1]
    assert drawn[1][1] == {"prompt": "a boat", "width": 16, "height": 8, "seed": 0, **given}


async def test_takes_what_asks_for_nothing(client: httpx.AsyncClient, register: Register) -> None:
    """Neutral values and unknown fields are no fault."""
    await register(PAINTER)
    neutral = {
        "size": "auto",
        "quality": "auto",
        "background": "opaque",
        "moderation": "low",
        "output_format": "png",
        "output_compression": 100,
        "stream": False,
        "style": None,
        "user": "me",
        "colour": "blue",
    }
    assert (await client.post(PATH, json=ask(**neutral))).status_code == 200


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"prompt": None}, "prompt", "invalid_value"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"prompt": ["a"]}, "prompt", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 11}, "n", "invalid_value"),
        ({"size": "large"}, "size", "invalid_value"),
        ({"size": "0x8"}, "size", "invalid_value"),
        ({"size": "8X8"}, "size", "invalid_value"),
        ({"size": "8x8 "}, "size", "invalid_value"),
        ({"size": "123456x8"}, "size", "invalid_value"),
        ({"size": 512}, "size", "invalid_value"),
        ({"seed": "x"}, "seed", "invalid_value"),
        ({"num_steps": 0}, "num_steps", "invalid_value"),
        ({"guidance": -1}, "guidance", None),
        ({"response_format": "url"}, "response_format", "unsupported_parameter"),
        ({"output_format": "webp"}, "output_format", "unsupported_parameter"),
        ({"quality": "hd"}, "quality", "unsupported_parameter"),
        ({"style": "vivid"}, "style", "unsupported_parameter"),
        ({"background": "transparent"}, "background", "unsupported_parameter"),
        ({"stream": True}, "stream", "unsupported_parameter"),
        ({"model": "writer"}, "model", "unsupported_model"),
    ],
)
async def test_refuses_a_bad_request(
    client: httpx.AsyncClient, register: Register, change: Body, param: str, code: str | None
) -> None:
    """400 in OpenAI's shape, that names the field."""
    await register(PAINTER, WRITER)
    response = await client.post(PATH, json={**ask(), **change})
    error = response.json()["error"]

    assert response.status_code == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param in error["message"]


async def test_needs_a_model_and_a_prompt(client: httpx.AsyncClient) -> None:
    """What is missing is named."""
    errors = [(await client.post(PATH, json=body)).json()["error"] for body in ({}, {"model": "x"})]
    assert [error["param"] for error in errors] == ["model", "prompt"]
    assert {error["code"] for error in errors} == {"missing_required_parameter"}


async def test_answers_what_the_model_refuses(
    client: httpx.AsyncClient, register: Register
) -> None:
    """A size that the model does not draw is a 400 in its words, and a failure a 500."""
    await register(PAINTER)
    refused = await client.post(PATH, json=ask(size="999x8", n=2))
    failed = await client.post(PATH, json=ask(prompt="fail"))

    assert refused.status_code == 400
    assert "draws multiples of 8" in refused.json()["error"]["message"]
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "task_failed")


async def test_cancels_every_task_of_a_client_that_leaves(edge: Edge, register: Register) -> None:
    """Leaving cancels each picture, down to the engine."""
    await register(PAINTER.replace("factory: painter", "factory: endless"))
    conversation = Conversation(edge, "POST", PATH, body=json.dumps(ask(n=2)).encode())
    await turns(lambda: len(Endless.held) == 2)
    conversation.leave()
    await conversation.end()
    await turns(lambda: not Endless.held)

    assert not conversation.is_complete
