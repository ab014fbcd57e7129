"""The service of the management port over real sockets, with engines in threads."""

from __future__ import annotations

import json

import pytest
from api_fakes.grpc_client import Client
from api_fakes.torchserve import MakeMar, Serve, Served
from google.protobuf.message import Message

from torchloom_api.grpc.proto import torchserve_management_pb2 as messages

from .conftest import Connect


_MODEL = "org.pytorch.serve.archive.model"
_HTTP = "org.pytorch.serve.http"

Describe = messages.DescribeModelRequest
Register = messages.RegisterModelRequest
Scale = messages.ScaleWorkerRequest
SetDefault = messages.SetDefaultRequest
Unregister = messages.UnregisterModelRequest


@pytest.fixture
def manager(served: Served, connect: Connect) -> Client:
    """Give a client of the management service of a server that has a model `noop`."""
    return connect(served, "management")


async def _say(manager: Client, method: str, request: Message) -> str:
    text: str = (await manager.call(method, request)).msg
    return text


async def test_lists_as_http_does(manager: Client, served: Served, make_mar: MakeMar) -> None:
    """By pages; where no limit is said, up to a hundred."""
    make_mar("other.mar", "other")
    await served.register("other.mar")
    whole = await _say(manager, "ListModels", messages.ListModelsRequest())
    page = await _say(manager, "ListModels", messages.ListModelsRequest(limit=1))
    rest = messages.ListModelsRequest(limit=1, next_page_token=1)

    assert whole + "\n" == (await served.management.get("/models")).text
    assert json.loads(page)["nextPageToken"] == "1"
    (model,) = json.loads(await _say(manager, "ListModels", rest))["models"]
    assert model == {"modelName": "other", "modelUrl": "other.mar"}


async def test_describes_as_http_does(manager: Client, served: Served) -> None:
    """The default version, one, or all; what the handler says too, if that is asked."""
    http = (await served.management.get("/models/noop")).text
    for version in ("", "1.0", "all"):
        request = Describe(model_name="noop", model_version=version)
        assert await _say(manager, "DescribeModel", request) + "\n" == http
    customized = Describe(model_name="noop", customized=True)

    (shown,) = json.loads(await _say(manager, "DescribeModel", customized))
    assert shown["customizedMetadata"] == {}


async def test_registers_scales_chooses_and_removes(
    manager: Client, served: Served, make_mar: MakeMar
) -> None:
    """What it says is HTTP's text alone; what a message leaves at zero is not said."""
    make_mar("one.mar", "two")
    make_mar("two.mar", "two", version="2.0")
    first = Register(
        url="one.mar", initial_workers=1, synchronous=True, batch_size=2, response_timeout=33
    )
    said = [
        await _say(manager, "RegisterModel", first),
        await _say(manager, "RegisterModel", Register(url="two.mar", synchronous=True)),
        await _say(
            manager,
            "ScaleWorker",
            Scale(
                model_name="two", model_version="1.0", min_worker=2, max_worker=2, synchronous=True
            ),
        ),
        await _say(manager, "ScaleWorker", Scale(model_name="two", min_worker=1, max_worker=1)),
        await _say(manager, "SetDefault", SetDefault(model_name="two", model_version="2.0")),
        await _say(manager, "UnregisterModel", Unregister(model_name="two", model_version="1.0")),
    ]
    (shown,) = (await served.management.get("/models/two/all")).json()

    assert said == [
        'Model "two" Version: 1.0 registered with 1 initial workers',
        'Model "two" Version: 2.0 registered with 1 initial workers',
        "Workers scaled to 2 for model: two, version: 1.0",
        "Processing worker updates...",
        'Default version successfully updated for model "two" to "2.0"',
        'Model "two" unregistered',
    ]
    assert (shown["modelVersion"], shown["batchSize"]) == ("2.0", 1)


async def test_waits_for_no_workers_unless_it_is_told_to(
    manager: Client, make_mar: MakeMar
) -> None:
    """The message's default is not that of HTTP."""
    make_mar("other.mar", "other")
    request = Register(url="other.mar", initial_workers=1)

    assert await _say(manager, "RegisterModel", request) == "Processing worker updates..."


@pytest.mark.parametrize(
    ("method", "request_", "code", "details"),
    [
        (
            "DescribeModel",
            Describe(model_name="zz"),
            "NOT_FOUND",
            f"Model not found: zz\n{_MODEL}.ModelNotFoundException",
        ),
        (
            "DescribeModel",
            Describe(),
            "NOT_FOUND",
            f"Model not found: \n{_MODEL}.ModelNotFoundException",
        ),
        (
            "DescribeModel",
            Describe(model_name="noop", model_version="9"),
            "NOT_FOUND",
            (
                "Model version: 9 does not exist for model: noop\n"
                f"{_MODEL}.ModelVersionNotFoundException"
            ),
        ),
        (
            "RegisterModel",
            Register(),
            "INVALID_ARGUMENT",
            f"Parameter url is required.\n{_HTTP}.BadRequestException",
        ),
        (
            "RegisterModel",
            Register(url="zz.mar"),
            "NOT_FOUND",
            f"Model not found at: zz.mar\n{_MODEL}.ModelNotFoundException",
        ),
        (
            "RegisterModel",
            Register(url="../zz.mar"),
            "NOT_FOUND",
            f"Relative path is not allowed in url: ../zz.mar\n{_MODEL}.ModelNotFoundException",
        ),
        (
            "RegisterModel",
            Register(url="noop.mar", runtime="ruby"),
            "INVALID_ARGUMENT",
            f"Invalid RuntimeType value: ruby\n{_HTTP}.BadRequestException",
        ),
        (
            "RegisterModel",
            Register(url="noop.mar"),
            "ABORTED",
            (
                "Model version 1.0 is already registered for model noop\n"
                f"{_HTTP}.ConflictStatusException"
            ),
        ),
        (
            "RegisterModel",
            Register(url="broken.mar", initial_workers=1, synchronous=True),
            "INTERNAL",
            (
                "Failed to start workers for model broken version: 1.0\n"
                f"{_HTTP}.InternalServerException"
            ),
        ),
        (
            "ScaleWorker",
            Scale(model_name="noop", min_worker=3, max_worker=1),
            "INVALID_ARGUMENT",
            f"max_worker cannot be less than min_worker.\n{_HTTP}.BadRequestException",
        ),
        (
            "SetDefault",
            SetDefault(model_name="noop", model_version="9"),
            "NOT_FOUND",
            (
                "Model version 9 does not exist for model noop\n"
                f"{_MODEL}.ModelVersionNotFoundException"
            ),
        ),
        (
            "UnregisterModel",
            Unregister(model_name="zz"),
            "NOT_FOUND",
            f"Model not found: zz\n{_MODEL}.ModelNotFoundException",
        ),
    ],
)
async def test_tells_errors_by_the_code_of_their_status(
    manager: Client,
    make_mar: MakeMar,
    method: str,
    request_: Message,
    code: str,
    details: str,
) -> None:
    """The text is HTTP's, and ends in the error's class."""
    make_mar("broken.mar", "broken")
    assert await manager.refusal(method, request_) == (code, details)


async def test_refuses_changes_where_the_model_api_is_off(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """Registering and removing; scaling is allowed."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), enable_model_api=False)
    manager = connect(served, "management")
    off = ("PERMISSION_DENIED", f"Model API disabled\n{_MODEL}.ModelException")

    assert await manager.refusal("RegisterModel", Register(url="noop.mar")) == off
    assert await manager.refusal("UnregisterModel", Unregister(model_name="noop")) == off
    scaled = Scale(model_name="noop", min_worker=1, max_worker=1)
    assert await _say(manager, "ScaleWorker", scaled) == "Processing worker updates..."


async def test_asks_for_the_token_of_its_port(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """That of the inference port does not do."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), disable_token_authorization=False)
    keys = json.loads(served.frontend.settings.key_file.read_text())
    request = messages.ListModelsRequest()
    wrong = connect(served, "management", keys["inference"]["key"])
    right = connect(served, "management", keys["management"]["key"])
    code, _ = await wrong.refusal("ListModels", request)

    assert code == "PERMISSION_DENIED"
    assert "noop" in await _say(right, "ListModels", request)


async def test_is_on_its_own_port_alone(served: Served, connect: Connect) -> None:
    """The other port does not know it."""
    channel = connect(served)._channel
    from api_fakes.grpc_client import MANAGED  # noqa: PLC0415 - only here

    client = Client(channel, MANAGED)
    code, _ = await client.refusal("ListModels", messages.ListModelsRequest())
    assert code == "UNIMPLEMENTED"
