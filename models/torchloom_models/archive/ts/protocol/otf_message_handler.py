"""`ts.protocol.otf_message_handler`: of it, what handlers and scripts import.

Messages are TorchServe's: whole numbers of four bytes, and texts behind their lengths. Nothing here
reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from torchloom.errors import HandlerFailed
from torchloom_models.archive.answer import to_outputs
from torchloom_models.archive.context import CONTENT_TYPE, Context, RequestProcessor
from torchloom_models.archive.intermediate import send_intermediate_predict_response


_END: Final = -1

#: What a request has for an answer where there is none.
_NO_ANSWER: Final = b"error"


def create_predict_response(
    ret: Sequence[object] | None,
    req_id_map: Mapping[int, str],
    message: str,
    code: int,
    context: Context | None = None,
) -> bytearray:
    """Write the answers to a batch; with `ret` None, that it failed.

    One that cannot be written makes it the message that says so.
    """
    written = _number(code) + _text(message.encode())
    for place, request_id in req_id_map.items():
        said = RequestProcessor({}) if context is None else context.request_processor[place]
        if context is None:
            said.report_status(code)
        try:
            body = _NO_ANSWER if ret is None else to_outputs(ret[place], said)["body"]
        except HandlerFailed as error:
            return create_predict_response(None, req_id_map, error.message, error.status)
        assert isinstance(body, bytes)
        written += _text(request_id.encode()) + _head(said) + _text(body)
    return written + _number(_END)


def create_load_model_response(code: int, message: str) -> bytearray:
    """Write how loading a model ended."""
    return _number(code) + _text(message.encode()) + _number(_END)


def encode_response_headers(resp_hdr_map: Mapping[str, str]) -> bytearray:
    """Write headers, their number first."""
    written = _number(len(resp_hdr_map))
    for name, value in resp_hdr_map.items():
        written += _text(name.encode()) + _text(value.encode())
    return written


def _head(said: RequestProcessor) -> bytearray:
    content_type = said.get_response_header(CONTENT_TYPE) or ""
    return (
        _text(content_type.encode())
        + _number(said.get_response_status_code())
        + _text(said.get_response_status_phrase().encode())
        + encode_response_headers(said.get_response_headers())
    )


def _number(number: int) -> bytearray:
    return bytearray(struct.pack("!i", number))


def _text(text: bytes) -> bytearray:
    return _number(len(text)) + text


__all__ = [
    "create_load_model_response",
    "create_predict_response",
    "encode_response_headers",
    "send_intermediate_predict_response",
]
