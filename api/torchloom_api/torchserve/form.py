"""Form: what a body holds becomes the fields that a handler finds in a row. Knows no route.

Fields of forms are bytes, whatever they say they are; files and whole bodies that say that they are
JSON or text are read as that, and what is none stays as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from multipart import (  # type: ignore[import-untyped]  # it has no types
    MultipartError,
    MultipartParser,
    MultipartPart,
    parse_options_header,
)

from torchloom_api.torchserve.frontend_error import bad_request
from torchloom_api.torchserve.request import Request


_MULTIPART: Final = "multipart/form-data"
_URLENCODED: Final = "application/x-www-form-urlencoded"

#: How many fields and files a form may hold.
_MAX_PARTS: Final = 1024

_BYTES: Final = "application/octet-stream"

#: What becomes of blanks in a field's name that are none of their line.
_BLANKS: Final = str.maketrans({"\r": " ", "\t": " ", "\n": None})

#: The name of a body that is no form.
_BODY: Final = "body"

#: What the numbers of a task may be, whose values travel to another process.
_MAX_INT: Final = 1 << 64
_MIN_INT: Final = -(1 << 63)
_LONG: Final = re.compile(rb"[0-9]{19}")
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """Fields by name, and the media type of each, in the order in which they came."""

    fields: Mapping[str, object]
    content_types: Mapping[str, str]


def read_form(request: Request, *, with_query: bool, is_decoded: bool) -> Form:
    """Read a request's fields; of a name that comes twice, the last. FrontendError: no form."""
    fields: dict[str, object] = {}
    types: dict[str, str] = {}
    if with_query:
        for name, value in request.query:
            fields[name], types[name] = value.encode("utf-8", "surrogateescape"), ""
    for name, media_type, content in _parts(request):
        fields[name] = _decode(content, media_type) if is_decoded else content
        types[name] = media_type
    return Form(fields=fields, content_types=types)


def _parts(request: Request) -> Iterator[tuple[str, str, bytes]]:
    """Give name, media type and content of each part."""
    media_type = request.content_type
    type_alone = media_type.partition(";")[0].strip()
    essence = type_alone.lower()
    if essence == _MULTIPART:
        yield from _multipart(request.body, media_type)
    elif essence == _URLENCODED:
        text = request.body.decode("utf-8", "surrogateescape")
        for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
            yield _clean(name), "", value.encode("utf-8", "surrogateescape")
    else:
        yield _BODY, type_alone, request.body


def _multipart(body: bytes, media_type: str) -> Iterator[tuple[str, str, bytes]]:
    _, options = parse_options_header(media_type)
    try:
        parser = MultipartParser(
            BytesIO(body),
            options.get("boundary", ""),
            part_limit=_MAX_PARTS,
            spool_limit=len(body) + 1,
            memory_limit=len(body) + 1,
        )
        for part in parser:
            yield _clean(part.name or ""), _media_type_of(part), part.raw
    except (MultipartError, UnicodeError, LookupError, ValueError) as error:
        message = f"The multipart form is malformed: {error}."
        raise bad_request(message) from None


def _media_type_of(part: MultipartPart) -> str:
    """Give the media type of a part: a field has none, a file that does not say is bytes."""
    if part.filename is None:
        return ""
    return str(part.content_type) if "Content-Type" in part.headers else _BYTES


def _clean(name: str) -> str:
    """Give a field's name as TorchServe tells it: in one line, without blanks around it."""
    told = name.translate(_BLANKS).strip().encode("utf-8", "replace").decode()
    if not told:
        raise bad_request("A field of the form has no name.")
    return told


def _decode(content: bytes, media_type: str) -> object:
    """Read JSON and text; what cannot be read stays bytes."""
    lower = media_type.lower()
    try:
        if "application/json" in lower:
            value = _read_json(content)
            return value if _can_travel(content, value) else content
        if lower.startswith("text/"):
            return content.decode()
    except (ValueError, RecursionError):
        pass
    return content


def _read_json(content: bytes) -> object:
    """Read JSON in UTF-8 alone, as TorchServe does; what Python adds to it (`NaN`), more slowly."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return json.loads(content.decode())


def _can_travel(content: bytes, value: object) -> bool:
    """Tell whether JSON holds no number that is too large, and no half of a character."""
    if _HALF.search(content):
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError where it is one
    stack = [value] if _LONG.search(content) else []
    while stack:
        each = stack.pop()
        if isinstance(each, int) and not _MIN_INT <= each < _MAX_INT:
            return False
        if isinstance(each, dict):
            stack += each.values()
        elif isinstance(each, list):
            stack += each
    return True
