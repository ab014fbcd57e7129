"""Delivery: answers to one client, whole or as they come. Knows no form of answers."""

from __future__ import annotations

from torchloom_api.exchange import Exchange
from torchloom_api.media import JSON
from torchloom_api.openai.answer_form import AnswerForm
from torchloom_api.openai.chunk_stream import stream_answers
from torchloom_api.openai.generation import Generation
from torchloom_api.openai.usage import Usage
from torchloom_api.presence import while_present
from torchloom_api.service import Service


async def deliver(
    service: Service,
    exchange: Exchange,
    *,
    generation: Generation,
    form: AnswerForm,
    is_streamed: bool,
) -> None:
    """Do the work and send what comes of it; a client that leaves cancels it."""
    if is_streamed:
        keepalive_s = service.settings.keepalive_s
        await stream_answers(exchange, generation, form, keepalive_s=keepalive_s)
        return
    answers = await while_present(exchange, generation.run())
    usage = Usage.of(answers, generation.num_choices)
    await exchange.respond(200, form.whole(answers, usage), JSON)
