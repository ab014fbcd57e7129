"""Chunk stream: a generation as server-sent events, to one client. Knows no form of chunks."""

from __future__ import annotations

import asyncio

from torchloom.errors import TorchLoomError
from torchloom_api.errors import Problem
from torchloom_api.exchange import ClientGone, Exchange
from torchloom_api.openai.answer_form import AnswerForm
from torchloom_api.openai.error import to_document
from torchloom_api.openai.generation import Answer, CallPiece, Generation, Piece, Told
from torchloom_api.openai.usage import Usage
from torchloom_api.presence import Presence
from torchloom_api.streaming import STREAM_HEADERS


#: Pieces and ends as they come; None once the generation is over.
Events = asyncio.Queue[Told | None]


async def stream_answers(
    exchange: Exchange, generation: Generation, form: AnswerForm, *, keepalive_s: float | None
) -> None:
    """Write every piece as it comes. What fails before the first is answered with its own status.

    What fails later is told as the last event. A client that leaves cancels.
    """
    events: Events = asyncio.Queue()
    work = asyncio.create_task(generation.run(events.put_nowait))
    work.add_done_callback(lambda _: events.put_nowait(None))
    with Presence(exchange, work.cancel, keepalive_s=keepalive_s):
        try:
            first = await events.get()
            if first is None:
                _result(work)
            await exchange.begin(200, STREAM_HEADERS)
            await _write_events(exchange, first, events, form, generation.num_answers)
            await _write_end(exchange, work, form, generation.num_choices)
        finally:
            work.cancel()


async def _write_events(
    exchange: Exchange,
    event: Told | None,
    events: Events,
    form: AnswerForm,
    num_answers: int,
) -> None:
    for index in range(num_answers):
        opening = form.opening(index)
        if opening:
            await exchange.write(opening)
    while event is not None:
        if isinstance(event, Piece):
            await exchange.write(form.piece(event.index, event.text, event.logprobs))
        elif isinstance(event, CallPiece):
            await exchange.write(form.call(event.index, event.deltas, event.logprobs))
        else:
            await exchange.write(form.finish(event.index, event.answer))
        event = await events.get()


async def _write_end(
    exchange: Exchange, work: asyncio.Task[list[Answer]], form: AnswerForm, num_choices: int
) -> None:
    try:
        answers = _result(work)
    except TorchLoomError as error:
        problem = Problem.from_error(error, instance=exchange.path, request_id=exchange.id)
        await exchange.write(form.failure(to_document(error, problem)), is_last=True)
    else:
        await exchange.write(form.end(Usage.of(answers, num_choices)), is_last=True)


def _result(work: asyncio.Task[list[Answer]]) -> list[Answer]:
    """Give the answers of a generation that is over; raises what it raised, or ClientGone."""
    if work.cancelled():
        raise ClientGone
    return work.result()
