"""A handler that streams 200 chunks: 199 intermediate ones, and its result."""

from __future__ import annotations

from typing import Any

from ts.handler_utils.utils import send_intermediate_predict_response


CHUNKS = 200


def handle(data: list[dict[str, object]] | None, context: Any) -> list[str] | None:
    """Send the chunks of one request; None is the call at the load."""
    if data is None:
        return None
    for number in range(CHUNKS - 1):
        send_intermediate_predict_response(
            [f"chunk {number:03d}\n"], context.request_ids, "Intermediate", 200, context
        )
    return [f"chunk {CHUNKS - 1:03d}\n"]
