"""Waits for others while it works, and streams."""

import asyncio

from ts.handler_utils.utils import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class Waiting(BaseHandler):
    def initialize(self, context):
        self.both = asyncio.Barrier(2)

    async def handle(self, data, context):
        body = data[0]["body"]
        if body == "fail":
            raise ValueError("asked to")
        if body == "many":
            return [1, 2]
        if body == "forever":
            await asyncio.Event().wait()
        send_intermediate_predict_response(
            [f"begun {body}"], context.request_ids, "Intermediate Prediction success", 200, context
        )
        await self.both.wait()
        context.set_response_header(0, "X-Body", body)
        return [body]
