"""Request body: JSON as a struct, with errors that name the field. Knows no route and no model."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from torchloom_api.body import BodyLimit, parse_json, read_body, to_form
from torchloom_api.errors import UnsupportedMedia
from torchloom_api.exchange import Exchange
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.unserved_field import Table, refuse_unserved


_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")

S = TypeVar("S", bound=msgspec.Struct)


async def read_request(exchange: Exchange, limit: BodyLimit, kind: type[S], unserved: Table) -> S:
    """Read the body. Raises InvalidRequest for what does not fit, or is not served."""
    return to_struct(await read_fields(exchange, limit, unserved), kind)


async def read_fields(exchange: Exchange, limit: BodyLimit, unserved: Table) -> dict[str, object]:
    """Read the body's fields as they stand. Raises InvalidRequest for one that is not served."""
    if to_form(exchange.headers.get(b"content-type")) != "json":
        raise UnsupportedMedia("Send application/json.")
    values = parse_json(await read_body(exchange, limit))
    if not isinstance(values, dict):
        raise InvalidRequest('The body must be an object, such as {"model": "…"}.')
    refuse_unserved(values, unserved)
    return values


def to_struct(values: object, kind: type[S], place: str = "") -> S:
    """Read plain values as a struct; `place` is where they stand in the body."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        # A key of a mapping is told as "`key` in `$.mapping`".
        path = path.rpartition("` in `")[2]
        param = f"{place}{path.strip('`').removeprefix('$')}".removeprefix(".")
        raise _to_error(message, param) from None


def to_text(value: object, place: str, *, of_tokens: str) -> str:
    """Read a text that is not empty; `of_tokens` names what OpenAI takes besides, in the plural.

    Raises InvalidRequest, which names the field that `place` begins with.
    """
    param = place.partition("[")[0]
    if isinstance(value, int | list):
        message = f"{place!r}: {of_tokens} are not served by this server: send text."
        raise InvalidRequest(message, param=param, code="unsupported_value")
    if not isinstance(value, str) or not value:
        message = f"{place!r} must be a text that is not empty."
        raise InvalidRequest(message, param=param, code="invalid_value")
    return value


def _to_error(message: str, param: str) -> InvalidRequest:
    missing = _MISSING.match(message)
    if missing is None:
        return InvalidRequest(f"{param!r}: {message}.", param=param, code="invalid_value")
    name = f"{param}.{missing['name']}".removeprefix(".")
    text = f"The field {name!r} is missing."
    return InvalidRequest(text, param=name, code="missing_required_parameter")
