"""A handler whose `handle` is a coroutine."""

from __future__ import annotations

import asyncio
from typing import Any

from ts.handler_utils.utils import send_intermediate_predict_response


class Coroutine:
    """Answers one request a call, in parts where it is asked to."""

    def initialize(self, context: Any) -> None:
        """Have nothing to open."""

    async def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """Wait a moment, as whoever asks another server does."""
        text = bytes(data[0]["body"]).decode()
        await asyncio.sleep(0.01)
        if text == "parts":
            for part in ("one ", "two "):
                ids = context.request_ids
                send_intermediate_predict_response([part], ids, "more", 200, context)
            return ["three"]
        if text == "teapot":
            context.set_response_status(418, "I am a teapot", 0)
        return [f"{text} {len(data)} {sorted(data[0])}"]
