"""A handler that does what a request's header `do` says: what a client can see of a server."""

from __future__ import annotations

import json
import os
from typing import Any

from ts.utils.util import PredictionException


def handle(data: list[dict[str, Any]] | None, context: Any) -> Any:
    """Do it; None is the call at the load."""
    if data is None:
        return None
    do, _, detail = (context.get_request_header(0, "do") or "echo").partition(":")
    return _DEEDS[do](data, context, detail)


def _echo(data: list[dict[str, Any]], context: Any, _: str) -> list[str]:
    """Tell the rows' types and values, and the headers, as the handler sees them."""
    headers = dict(context.get_all_request_header(0))
    for name in ("Host", "User-Agent", "host", "user-agent", "Accept", "accept"):
        headers.pop(name, None)
    rows = [
        {name: [type(value).__name__, _plain(value)] for name, value in row.items()} for row in data
    ]
    return [json.dumps({"rows": rows, "headers": headers}, sort_keys=True, indent=1)]


def _plain(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value


def _raise(kind: type[BaseException]) -> Any:
    def deed(_data: object, _context: object, detail: str) -> None:
        raise kind(detail)

    return deed


def _predict(_data: object, _context: object, detail: str) -> None:
    raise PredictionException("as you wished", int(detail))


def _status(_data: object, context: Any, detail: str) -> list[str]:
    code, _, phrase = detail.partition(" ")
    context.set_response_status(code=int(code), phrase=phrase, idx=0)
    return [f"status {code}"]


def _typed(_data: object, context: Any, detail: str) -> list[str]:
    context.set_response_content_type(0, detail)
    context.set_response_header(0, "X-Mine", "yes")
    return ["<p>typed</p>"]


_ITEMS: dict[str, Any] = {
    "bytes": b"\x00\xff\x01",
    "bytearray": bytearray(b"ab"),
    "str": "grüße",
    "empty": "",
    "int": 5,
    "float": 0.1,
    "none": None,
    "bool": True,
    "list": [1, [2.5, "é"]],
    "dict": {"b": 1, "a": {"é": [1, 2]}},
    "object": object(),
    "nan": float("nan"),
}

_DEEDS: dict[str, Any] = {
    "echo": _echo,
    "item": lambda _data, _context, detail: [_ITEMS[detail]],
    "whole": lambda _data, _context, detail: {"text": "ab", "dict": {"a": 1}, "none": None}[detail],
    "more": lambda _data, _context, _detail: ["a", "b"],
    "value": _raise(ValueError),
    "memory": _raise(MemoryError),
    "runtime": _raise(RuntimeError),
    "predict": _predict,
    "status": _status,
    "typed": _typed,
    "exit": lambda _data, _context, detail: os._exit(int(detail)),
}
