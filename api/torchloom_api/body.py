"""Body: what a client sent, read within limits and parsed by its media type. Knows no schema."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal, TypeVar, cast

import msgspec
from multipart import (  # type: ignore[import-untyped]  # it has no types
    MultipartError,
    MultipartParser,
    parse_options_header,
)

from torchloom.document import pointer_to
from torchloom.errors import Fault, InvalidInput, InvalidWorkflow, nearest
from torchloom_api.errors import BadRequest, RequestTooLarge, UnsupportedMedia
from torchloom_api.exchange import ClientGone, Exchange
from torchloom_workflows.loader import load_document


#: How many fields and files a form may hold.
_MAX_PARTS: Final = 256

_JSON: Final = frozenset({b"application/json", b"text/json"})
_YAML: Final = frozenset(
    {b"application/yaml", b"application/x-yaml", b"text/yaml", b"text/x-yaml", b"text/plain"}
)

Form = Literal["json", "yaml", "multipart"]

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit:
    """How large a body may be, in bytes, and how long it may take to come."""

    max_bytes: int
    timeout_s: float

    def require(self, size: int) -> None:
        """Raise RequestTooLarge for a larger one."""
        if size > self.max_bytes:
            raise RequestTooLarge(f"The body is larger than {self.max_bytes} bytes.")


async def read_body(exchange: Exchange, limit: BodyLimit) -> bytes:
    """Read the whole body. Raises RequestTooLarge, BadRequest (too slow) and ClientGone."""
    announced = exchange.headers.get(b"content-length")
    if announced is not None and announced.isdigit():
        limit.require(int(announced))
    try:
        async with asyncio.timeout(limit.timeout_s):
            return await _read_parts(exchange, limit)
    except TimeoutError:
        message = f"The body did not come within {limit.timeout_s:g} s."
        raise BadRequest(message) from None


async def _read_parts(exchange: Exchange, limit: BodyLimit) -> bytes:
    parts, size, is_complete = [], 0, False
    while not is_complete:
        message = await exchange.receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message["body"])
        size += len(message["body"])
        limit.require(size)
        is_complete = not message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def parse(body: bytes, media_type: bytes | None) -> object:
    """Parse a body to plain data: JSON (also where no type is given), YAML, or a multipart form.

    A form gives a dict: text for fields, bytes for files, a list where a name comes more than once.
    Raises BadRequest for what is malformed, and UnsupportedMedia for other types.
    """
    match to_form(media_type):
        case "json":
            return parse_json(body)
        case "yaml":
            return _parse_yaml(body)
        case "multipart":
            return _parse_multipart(body, cast("bytes", media_type))


def to_form(media_type: bytes | None) -> Form:
    """Tell how a body of this media type is read; UnsupportedMedia if it is not."""
    essence = media_type.partition(b";")[0].strip().lower() if media_type else b""
    if not essence or essence in _JSON or essence.endswith(b"+json"):
        return "json"
    if essence in _YAML or essence.endswith(b"+yaml"):
        return "yaml"
    if essence == b"multipart/form-data":
        return "multipart"
    given = essence.decode("latin-1")
    message = (
        f"A body of type {given!r} is not read here. Send application/json, application/yaml or "
        "multipart/form-data."
    )
    raise UnsupportedMedia(message)


def parse_json(body: bytes) -> object:
    """Parse JSON; BadRequest says where it is malformed."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"The body is no JSON: {error}." if body else "The body is empty: send JSON."
        raise BadRequest(message) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None


def _parse_yaml(body: bytes) -> object:
    try:
        return load_document(body).data
    except InvalidWorkflow as error:
        raise BadRequest(error.message, faults=error.faults) from None


async def read_document(exchange: Exchange, limit: BodyLimit) -> bytes:
    """Read a YAML or JSON document as it was written; UnsupportedMedia for a form."""
    if to_form(exchange.headers.get(b"content-type")) == "multipart":
        raise UnsupportedMedia("Send the file itself, as application/yaml or application/json.")
    return await read_body(exchange, limit)


async def read_struct(exchange: Exchange, limit: BodyLimit, kind: type[S]) -> S:
    """Read a JSON or YAML body as a struct. InvalidInput says what does not fit, and where."""
    media_type = exchange.headers.get(b"content-type")
    if to_form(media_type) == "multipart":
        raise UnsupportedMedia("Send application/json or application/yaml.")
    value = parse(await read_body(exchange, limit), media_type)
    known = kind.__struct_encode_fields__
    unknown = [name for name in value if name not in known] if isinstance(value, dict) else []
    if unknown:
        faults = [
            Fault(message=f"There is no key {n!r}.{nearest(n, known)}", pointer=pointer_to(n))
            for n in unknown
        ]
        raise InvalidInput(f"The body is not valid: {faults[0].message}", faults=faults)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        pointer = path.strip("`").removeprefix("$").replace("[", ".").replace("]", "")
        fault = Fault(message=f"{message}.", pointer=pointer.replace(".", "/") or None)
        raise InvalidInput(f"The body is not valid: {error}.", faults=[fault]) from None


def _parse_multipart(body: bytes, media_type: bytes) -> dict[str, object]:
    _, options = parse_options_header(media_type.decode("latin-1"))
    fields: dict[str, list[object]] = {}
    try:
        parser = MultipartParser(
            BytesIO(body),
            options.get("boundary", ""),
            part_limit=_MAX_PARTS,
            spool_limit=len(body) + 1,
            memory_limit=len(body) + 1,
            strict=True,
        )
        for part in parser:
            value = part.raw if part.filename is not None else part.value
            fields.setdefault(part.name, []).append(value)
    except (MultipartError, UnicodeDecodeError, LookupError) as error:
        message = f"The multipart form is malformed: {error}."
        raise BadRequest(message) from None
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
