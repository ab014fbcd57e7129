"""Tokens of TorchServe's API: the key file, what each key opens, and how a wrong one is refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest
from api_fakes.torchserve import MakeMar, Serve, Served

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.token_file import TokenFile


REFUSAL = {
    "code": 400,
    "type": "InvalidKeyException",
    "message": "Token Authorization failed. Token either incorrect, expired, or not provided "
    "correctly",
}


@pytest.fixture
async def guarded(serve: Serve, make_mar: MakeMar) -> Served:
    """Give a server that asks for tokens, with a model `noop`."""
    make_mar("noop.mar")
    return await serve(load_models=("noop.mar",), disable_token_authorization=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Give the place of the key file."""
    return tmp_path / "key_file.json"


def bearer(key_file: Path, kind: str) -> dict[str, str]:
    """Give the header that carries a key."""
    return {"authorization": f"Bearer {json.loads(key_file.read_text())[kind]['key']}"}


def read(key_file: Path) -> tuple[dict[str, dict[str, str]], int]:
    """Give what the key file says, and who may read it."""
    return json.loads(key_file.read_text()), stat.S_IMODE(key_file.stat().st_mode)


async def test_writes_its_keys_to_a_file(guarded: Served, key_file: Path) -> None:
    """Eight characters each, for its owner alone; all but the API's own with an end."""
    keys, mode = read(key_file)

    assert list(keys) == ["management", "inference", "API"]
    assert [len(each["key"]) for each in keys.values()] == [8, 8, 8]
    assert keys["inference"]["expiration time"].endswith("Z")
    assert list(keys["API"]) == ["key"]
    assert mode == 0o600
    assert not guarded.frontend.gate.is_open


@pytest.mark.parametrize("path", ["/ping", "/predictions/noop", "/v1/models/noop:predict", "/no"])
async def test_asks_for_the_inference_key(guarded: Served, key_file: Path, path: str) -> None:
    """Of everything but the port's own description; a ping included."""
    good = bearer(key_file, "inference")
    wrong = [
        {},
        bearer(key_file, "management"),
        {"authorization": good["authorization"].replace("Bearer", "bearer")},
        {"authorization": good["authorization"].removeprefix("Bearer ")},
    ]
    for headers in wrong:
        answer = await guarded.inference.get(path, headers=headers)
        assert (answer.status_code, answer.json()) == (400, REFUSAL)
    allowed = await guarded.inference.get(path, headers=good)
    assert allowed.status_code == (404 if path == "/no" else 200)


async def test_asks_for_the_management_key(guarded: Served, key_file: Path) -> None:
    """On the other port."""
    refused = await guarded.management.get("/models", headers=bearer(key_file, "inference"))
    allowed = await guarded.management.get("/models", headers=bearer(key_file, "management"))

    assert (refused.status_code, allowed.status_code) == (400, 200)


async def test_asks_for_no_key_to_describe_itself(guarded: Served) -> None:
    """Nor for metrics."""
    answers = [
        await guarded.inference.options("/"),
        await guarded.inference.get("/api-description"),
        await guarded.management.options("/"),
        await guarded.metrics.get("/metrics"),
    ]

    assert [each.status_code for each in answers] == [200, 200, 200, 200]


async def test_guards_native_routes_by_the_same_keys(guarded: Served, key_file: Path) -> None:
    """In their own words: no key is 401, another's is 403."""

    async def ask(headers: dict[str, str]) -> httpx.Response:
        body = {"inputs": {"body": ""}}
        path = "/api/models/noop/predict"
        return await guarded.inference.post(path, json=body, headers=headers)

    assert (await ask({})).status_code == 401
    assert (await ask(bearer(key_file, "management"))).status_code == 403
    assert (await ask(bearer(key_file, "inference"))).status_code == 200


async def test_gives_out_new_keys(guarded: Served, key_file: Path) -> None:
    """The old one counts no more; the answer says nothing, the file has it."""
    old, api = bearer(key_file, "inference"), bearer(key_file, "API")
    answer = await guarded.management.get("/token?type=inference", headers=api)

    assert (answer.status_code, answer.content) == (200, b"\n")
    assert (await guarded.inference.get("/ping", headers=old)).status_code == 400
    new = bearer(key_file, "inference")
    assert (await guarded.inference.get("/ping", headers=new)).status_code == 200


@pytest.mark.parametrize("query", ["", "?type=API", "?type=other"])
async def test_gives_out_no_key_of_another_kind(
    guarded: Served, key_file: Path, query: str
) -> None:
    """Nor to who has not the API's key."""
    answers = [
        await guarded.management.get(f"/token{query}", headers=bearer(key_file, "API")),
        await guarded.management.get(
            "/token?type=inference", headers=bearer(key_file, "management")
        ),
    ]
    message = REFUSAL["message"].replace("Authorization", "Authentication")
    for answer in answers:
        assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_refuses_by_401_where_it_is_asked_to(serve: Serve) -> None:
    """As HTTP has it, with a challenge."""
    served = await serve(disable_token_authorization=False, auth_401=True)
    answer = await served.inference.get("/ping")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == 401


async def test_answers_a_ping_without_a_key_where_it_is_asked_to(serve: Serve) -> None:
    """Load balancers have none."""
    served = await serve(disable_token_authorization=False, ping_without_token=True)

    assert (await served.inference.get("/ping")).status_code == 200


def test_ends_a_key_in_time(tmp_path: Path) -> None:
    """It is not renewed by itself; the API's own does not end."""
    clock = [1000.0]
    file = tmp_path / "key_file.json"
    tokens = TokenFile(file, life_s=60.0, now=lambda: clock[0])
    header = bearer(file, "inference")["authorization"]
    api = bearer(file, "API")["authorization"]

    assert tokens.allows(header, "inference")
    clock[0] = 1060.0
    assert not tokens.allows(header, "inference")
    assert tokens.allows(api, "API")
    tokens.renew("inference")
    assert tokens.allows(bearer(file, "inference")["authorization"], "inference")


def test_takes_its_file_away(tmp_path: Path) -> None:
    """A server that has ended has no keys."""
    tokens = TokenFile(tmp_path / "key_file.json", life_s=60.0)
    tokens.remove()
    tokens.remove()

    assert list(tmp_path.iterdir()) == []


def test_tells_where_the_key_file_cannot_be_written() -> None:
    """The server does not start, and says what to do."""
    with pytest.raises(InvalidSettings, match=r"'/proc/key_file\.json'.*--disable-token-auth"):
        TokenFile(Path("/proc/key_file.json"), life_s=60)
