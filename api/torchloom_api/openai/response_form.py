"""ResponseForm: how one response is written, whole and as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec

from torchloom_api.media import to_json
from torchloom_api.openai.answer_form import AnswerHead
from torchloom_api.openai.error import ErrorDocument
from torchloom_api.openai.generation import Answer
from torchloom_api.openai.response_document import (
    IncompleteDetails,
    OutputItem,
    Response,
    ResponseError,
    ResponseEvent,
    ResponseUsage,
    TextConfig,
)
from torchloom_api.openai.response_output import Happening, ResponseOutput
from torchloom_api.openai.response_request import ResponseRequest, format_of
from torchloom_api.openai.token_logprob import TokenLogprob, ToldToken, to_token_logprobs
from torchloom_api.openai.tool_call import CallDelta
from torchloom_api.openai.usage import Usage


class ResponseForm:
    """The AnswerForm of responses, which hold one answer: one message with one text, and calls.

    Counts the events that it writes.
    """

    def __init__(self, request: ResponseRequest) -> None:
        head = AnswerHead.make("resp_", request.model)
        self._has_logprobs = bool(request.include)
        self._may_call = request.may_call
        self._num_events = 0
        self._output = ResponseOutput(head.id.removeprefix("resp_"))
        self._is_cut = False
        self._begun = Response(
            id=head.id,
            created_at=head.created,
            model=request.model,
            status="in_progress",
            instructions=request.instructions,
            max_output_tokens=request.max_output_tokens,
            metadata=request.metadata or {},
            temperature=request.temperature,
            top_logprobs=request.top_logprobs,
            top_p=request.top_p,
            text=TextConfig(format=format_of(request)),
            user=request.user,
            parallel_tool_calls=request.may_call and request.parallel_tool_calls is not False,
            tools=request.tools or (),
            tool_choice=(request.tool_choice or "auto") if request.tools else "none",
        )

    def whole(self, answers: Sequence[Answer], usage: Usage) -> bytes:
        """Write the response."""
        (answer,) = answers
        self._is_cut = answer.finish_reason == "length"
        items = self._output.gather(answer, self._to_logprobs(answer.logprobs))
        return to_json(self._to_response(items, usage))

    def opening(self, index: int) -> bytes:  # noqa: ARG002 - the protocol's face
        """Say that there is a response, with a message, with a text in it.

        Where calls may come in their place, those are said once they are there.
        """
        created = self._event("response.created", response=self._begun)
        running = self._event("response.in_progress", response=self._begun)
        return (
            created + running + self._events(() if self._may_call else self._output.begin_message())
        )

    def piece(self, index: int, text: str, logprobs: Sequence[ToldToken] = ()) -> bytes:  # noqa: ARG002 - the protocol's face
        """Write more text."""
        return self._events(self._output.add_text(text, self._to_logprobs(logprobs)))

    def call(
        self,
        index: int,  # noqa: ARG002 - the protocol's face
        deltas: Sequence[CallDelta],
        logprobs: Sequence[ToldToken] = (),  # noqa: ARG002 - refused where there are calls
    ) -> bytes:
        """Write more of calls."""
        return self._events(self._output.add_calls(deltas))

    def finish(self, index: int, answer: Answer) -> bytes:  # noqa: ARG002 - the protocol's face
        """Write what the text cites, and the items as they are in the end."""
        self._is_cut = answer.finish_reason == "length"
        return self._events(self._output.finish(answer, self._to_logprobs(answer.logprobs)))

    def end(self, usage: Usage) -> bytes:
        """Write the whole response, which is what ends the stream."""
        response = self._to_response(self._output.items, usage)
        return self._event(f"response.{response.status}", response=response)

    def failure(self, error: ErrorDocument) -> bytes:
        """Write the response as far as it came, with the error."""
        detail = error.error
        code = "server_error" if detail.type == "server_error" else "invalid_prompt"
        response = msgspec.structs.replace(
            self._begun,
            status="failed",
            output=self._output.items,
            error=ResponseError(code=code, message=detail.message),
        )
        return self._event("response.failed", response=response)

    def _to_logprobs(self, told: Sequence[ToldToken]) -> Sequence[TokenLogprob]:
        return to_token_logprobs(told) if self._has_logprobs else ()

    def _to_response(self, items: Sequence[OutputItem], usage: Usage) -> Response:
        return msgspec.structs.replace(
            self._begun,
            status="incomplete" if self._is_cut else "completed",
            output=items,
            usage=ResponseUsage.of(usage),
            completed_at=None if self._is_cut else int(time.time()),
            incomplete_details=IncompleteDetails() if self._is_cut else None,
        )

    def _events(self, happenings: Iterable[Happening]) -> bytes:
        return b"".join(self._event(f"response.{kind}", **told) for kind, told in happenings)

    def _event(self, kind: str, **fields: object) -> bytes:
        event = ResponseEvent(type=kind, sequence_number=self._num_events, **fields)  # type: ignore[arg-type]  # each caller gives what its event has
        self._num_events += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), to_json(event))
