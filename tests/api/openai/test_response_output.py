"""The items of a response: a message, calls, and what happens to them."""

from __future__ import annotations

import pytest

from torchloom_api.openai.generation import Answer
from torchloom_api.openai.response_document import FunctionCall, OutputMessage
from torchloom_api.openai.response_output import Happening, ResponseOutput
from torchloom_api.openai.tool_call import CallDelta, CalledFunction, FunctionDelta, ToolCall


CALLS = tuple(
    ToolCall(id=name, function=CalledFunction(name=name, arguments='{"a": 1}')) for name in "fg"
)


def _answer(text: str = "", *, num_calls: int = 0, reason: str = "tool_calls") -> Answer:
    return Answer(
        text=text,
        finish_reason=reason,
        num_prompt=1,
        num_cached=0,
        num_written=1,
        calls=CALLS[:num_calls],
    )


def _begin(index: int) -> CallDelta:
    call = CALLS[index]
    function = FunctionDelta(name=call.function.name, arguments="")
    return CallDelta(index=index, id=call.id, type="function", function=function)


def _more(index: int, arguments: str) -> CallDelta:
    return CallDelta(index=index, function=FunctionDelta(arguments=arguments))


def _write(output: ResponseOutput, answer: Answer) -> list[Happening]:
    told = list(output.add_text(answer.text, ())) if answer.text else []
    for index in range(len(answer.calls)):
        told += output.add_calls([_begin(index), _more(index, '{"a"'), _more(index, ": 1}")])
    return told + list(output.finish(answer, ()))


@pytest.mark.parametrize("text", ["", "so "])
@pytest.mark.parametrize("num_calls", [0, 1, 2])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_streams_what_it_gathers(text: str, num_calls: int, reason: str) -> None:
    """Items are the same, however they come; each begins before it ends, in its own place."""
    answer = _answer(text, num_calls=num_calls, reason=reason)
    output = ResponseOutput("x")
    told = _write(output, answer)
    begun = [fields["output_index"] for kind, fields in told if kind == "output_item.added"]
    done = {
        fields["output_index"]: fields["item"]
        for kind, fields in told
        if kind == "output_item.done"
    }

    assert output.items == output.gather(answer, ()) == [done[place] for place in sorted(done)]
    assert begun == sorted(done) == list(range(len(begun)))
    assert len(begun) == num_calls + bool(text or not num_calls)
    cut = [item.status == "incomplete" for item in output.items]
    assert cut == [False] * (len(cut) - 1) + [reason == "length"]


def test_tells_a_call_in_pieces() -> None:
    """Its name, pieces of its arguments, then all of them."""
    told = _write(ResponseOutput("x"), _answer(num_calls=1))
    place = {"item_id": "fc_x_0", "output_index": 0}

    assert [kind for kind, _ in told] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert told[1][1] == {**place, "delta": '{"a"'}
    assert told[3][1] == {**place, "arguments": '{"a": 1}', "name": "f"}


def test_keeps_what_has_not_ended_as_incomplete() -> None:
    """A failure finds the items as far as they came."""
    output = ResponseOutput("x")
    list(output.add_text("so ", ()))
    list(output.add_calls([_begin(0), _more(0, "{}"), _begin(1), _more(1, '{"a')]))
    message, first, second = output.items

    assert (message.status, message.content[0].text) == ("incomplete", "so ")
    assert (first.status, first.arguments) == ("completed", "{}")
    assert (second.status, second.call_id, second.arguments) == ("incomplete", "g", '{"a')


def test_goes_on_with_text_after_a_call() -> None:
    """A message that begins later has a later place."""
    output = ResponseOutput("x")
    list(output.add_calls([_begin(0), _more(0, "{}")]))
    list(output.add_text("done", ()))
    list(output.finish(_answer("done", num_calls=1), ()))

    assert [type(item) for item in output.items] == [FunctionCall, OutputMessage]
