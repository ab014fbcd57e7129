"""What a request gives to a workflow."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from torchloom.errors import InvalidInput
from torchloom.graph import Constant, Graph
from torchloom.signature import Signature
from torchloom_api.input import InputCheck
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.workflow_input import Talk, to_inputs


class Last:
    """A binding that reads the last message."""

    reads: frozenset[str] = frozenset()

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Give its content; "broken" fails."""
        messages = scope["messages"]
        assert isinstance(messages, list)
        said = messages[-1]["content"]
        if said == "broken":
            raise InvalidInput("The expression failed.")
        return said


SIGNATURE = Signature(
    inputs={
        "q": {"type": "string", "minLength": 1},
        "style": {"type": "string", "default": "plain"},
        "max_tokens": {"type": "integer", "default": 9},
        "seed": {"type": "integer", "default": 0},
    },
    required=frozenset({"q"}),
)

GRAPH = Graph(
    name="w",
    signature=SIGNATURE,
    nodes={},
    outputs={},
    chat={"q": Last(), "style": Constant("terse")},
)


def talk(content: str = "hello", params: Mapping[str, object] | None = None) -> Talk:
    """Say something."""
    return Talk(
        place="input",
        messages=[{"role": "user", "content": content}],
        params=params or {},
        seed=5,
        fields={"max_tokens": "max_output_tokens"},
        extras={"style": "ornate", "colour": "blue", "max_tokens": None},
    )


def read(request: Talk, graph: Graph = GRAPH) -> dict[str, object]:
    """Read it."""
    return to_inputs(graph, request, InputCheck(graph.signature))


def test_gives_inputs() -> None:
    """`chat` goes before fields of the request; defaults fill the rest."""
    assert read(talk()) == {"q": "hello", "style": "terse", "max_tokens": 9, "seed": 5}
    assert read(talk(params={"max_tokens": 3}))["max_tokens"] == 3


def test_takes_a_field_that_names_an_input() -> None:
    """An input that `chat` leaves open takes the request's field of its name."""
    graph = Graph(name="w", signature=SIGNATURE, nodes={}, outputs={}, chat={"q": Last()})
    assert read(talk(), graph)["style"] == "ornate"


@pytest.mark.parametrize(
    ("request_", "param", "text"),
    [
        (talk(""), "input", "Workflow 'w': "),
        (talk("broken"), "input", "Workflow 'w': The expression failed."),
        (talk(params={"max_tokens": "x"}), "max_output_tokens", "'max_tokens'"),
        (talk(params={"top_p": 0.5}), "top_p", "takes no 'top_p': leave it out."),
        (talk(params={"style": "x"}), "style", "takes no 'style': leave it out."),
    ],
)
def test_refuses_what_does_not_fit(request_: Talk, param: str, text: str) -> None:
    """The field is named as the client wrote it, and the workflow with it."""
    with pytest.raises(InvalidRequest) as refused:
        read(request_)

    assert refused.value.param == param
    assert text in refused.value.message
