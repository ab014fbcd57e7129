"""ResponseForm: how one response is written, whole and as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from torchloom_api.media import to_json
from torchloom_api.openai.answer_form import AnswerHead
from torchloom_api.openai.citation import TextAnnotation
from torchloom_api.openai.error import ErrorDocument
from torchloom_api.openai.generation import Answer
from torchloom_api.openai.response_document import (
    IncompleteDetails,
    OutputMessage,
    OutputText,
    Response,
    ResponseError,
    ResponseEvent,
    ResponseUsage,
    Status,
    TextConfig,
)
from torchloom_api.openai.response_request import ResponseRequest, format_of
from torchloom_api.openai.token_logprob import TokenLogprob, ToldToken, to_token_logprobs
from torchloom_api.openai.tool_call import CallDelta
from torchloom_api.openai.usage import Usage


class ResponseForm:
    """The AnswerForm of responses, which hold one answer: one message with one text.

    Counts the events that it writes.
    """

    def __init__(self, request: ResponseRequest) -> None:
        head = AnswerHead.make("resp_", request.model)
        self._has_logprobs = bool(request.include)
        self._item_id = head.id.replace("resp_", "msg_")
        self._num_events = 0
        self._written: list[str] = []
        self._output: list[OutputMessage] = []
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
        )

    def whole(self, answers: Sequence[Answer], usage: Usage) -> bytes:
        """Write the response."""
        (answer,) = answers
        self._output = [self._to_item(answer)]
        return to_json(self._to_response(usage))

    def opening(self, index: int) -> bytes:  # noqa: ARG002 - the protocol's face
        """Say that there is a response, with a message, with a text in it."""
        item = OutputMessage(id=self._item_id, status="in_progress", content=())
        return b"".join(
            [
                self._event("response.created", response=self._begun),
                self._event("response.in_progress", response=self._begun),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event_of_part("content_part.added", part=OutputText(text="")),
            ]
        )

    def piece(self, index: int, text: str, logprobs: Sequence[ToldToken] = ()) -> bytes:  # noqa: ARG002 - the protocol's face
        """Write more text."""
        self._written.append(text)
        told = self._to_logprobs(logprobs)
        return self._event_of_part("output_text.delta", delta=text, logprobs=told)

    def call(
        self,
        index: int,  # noqa: ARG002 - the protocol's face
        deltas: Sequence[CallDelta],  # noqa: ARG002 - as above
        logprobs: Sequence[ToldToken] = (),  # noqa: ARG002 - as above
    ) -> bytes:
        """Write nothing: responses offer no tools."""
        return b""

    def finish(self, index: int, answer: Answer) -> bytes:  # noqa: ARG002 - the protocol's face
        """Write what the text cites, and the text and the message as they are in the end."""
        item = self._to_item(answer)
        self._output = [item]
        (part,) = item.content
        return b"".join(
            [
                *self._annotations(part.annotations),
                self._event_of_part("output_text.done", text=part.text, logprobs=part.logprobs),
                self._event_of_part("content_part.done", part=part),
                self._event("response.output_item.done", output_index=0, item=item),
            ]
        )

    def end(self, usage: Usage) -> bytes:
        """Write the whole response, which is what ends the stream."""
        response = self._to_response(usage)
        return self._event(f"response.{response.status}", response=response)

    def failure(self, error: ErrorDocument) -> bytes:
        """Write the response as far as it came, with the error."""
        detail = error.error
        code = "server_error" if detail.type == "server_error" else "invalid_prompt"
        part = OutputText(text="".join(self._written))
        item = OutputMessage(id=self._item_id, status="incomplete", content=[part])
        response = msgspec.structs.replace(
            self._begun,
            status="failed",
            output=self._output or [item],
            error=ResponseError(code=code, message=detail.message),
        )
        return self._event("response.failed", response=response)

    def _to_item(self, answer: Answer) -> OutputMessage:
        annotations = [TextAnnotation.of(each) for each in answer.citations]
        logprobs = self._to_logprobs(answer.logprobs)
        part = OutputText(text=answer.text, annotations=annotations, logprobs=logprobs)
        is_cut = answer.finish_reason == "length"
        status: Status = "incomplete" if is_cut else "completed"
        return OutputMessage(id=self._item_id, status=status, content=[part])

    def _to_logprobs(self, told: Sequence[ToldToken]) -> Sequence[TokenLogprob]:
        return to_token_logprobs(told) if self._has_logprobs else ()

    def _to_response(self, usage: Usage) -> Response:
        (item,) = self._output
        is_cut = item.status == "incomplete"
        return msgspec.structs.replace(
            self._begun,
            status=item.status,
            output=self._output,
            usage=ResponseUsage.of(usage),
            completed_at=None if is_cut else int(time.time()),
            incomplete_details=IncompleteDetails() if is_cut else None,
        )

    def _annotations(self, annotations: Sequence[TextAnnotation]) -> Iterator[bytes]:
        for index, annotation in enumerate(annotations):
            yield self._event_of_part(
                "output_text.annotation.added", annotation_index=index, annotation=annotation
            )

    def _event_of_part(self, kind: str, **fields: object) -> bytes:
        """Write an event about the one text in the one message."""
        return self._event(
            f"response.{kind}", item_id=self._item_id, output_index=0, content_index=0, **fields
        )

    def _event(self, kind: str, **fields: object) -> bytes:
        event = ResponseEvent(type=kind, sequence_number=self._num_events, **fields)  # type: ignore[arg-type]  # each caller gives what its event has
        self._num_events += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), to_json(event))
